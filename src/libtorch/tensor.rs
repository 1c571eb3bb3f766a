//! Tensors themselves: making, copying, freeing and describing them.
#![allow(unsafe_code, reason = "C functions; tch passes tensors that live, and buffers of the size it says")]

use std::ffi::{c_int, c_void};

use super::failure::{checked, report};
use super::operators::{atg_contiguous, atg_select, atg_to, atg_zeros};
use super::platform;
use super::stable::{self, Handle};
use super::value::{call, tensor};

const CPU: c_int = -1;

#[unsafe(no_mangle)]
unsafe extern "C" fn at_shallow_clone(of: Handle) -> Handle {
    unsafe { tensor(of) as Handle }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn at_free(of: Handle) {
    if !of.is_null() {
        unsafe { stable::aoti_torch_delete_tensor_object(of) };
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn at_scalar_type(of: Handle) -> c_int {
    let mut out = 0;
    unsafe { stable::aoti_torch_get_dtype(of, &raw mut out) };
    out
}

pub unsafe fn dims(of: Handle) -> usize {
    let mut out = 0;
    unsafe { stable::aoti_torch_get_dim(of, &raw mut out) };
    out as usize
}

unsafe fn numel(of: Handle) -> usize {
    let mut out = 0;
    unsafe { stable::aoti_torch_get_numel(of, &raw mut out) };
    out as usize
}

#[unsafe(no_mangle)]
unsafe extern "C" fn at_dim(of: Handle) -> usize {
    unsafe { dims(of) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn at_shape(of: Handle, out: *mut i64) {
    let mut sizes = std::ptr::null_mut();
    unsafe {
        stable::aoti_torch_get_sizes(of, &raw mut sizes);
        std::ptr::copy_nonoverlapping(sizes, out, dims(of));
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn at_stride(of: Handle, out: *mut i64) {
    let mut strides = std::ptr::null_mut();
    unsafe {
        stable::aoti_torch_get_strides(of, &raw mut strides);
        std::ptr::copy_nonoverlapping(strides, out, dims(of));
    }
}

/// tch's number of a device: -1 is the CPU, others are CUDA's indices.
#[unsafe(no_mangle)]
unsafe extern "C" fn at_device(of: Handle) -> c_int {
    let (mut kind, mut index) = (0, 0);
    unsafe {
        stable::aoti_torch_get_device_type(of, &raw mut kind);
        stable::aoti_torch_get_device_index(of, &raw mut index);
    }
    match kind {
        0 => CPU,
        1 => index,
        _ => -2,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn at_data_ptr(of: Handle) -> *mut c_void {
    let mut out = std::ptr::null_mut();
    checked(c"data_ptr", || unsafe { stable::torch_get_mutable_data_ptr(of, &raw mut out) });
    out
}

#[unsafe(no_mangle)]
unsafe extern "C" fn at_copy_(to: Handle, from: Handle) {
    let mut out = std::ptr::null_mut();
    unsafe {
        call(&raw mut out, 1, c"aten::copy_", c"", &[tensor(to), tensor(from), 0]);
        at_free(out);
    }
}

/// The first `count` numbers of a tensor, into memory.
#[unsafe(no_mangle)]
unsafe extern "C" fn at_copy_data(of: Handle, into: *mut c_void, count: usize, size: usize) {
    let [mut here, mut dense] = [std::ptr::null_mut(); 2];
    unsafe {
        if size != stable::aoti_torch_dtype_element_size(at_scalar_type(of)) {
            return report("copy_data: incoherent element sizes in bytes");
        }
        if count > numel(of) {
            return report("copy_data: target numel is larger than tensor numel");
        }
        atg_to(&raw mut here, of, CPU);
        if !here.is_null() {
            atg_contiguous(&raw mut dense, here);
        }
        if !dense.is_null() && count > 0 {
            std::ptr::copy_nonoverlapping(at_data_ptr(dense).cast::<u8>(), into.cast::<u8>(), count * size);
        }
        at_free(here);
        at_free(dense);
    }
}

/// The number at `indexes`, as a tensor; null where there is none.
unsafe fn element(of: Handle, indexes: *const i64, length: c_int) -> Handle {
    unsafe {
        let mut now = tensor(of) as Handle;
        for at in 0..length as usize {
            let mut next = std::ptr::null_mut();
            if !now.is_null() {
                atg_select(&raw mut next, now, 0, *indexes.add(at));
            }
            at_free(now);
            now = next;
        }
        now
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn at_double_value_at_indexes(of: Handle, indexes: *const i64, length: c_int) -> f64 {
    let mut out = 0.0;
    unsafe {
        let element = element(of, indexes, length);
        if !element.is_null() {
            checked(c"item", || stable::aoti_torch_item_float64(element, &raw mut out));
            at_free(element);
        }
    }
    out
}

#[unsafe(no_mangle)]
unsafe extern "C" fn at_int64_value_at_indexes(of: Handle, indexes: *const i64, length: c_int) -> i64 {
    let mut out = 0;
    unsafe {
        let element = element(of, indexes, length);
        if !element.is_null() {
            checked(c"item", || stable::aoti_torch_item_int64(element, &raw mut out));
            at_free(element);
        }
    }
    out
}

/// The part at `index` of the first axis.
#[unsafe(no_mangle)]
unsafe extern "C" fn at_get(of: Handle, index: c_int) -> Handle {
    let mut out = std::ptr::null_mut();
    unsafe { atg_select(&raw mut out, of, 0, i64::from(index)) };
    out
}

/// A tensor over memory of the caller.
#[unsafe(no_mangle)]
unsafe extern "C" fn at_tensor_of_blob(
    data: *const c_void,
    sizes: *const i64,
    length: usize,
    strides: *const i64,
    strides_length: usize,
    dtype: c_int,
    device: c_int,
) -> Handle {
    let mut out = std::ptr::null_mut();
    unsafe {
        let mut dense = vec![1; length];
        for at in (1..length).rev() {
            dense[at - 1] = dense[at] * (*sizes.add(at)).max(1);
        }
        let strides = if strides_length == 0 { dense.as_ptr() } else { strides };
        let (kind, index) = if device < 0 { (0, -1) } else { (1, device) };
        checked(c"from_blob", || {
            stable::torch_from_blob(
                data.cast_mut(),
                length as i64,
                sizes,
                strides,
                0,
                dtype,
                kind,
                index,
                &raw mut out,
                0,
                std::ptr::null(),
                0,
                None,
                std::ptr::null_mut(),
            )
        });
    }
    out
}

/// A tensor that owns a copy of the data.
#[unsafe(no_mangle)]
unsafe extern "C" fn at_tensor_of_data(
    data: *const c_void,
    sizes: *const i64,
    length: usize,
    size: usize,
    dtype: c_int,
) -> Handle {
    let mut out = std::ptr::null_mut();
    unsafe {
        atg_zeros(&raw mut out, sizes, length as c_int, dtype, CPU);
        if !out.is_null() && numel(out) > 0 {
            std::ptr::copy_nonoverlapping(data.cast::<u8>(), at_data_ptr(out).cast::<u8>(), numel(out) * size);
        }
    }
    out
}

#[unsafe(no_mangle)]
extern "C" fn at_get_num_threads() -> c_int {
    let mut out = 1;
    unsafe { stable::torch_get_num_threads(&raw mut out) };
    out as c_int
}

/// Without the name libtorch's pool keeps its size: slower or faster, with the same numbers.
#[unsafe(no_mangle)]
extern "C" fn at_set_num_threads(number: c_int) {
    if let Some(found) = platform::find(platform::CPU, platform::SET_NUM_THREADS) {
        // SAFETY: `void at::set_num_threads(int)`.
        unsafe { std::mem::transmute::<*mut c_void, extern "C" fn(c_int)>(found)(number) }
    }
}

/// Without the name no CUDA device is seen.
#[unsafe(no_mangle)]
extern "C" fn atc_cuda_device_count() -> c_int {
    platform::find(platform::CPU, platform::DEVICE_COUNT).map_or(0, |found| {
        // SAFETY: `size_t torch::cuda::device_count()`.
        unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> usize>(found)() as c_int }
    })
}
