//! Operators of libtorch that tch does not wrap, through libtorch's stable C interface (`torch/csrc/stable/c/shim.h`).

use std::ffi::CStr;

use anyhow::{Result, ensure};
use tch::{Device, Tensor};

use super::failure::{checked, take};
use super::stable::{RELEASE, torch_call_dispatcher, torch_list_push_back, torch_new_list_reserve_size};

/// A tensor, as an argument. The callee takes it over.
fn tensor(tensor: &Tensor) -> u64 {
    // SAFETY: a clone of its own of a tensor that lives.
    #[allow(unsafe_code)]
    unsafe {
        torch_sys::at_shallow_clone(tensor.as_ptr().cast_mut()) as u64
    }
}

/// A tensor or none, as an argument. The callee frees the slot.
fn optional(given: Option<&Tensor>) -> u64 {
    given.map_or(0, |given| {
        // SAFETY: room for one slot, from the allocator that C++'s `delete` gives back to.
        #[allow(unsafe_code)]
        unsafe {
            let slot = libc::malloc(size_of::<u64>()).cast::<u64>();
            assert!(!slot.is_null(), "no memory for an argument");
            slot.write(tensor(given));
            slot as u64
        }
    })
}

/// A list of tensors, as an argument. The callee takes it over.
fn list(tensors: &[&Tensor]) -> Result<u64> {
    let mut list = std::ptr::null_mut();
    // SAFETY: the list is made here; the clones of the tensors are its own and go with it.
    #[allow(unsafe_code)]
    let code = unsafe {
        let mut code = torch_new_list_reserve_size(tensors.len(), &raw mut list);
        for one in tensors {
            if code == 0 {
                code = torch_list_push_back(list, tensor(one));
            }
        }
        code
    };
    ensure!(code == 0, "libtorch made no list");
    Ok(list as u64)
}

/// Call an operator, by the arguments that its schema names; its results, tensors all of them.
fn call<const RESULTS: usize>(op: &CStr, overload: &CStr, arguments: &[u64]) -> Result<[Tensor; RESULTS]> {
    let mut stack = arguments.to_vec();
    stack.resize(arguments.len().max(RESULTS), 0);
    // SAFETY: the callers below put on the stack what the operator's schema names, in its order; results come back in the
    // first places, tensors of our own.
    #[allow(unsafe_code)]
    unsafe {
        let call = || torch_call_dispatcher(op.as_ptr(), overload.as_ptr(), stack.as_mut_ptr(), RELEASE);
        ensure!(checked(op, call), "{}", take());
        Ok(std::array::from_fn(|result| Tensor::from_ptr(stack[result] as *mut torch_sys::C_tensor)))
    }
}

/// The LSTM cell on a GPU in one pass, without biases: h (n, H), c (n, H) and the activated gates i, f, g, o (n, 4H), from
/// both parts of the gates' sums (n, 4H) and c before.
///
/// # Panics
///
/// If libtorch refuses it, as it does on the CPU.
pub fn fused_cell(input: &Tensor, recurrent: &Tensor, c: &Tensor) -> [Tensor; 3] {
    let arguments = [tensor(input), tensor(recurrent), tensor(c), optional(None), optional(None)];
    call(c"aten::_thnn_fused_lstm_cell", c"", &arguments).unwrap_or_else(|error| panic!("{error}"))
}

/// The way back through `fused_cell`: the gradients at the gates' sums (n, 4H) and at c before (n, H), from those at h and
/// c, c before and after, and the activated gates.
///
/// # Panics
///
/// If libtorch refuses it, as it does on the CPU.
pub fn fused_cell_backward(dh: &Tensor, dc: &Tensor, [before, after]: [Tensor; 2], gates: &Tensor) -> [Tensor; 2] {
    let has_bias = 0;
    let arguments = [optional(Some(dh)), optional(Some(dc)), tensor(&before), tensor(&after), tensor(gates), has_bias];
    let [d_gates, d_before, _] =
        call(c"aten::_thnn_fused_lstm_cell_backward_impl", c"", &arguments).unwrap_or_else(|error| panic!("{error}"));
    [d_gates, d_before]
}

/// `from`, which is on the CPU, on `device`; a GPU copies it in its turn, and nobody waits.
pub fn send(from: &Tensor, device: Device) -> Tensor {
    if device == Device::Cpu {
        return from.shallow_clone();
    }
    match call(c"aten::pin_memory", c"", &[tensor(from), optional(None)]) {
        Ok([pinned]) => pinned.to_device_(device, from.kind(), true, false),
        // Without room for a pinned copy it is sent as it is, and waited for.
        Err(_) => from.to_device(device),
    }
}

/// What `_fused_adam_` and `_fused_adamw_` take beside the weights, their gradients and moments.
#[derive(Debug, Clone, Copy)]
pub struct Adam<'a> {
    /// One number: which update this is, from 1 on.
    pub steps: &'a Tensor,
    pub rate: Rate<'a>,
    pub beta1: f64,
    pub beta2: f64,
    pub weight_decay: f64,
    pub epsilon: f64,
    /// Weight decay apart from the gradient (AdamW).
    pub decoupled: bool,
    /// One number: what gradients are divided by, which are then written too.
    pub scale: Option<&'a Tensor>,
    /// One number: whether to leave all as it is (1) or not (0).
    pub skip: Option<&'a Tensor>,
}

/// The learning rate, known here or on the device.
#[derive(Debug, Clone, Copy)]
pub enum Rate<'a> {
    Here(f64),
    There(&'a Tensor),
}

/// One update by Adam of the weights `w`, in one pass over them, their gradients and both moments.
pub fn fused_adam(w: &Tensor, gradient: &Tensor, first: &Tensor, second: &Tensor, adam: Adam<'_>) -> Result<()> {
    const ADAM: &CStr = c"aten::_fused_adam_";
    const ADAMW: &CStr = c"aten::_fused_adamw_";
    let (overload, rate) = match adam.rate {
        Rate::Here(rate) => (c"", rate.to_bits()),
        Rate::There(rate) => (c"tensor_lr", tensor(rate)),
    };
    let arguments = [
        list(&[w])?,
        list(&[gradient])?,
        list(&[first])?,
        list(&[second])?,
        list(&[])?,
        list(&[adam.steps])?,
        rate,
        adam.beta1.to_bits(),
        adam.beta2.to_bits(),
        adam.weight_decay.to_bits(),
        adam.epsilon.to_bits(),
        0, // amsgrad
        0, // maximize
        optional(adam.scale),
        optional(adam.skip),
    ];
    let [] = call(if adam.decoupled { ADAMW } else { ADAM }, overload, &arguments)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    /// Lists, optionals and several results, as the fused cell has them, by an operator that the CPU has too.
    #[test]
    fn an_operator_is_called_as_its_schema_says() {
        let random = |size: &[i64]| Tensor::randn(size, (Kind::Double, Device::Cpu));
        let [x, h, c] = [random(&[5, 3]), random(&[5, 4]), random(&[5, 4])];
        let [w_ih, w_hh, b_ih] = [random(&[16, 3]), random(&[16, 4]), random(&[16])];
        let arguments = [
            tensor(&x),
            list(&[&h, &c]).expect("a list"),
            tensor(&w_ih),
            tensor(&w_hh),
            optional(Some(&b_ih)),
            optional(None),
        ];
        let [got_h, got_c] = call(c"aten::lstm_cell", c"", &arguments).expect("the CPU has it");
        let zero = Tensor::zeros([16], (Kind::Double, Device::Cpu));
        let (h, c) = x.lstm_cell(&[&h, &c], &w_ih, &w_hh, Some(&b_ih), Some(&zero));
        assert!(got_h.allclose(&h, 1e-12, 0.0, false) && got_c.allclose(&c, 1e-12, 0.0, false));
        assert!(call::<1>(c"aten::no_such_operator", c"", &[]).is_err());
    }
}
