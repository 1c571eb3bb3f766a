//! Operators of libtorch that tch does not wrap, through libtorch's stable C interface (`torch/csrc/stable/c/shim.h`).

use std::ffi::{CStr, c_char, c_void};

use anyhow::{Result, ensure};
use tch::Tensor;

/// The release whose conventions the arguments follow, 2.11.0: major, minor and patch in the top three bytes.
const RELEASE: u64 = 0x020b_0000_0000_0000;

#[allow(unsafe_code)]
unsafe extern "C" {
    fn torch_call_dispatcher(op: *const c_char, overload: *const c_char, stack: *mut u64, release: u64) -> i32;
    fn torch_new_list_reserve_size(size: usize, list: *mut *mut c_void) -> i32;
    fn torch_list_push_back(list: *mut c_void, element: u64) -> i32;
}

/// A list of one tensor, as an argument. The callee takes it over.
fn list(tensor: Option<&Tensor>) -> Result<u64> {
    let mut list = std::ptr::null_mut();
    // SAFETY: the list is made here; the clone of the tensor is its own and goes with it.
    #[allow(unsafe_code)]
    let code = unsafe {
        let mut code = torch_new_list_reserve_size(1, &raw mut list);
        if let (0, Some(tensor)) = (code, tensor) {
            code = torch_list_push_back(list, torch_sys::at_shallow_clone(tensor.as_ptr().cast_mut()) as u64);
        }
        code
    };
    ensure!(code == 0, "libtorch made no list");
    Ok(list as u64)
}

/// What `_fused_adam_` and `_fused_adamw_` take beside the tensors.
#[derive(Debug, Clone, Copy)]
pub struct Adam {
    pub rate: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub weight_decay: f64,
    pub epsilon: f64,
    /// Weight decay apart from the gradient (AdamW).
    pub decoupled: bool,
}

/// One update by Adam of the weights `w`, in one pass over them, their gradients and both moments; `steps` holds the number
/// of this update.
pub fn fused_adam(
    w: &Tensor,
    gradient: &Tensor,
    first: &Tensor,
    second: &Tensor,
    steps: &Tensor,
    adam: Adam,
) -> Result<()> {
    const ADAM: &CStr = c"aten::_fused_adam_";
    const ADAMW: &CStr = c"aten::_fused_adamw_";
    let mut stack = [
        list(Some(w))?,
        list(Some(gradient))?,
        list(Some(first))?,
        list(Some(second))?,
        list(None)?,
        list(Some(steps))?,
        adam.rate.to_bits(),
        adam.beta1.to_bits(),
        adam.beta2.to_bits(),
        adam.weight_decay.to_bits(),
        adam.epsilon.to_bits(),
        0, // amsgrad
        0, // maximize
        0, // grad_scale
        0, // found_inf
    ];
    let op = if adam.decoupled { ADAMW } else { ADAM };
    // SAFETY: the stack holds what the operator's schema names, in its order; the operator returns nothing.
    #[allow(unsafe_code)]
    let code = unsafe { torch_call_dispatcher(op.as_ptr(), c"".as_ptr(), stack.as_mut_ptr(), RELEASE) };
    ensure!(code == 0, "libtorch refused {}", op.to_string_lossy());
    Ok(())
}
