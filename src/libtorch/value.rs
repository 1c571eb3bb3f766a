//! Arguments of operators as the stable interface takes them: one `u64` each. The callee takes over what they own.

use std::ffi::{CStr, c_int};

use super::failure::checked;
use super::stable::{self, Handle, RELEASE};

/// An absent optional.
pub const NONE: u64 = 0;

/// A tensor.
///
/// # Safety
///
/// `tensor` must live.
#[allow(unsafe_code)]
pub unsafe fn tensor(tensor: Handle) -> u64 {
    let mut out = std::ptr::null_mut();
    // SAFETY: as the caller promises.
    unsafe { stable::aoti_torch_new_tensor_handle(tensor, &raw mut out) };
    out as u64
}

#[allow(unsafe_code)]
unsafe extern "C" {
    /// `caught.cpp`: room for one number, by C++'s `new`; null if there is none.
    fn backcast_slot() -> *mut u64;
}

/// An optional that is present. libtorch frees the slot with `delete`.
pub fn some(value: u64) -> u64 {
    // SAFETY: room for one number, checked before it is written.
    #[allow(unsafe_code)]
    unsafe {
        let slot = backcast_slot();
        assert!(!slot.is_null(), "no memory for an argument");
        slot.write(value);
        slot as u64
    }
}

/// A list of values, which it takes over.
pub fn list(values: impl ExactSizeIterator<Item = u64>) -> u64 {
    let mut list = std::ptr::null_mut();
    // SAFETY: the list is made here, and takes over its elements.
    #[allow(unsafe_code)]
    unsafe {
        stable::torch_new_list_reserve_size(values.len(), &raw mut list);
        for value in values {
            stable::torch_list_push_back(list, value);
        }
    }
    list as u64
}

/// A list of `length` integers.
///
/// # Safety
///
/// `data` must be readable for `length` integers.
#[allow(unsafe_code)]
pub unsafe fn integers(data: *const i64, length: c_int) -> u64 {
    // SAFETY: as the caller promises; a pointer beside length 0 is not followed.
    list((0..length as usize).map(|at| unsafe { *data.add(at) as u64 }))
}

/// A list of `length` tensors.
///
/// # Safety
///
/// `data` must be readable for `length` tensors that live.
#[allow(unsafe_code)]
pub unsafe fn tensors(data: *const Handle, length: c_int) -> u64 {
    // SAFETY: as the caller promises.
    list((0..length as usize).map(|at| unsafe { tensor(*data.add(at)) }))
}

/// A device, by tch's number: -1 is the CPU, others are CUDA's indices. The type is in the upper half, the index below.
pub fn device(number: c_int) -> u64 {
    if number < 0 { 0xffff_ffff } else { (1 << 32) | number as u64 }
}

/// A dtype, by libtorch's number, which tch uses too.
pub fn dtype(number: c_int) -> u64 {
    u64::from(number as u32)
}

/// A dtype, or none where tch passes -1.
pub fn dtype_or_none(number: c_int) -> u64 {
    if number < 0 { NONE } else { some(dtype(number)) }
}

/// An integer, or none.
pub fn integer_or_none(value: i64, is_none: i8) -> u64 {
    if is_none != 0 { NONE } else { some(value as u64) }
}

/// Call an operator whose first results, tensors, go to `out`.
///
/// # Safety
///
/// `arguments` must be what the operator's schema of `RELEASE` names, and `out` must have room for `results` handles.
#[allow(unsafe_code)]
pub unsafe fn call(out: *mut Handle, results: usize, op: &CStr, overload: &CStr, arguments: &[u64]) {
    let mut stack = [0; 16];
    stack[..arguments.len()].copy_from_slice(arguments);
    // SAFETY: as the caller promises; results come back in the first places.
    unsafe {
        if checked(op, || stable::torch_call_dispatcher(op.as_ptr(), overload.as_ptr(), stack.as_mut_ptr(), RELEASE)) {
            for (result, handle) in stack[..results].iter().enumerate() {
                *out.add(result) = *handle as Handle;
            }
        }
    }
}
