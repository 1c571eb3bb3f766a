//! Sums over the processes of a group of `torch.distributed`, which Python makes and names; the same for gloo and NCCL.

use std::ffi::c_char;

use anyhow::Result;
use tch::Tensor;

use super::dispatch::{call, tensor};
use super::stable;

/// A text, as an argument. The callee takes it over.
fn text(text: &str) -> u64 {
    let mut handle = std::ptr::null_mut();
    // SAFETY: libtorch copies `len` bytes.
    #[allow(unsafe_code)]
    unsafe {
        stable::torch_new_string_handle(text.as_ptr().cast::<c_char>(), text.len(), &raw mut handle);
    }
    handle as u64
}

/// Begin to add up `numbers`, dense, over the processes of `group`, in place. `wait` ends it.
pub fn begin_sum(numbers: &Tensor, group: &str) -> Result<()> {
    let [_same] = call(c"_c10d_functional::all_reduce_", c"", &[tensor(numbers), text("sum"), text(group)])?;
    Ok(())
}

/// Wait for all sums that were begun on the memory of `numbers`; a GPU waits in its turn, and the host does not.
pub fn wait(numbers: &Tensor) -> Result<()> {
    let [_same] = call(c"_c10d_functional::wait_tensor", c"", &[tensor(numbers)])?;
    Ok(())
}
