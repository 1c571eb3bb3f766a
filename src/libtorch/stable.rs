//! libtorch's stable C interface, as far as this crate uses it. libtorch promises not to change these functions.
//!
//! This list is the only one: `build.rs` reads the names from here and makes a stub library of them to link against, and
//! `tests/python/test_wheel.py` refuses a core that needs any other name of libtorch.

use std::ffi::{c_char, c_void};

/// An `at::Tensor*`, which libtorch calls `AtenTensorHandle`.
pub type Handle = *mut c_void;

/// The release whose operator schemas the arguments follow, 2.11.0: major, minor and patch in the top three bytes.
/// Later releases adapt the arguments of older ones.
pub const RELEASE: u64 = 0x020b_0000_0000_0000;

/// Called by libtorch when the memory behind a tensor is no longer used.
pub type Deleter = unsafe extern "C" fn(*mut c_void, *mut c_void);

#[allow(unsafe_code)]
unsafe extern "C" {
    pub fn torch_call_dispatcher(op: *const c_char, overload: *const c_char, stack: *mut u64, release: u64) -> i32;
    pub fn torch_new_list_reserve_size(size: usize, list: *mut *mut c_void) -> i32;
    pub fn torch_new_string_handle(text: *const c_char, length: usize, handle: *mut *mut c_void) -> i32;
    pub fn torch_list_push_back(list: *mut c_void, element: u64) -> i32;
    pub fn torch_get_mutable_data_ptr(tensor: Handle, out: *mut *mut c_void) -> i32;
    pub fn torch_get_num_threads(out: *mut u32) -> i32;
    pub fn torch_from_blob(
        data: *mut c_void,
        dims: i64,
        sizes: *const i64,
        strides: *const i64,
        offset: i64,
        dtype: i32,
        device_type: i32,
        device_index: i32,
        out: *mut Handle,
        layout: i32,
        metadata: *const u8,
        metadata_size: i64,
        deleter: Option<Deleter>,
        context: *mut c_void,
    ) -> i32;
    pub fn aoti_torch_new_tensor_handle(tensor: Handle, out: *mut Handle) -> i32;
    pub fn aoti_torch_delete_tensor_object(tensor: Handle) -> i32;
    pub fn aoti_torch_get_dim(tensor: Handle, out: *mut i64) -> i32;
    pub fn aoti_torch_get_numel(tensor: Handle, out: *mut i64) -> i32;
    pub fn aoti_torch_get_sizes(tensor: Handle, out: *mut *mut i64) -> i32;
    pub fn aoti_torch_get_strides(tensor: Handle, out: *mut *mut i64) -> i32;
    pub fn aoti_torch_get_dtype(tensor: Handle, out: *mut i32) -> i32;
    pub fn aoti_torch_get_device_type(tensor: Handle, out: *mut i32) -> i32;
    pub fn aoti_torch_get_device_index(tensor: Handle, out: *mut i32) -> i32;
    pub fn aoti_torch_dtype_element_size(dtype: i32) -> usize;
    pub fn aoti_torch_item_float64(tensor: Handle, out: *mut f64) -> i32;
    pub fn aoti_torch_item_int64(tensor: Handle, out: *mut i64) -> i32;
    pub fn aoti_torch_scalar_to_tensor_float32(value: f32, out: *mut Handle) -> i32;
    pub fn aoti_torch_scalar_to_tensor_float64(value: f64, out: *mut Handle) -> i32;
    pub fn aoti_torch_scalar_to_tensor_int64(value: i64, out: *mut Handle) -> i32;
    pub fn aoti_torch_aten_subtract_Tensor(tensor: Handle, other: Handle, alpha: f64, out: *mut Handle) -> i32;
}
