//! Names that depend on the platform or the release: libtorch's files, functions that not every build or release has, and how
//! to find them. Every name here is optional and looked up at run time; a table in CONTRIBUTING.md says what happens without it.

use std::ffi::{CStr, c_void};

/// The library of the CPU build, which is always loaded.
pub const CPU: &CStr = c"libtorch_cpu.so";
/// The library that only CUDA builds have.
pub const CUDA: &CStr = c"libtorch_cuda.so";
/// The CUDA runtime that libtorch loads.
pub const CUDA_RUNTIMES: [&CStr; 2] = [c"libcudart.so.13", c"libcudart.so.12"];

pub const WHAT: &CStr = c"torch_exception_get_what_without_backtrace";
pub const SET_NUM_THREADS: &CStr = c"_ZN2at15set_num_threadsEi";
pub const DEVICE_COUNT: &CStr = c"_ZN5torch4cuda12device_countEv";
pub const GLOBAL_CONTEXT: &CStr = c"_ZN2at13globalContextEv";
pub const FLOAT32_PRECISION: &CStr = c"_ZNK2at7Context16float32PrecisionENS_14Float32BackendENS_9Float32OpE";
pub const SET_FLOAT32_PRECISION: &CStr =
    c"_ZN2at7Context19setFloat32PrecisionENS_14Float32BackendENS_9Float32OpENS_16Float32PrecisionE";
pub const GRAPH_NEW: &CStr = c"_ZN2at4cuda9CUDAGraphC1Eb";
pub const GRAPH_BEGIN: &CStr = c"_ZN2at4cuda9CUDAGraph13capture_beginESt4pairIyyE21cudaStreamCaptureMode";
pub const GRAPH_END: &CStr = c"_ZN2at4cuda9CUDAGraph11capture_endEv";
pub const GRAPH_REPLAY: &CStr = c"_ZN2at4cuda9CUDAGraph6replayEv";
pub const GRAPH_DELETE: &CStr = c"_ZN2at4cuda9CUDAGraphD1Ev";
pub const STREAM_FROM_POOL: &CStr = c"torch_get_cuda_stream_from_pool";
pub const STREAM_WAIT: &CStr = c"torch_cuda_stream_synchronize";
pub const CURRENT_STREAM: &CStr = c"aoti_torch_get_current_cuda_stream";
pub const STREAM_GUARD_NEW: &CStr = c"aoti_torch_create_cuda_stream_guard";
pub const STREAM_GUARD_DELETE: &CStr = c"aoti_torch_delete_cuda_stream_guard";
pub const DEVICE_GUARD_NEW: &CStr = c"aoti_torch_create_cuda_guard";
pub const DEVICE_GUARD_DELETE: &CStr = c"aoti_torch_delete_cuda_guard";
/// Of the CUDA runtime.
pub const MEMORY_INFO: &CStr = c"cudaMemGetInfo";

/// A library that is already loaded; none is loaded here.
pub fn loaded(library: &CStr) -> Option<*mut c_void> {
    // SAFETY: the name ends with a zero; the result is null if the library is not loaded.
    #[allow(unsafe_code)]
    let handle = unsafe { libc::dlopen(library.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
    (!handle.is_null()).then_some(handle)
}

/// The address of `name` in a loaded library.
pub fn find(library: &CStr, name: &CStr) -> Option<*mut c_void> {
    let library = loaded(library)?;
    // SAFETY: a library that is loaded, and a name that ends with a zero; the result is null if the name is missing.
    #[allow(unsafe_code)]
    let found = unsafe { libc::dlsym(library, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}
