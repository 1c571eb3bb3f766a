//! Operators of libtorch that tch does not wrap, through libtorch's stable C interface (`torch/csrc/stable/c/shim.h`).

use std::ffi::CStr;

use anyhow::{Result, ensure};
use tch::{Device, Tensor};

use super::failure::{checked, take};
use super::stable::{RELEASE, torch_call_dispatcher};
use super::value;

/// A tensor, as an argument. The callee takes it over.
pub fn tensor(tensor: &Tensor) -> u64 {
    // SAFETY: a tensor that lives.
    #[allow(unsafe_code)]
    unsafe {
        value::tensor(tensor.as_ptr().cast_mut().cast())
    }
}

/// A tensor or none, as an argument. The callee frees the slot.
fn optional(given: Option<&Tensor>) -> u64 {
    given.map_or(value::NONE, |given| value::some(tensor(given)))
}

/// A list of tensors, as an argument. The callee takes it over.
fn list(tensors: &[&Tensor]) -> u64 {
    value::list(tensors.iter().map(|one| tensor(one)))
}

/// Call an operator, by the arguments that its schema names; its results, tensors all of them.
pub fn call<const RESULTS: usize>(op: &CStr, overload: &CStr, arguments: &[u64]) -> Result<[Tensor; RESULTS]> {
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

/// The backward pass through `fused_cell`: the gradients at the gates' sums (n, 4H) and at c before (n, H), from those at h and
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

/// `from`, which is on the CPU, on `device`; the copy to a GPU is queued, and the host does not wait.
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

/// The learning rate, on the host or on the device.
#[derive(Debug, Clone, Copy)]
pub enum Rate<'a> {
    Host(f64),
    Device(&'a Tensor),
}

/// One update by Adam of the weights `w`, in one pass over them, their gradients and both moments.
pub fn fused_adam(w: &Tensor, gradient: &Tensor, first: &Tensor, second: &Tensor, adam: Adam<'_>) -> Result<()> {
    const ADAM: &CStr = c"aten::_fused_adam_";
    const ADAMW: &CStr = c"aten::_fused_adamw_";
    let (overload, rate) = match adam.rate {
        Rate::Host(rate) => (c"", rate.to_bits()),
        Rate::Device(rate) => (c"tensor_lr", tensor(rate)),
    };
    let arguments = [
        list(&[w]),
        list(&[gradient]),
        list(&[first]),
        list(&[second]),
        list(&[]),
        list(&[adam.steps]),
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
        let numbers = |size: &[i64]| {
            let count = size.iter().product::<i64>();
            let numbers: Vec<f64> = (0..count).map(|n| (n as f64 + count as f64).sin()).collect();
            Tensor::from_slice(&numbers).view(size)
        };
        let [x, h, c] = [numbers(&[5, 3]), numbers(&[5, 4]), numbers(&[5, 4])];
        let [w_ih, w_hh, b_ih] = [numbers(&[16, 3]), numbers(&[16, 4]), numbers(&[16])];
        let arguments =
            [tensor(&x), list(&[&h, &c]), tensor(&w_ih), tensor(&w_hh), optional(Some(&b_ih)), optional(None)];
        let [got_h, got_c] = call(c"aten::lstm_cell", c"", &arguments).expect("the CPU has it");

        let gates = x.matmul(&w_ih.transpose(0, 1)) + h.matmul(&w_hh.transpose(0, 1)) + &b_ih;
        let gate = |at: i64| gates.narrow(1, 4 * at, 4);
        let c = gate(1).sigmoid() * &c + gate(0).sigmoid() * gate(2).tanh();
        let h = gate(3).sigmoid() * c.tanh();
        for (got, expected) in [(got_h, h), (got_c, c)] {
            assert!((got - expected).norm().double_value(&[]) < 1e-12);
        }
    }

    #[test]
    fn a_refused_operator_gives_its_reason() {
        let reason =
            |op: &CStr, arguments: &[u64]| call::<1>(op, c"", arguments).map(drop).expect_err("refused").to_string();
        assert!(reason(c"aten::no_such_operator", &[]).contains("no_such_operator"));
        let [a, b] = [3, 4].map(|n| Tensor::zeros([2, n], (Kind::Float, Device::Cpu)));
        let reason = reason(c"aten::matmul", &[tensor(&a), tensor(&b)]);
        assert!(reason.contains("mat1 and mat2 shapes cannot be multiplied (2x3 and 2x4)"), "{reason}");
    }
}
