//! CUDA graphs: a GPU's work recorded once and asked for again by one call. `at::cuda::CUDAGraph` does it, and with it comes
//! a pool of memory that is reserved while the graph lives.
//!
//! Its functions are in `libtorch_cuda`, which a CPU build of torch lacks: they are looked up when they are wanted.

use std::ffi::{CStr, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use tch::Device;

#[allow(unsafe_code)]
unsafe extern "C" {
    /// `caught.cpp`: 1 if the function threw.
    fn backcast_caught(function: *const c_void, a: usize, b: usize, c: usize, d: usize) -> i32;
}

/// A function of `libtorch_cuda`, by its name there.
fn find(name: &CStr) -> Result<*mut c_void> {
    // SAFETY: both calls take null-terminated names, and return null if nothing has this name.
    #[allow(unsafe_code)]
    let found = unsafe {
        let library = libc::dlopen(c"libtorch_cuda.so".as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD);
        ensure!(!library.is_null(), "this torch is built without CUDA");
        libc::dlsym(library, name.as_ptr())
    };
    ensure!(!found.is_null(), "libtorch has no {}", name.to_string_lossy());
    Ok(found)
}

fn call(name: &CStr, arguments: [usize; 4]) -> Result<()> {
    let function = find(name)?;
    let [a, b, c, d] = arguments;
    // SAFETY: the callers below pass what the function of this name takes, at most four words; what it throws is caught.
    #[allow(unsafe_code)]
    let code = unsafe { backcast_caught(function, a, b, c, d) };
    ensure!(code == 0, "libtorch refused {}", name.to_string_lossy());
    Ok(())
}

/// What `find` returns, cast to the function pointer type `F`.
///
/// # Safety
///
/// `F` must be the type of a function pointer, with the signature that the function of this name has.
#[allow(unsafe_code)]
unsafe fn function<F: Copy>(name: &CStr) -> Result<F> {
    let found = find(name)?;
    // SAFETY: as the caller promises; both are pointers.
    Ok(unsafe { std::mem::transmute_copy::<*mut c_void, F>(&found) })
}

/// The handle that a function of the stable interface gives.
fn handle(give: impl FnOnce(*mut *mut c_void) -> i32) -> Result<*mut c_void> {
    let mut handle = std::ptr::null_mut();
    ensure!(give(&raw mut handle) == 0, "libtorch has no such device or stream");
    Ok(handle)
}

fn index(device: Device) -> Result<i32> {
    match device {
        Device::Cuda(index) => Ok(index as i32),
        _ => anyhow::bail!("only a CUDA device has streams"),
    }
}

/// Functions of the stable interface, which give their errors as a code: signatures as in the headers of 2.11,
/// `stable/c/shim.h` and `inductor/aoti_torch/c/shim.h`.
type GetFromPool = unsafe extern "C" fn(bool, i32, *mut *mut c_void) -> i32;
type GetCurrent = unsafe extern "C" fn(i32, *mut *mut c_void) -> i32;
type Wait = unsafe extern "C" fn(*mut c_void, i32) -> i32;
type GuardStream = unsafe extern "C" fn(*mut c_void, i32, *mut *mut c_void) -> i32;
type GuardDevice = unsafe extern "C" fn(i32, *mut *mut c_void) -> i32;
type EndGuard = unsafe extern "C" fn(*mut c_void) -> i32;

/// Makes a device, or a stream on it, the current one of this thread until dropped.
#[derive(Debug)]
pub struct Guard {
    handle: *mut c_void,
    end: EndGuard,
}

impl Guard {
    pub fn device(device: Device) -> Result<Self> {
        let device = index(device)?;
        // SAFETY: as the types above say.
        #[allow(unsafe_code)]
        unsafe {
            let make: GuardDevice = function(c"aoti_torch_create_cuda_guard")?;
            let end: EndGuard = function(c"aoti_torch_delete_cuda_guard")?;
            Ok(Self { handle: handle(|out| make(device, out))?, end })
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // SAFETY: a guard that was made, and its end.
        #[allow(unsafe_code)]
        unsafe {
            (self.end)(self.handle);
        }
    }
}

/// A CUDA stream other than the default stream: CUDA cannot record on the default stream.
#[derive(Debug)]
pub struct Stream {
    handle: *mut c_void,
    device: i32,
    wait: Wait,
}

// SAFETY: a stream's handle may be used from any thread.
#[allow(unsafe_code)]
unsafe impl Send for Stream {}

impl Stream {
    pub fn new(device: Device) -> Result<Self> {
        let device = index(device)?;
        // SAFETY: as the types above say.
        #[allow(unsafe_code)]
        unsafe {
            let get: GetFromPool = function(c"torch_get_cuda_stream_from_pool")?;
            let wait: Wait = function(c"torch_cuda_stream_synchronize")?;
            Ok(Self { handle: handle(|out| get(false, device, out))?, device, wait })
        }
    }

    /// Have this thread's work go to the stream while the result lives, after what was asked for before.
    pub fn enter(&self) -> Result<Entered> {
        let Self { handle: own, device, wait } = *self;
        // SAFETY: as the types above say.
        #[allow(unsafe_code)]
        unsafe {
            let get: GetCurrent = function(c"aoti_torch_get_current_cuda_stream")?;
            let make: GuardStream = function(c"aoti_torch_create_cuda_stream_guard")?;
            let end: EndGuard = function(c"aoti_torch_delete_cuda_stream_guard")?;
            let before = handle(|out| get(device, out))?;
            ensure!(wait(before, device) == 0, "the device failed");
            let guard = Guard { handle: handle(|out| make(own, device, out))?, end };
            Ok(Entered { stream: Self { handle: own, device, wait }, _guard: guard })
        }
    }
}

/// Makes a stream current. Dropping it waits for the stream, then makes the previous stream current again.
#[derive(Debug)]
pub struct Entered {
    stream: Stream,
    _guard: Guard,
}

impl Drop for Entered {
    fn drop(&mut self) {
        // SAFETY: the stream lives as long as the process. An error of the device shows at its next use.
        #[allow(unsafe_code)]
        unsafe {
            (self.stream.wait)(self.stream.handle, self.stream.device);
        }
    }
}

/// Storage for an `at::cuda::CUDAGraph`, several times its size.
#[repr(C, align(64))]
struct Storage([u8; 1024]);

/// Recorded work.
pub struct Graph(Box<Storage>);

// SAFETY: one thread at a time uses a model, and the graph with it.
#[allow(unsafe_code)]
unsafe impl Send for Graph {}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Graph")
    }
}

/// Whether a recording has failed in this process: libtorch's allocator and its generators then stay in recording
/// mode, so another recording would fail too.
static FAILED: AtomicBool = AtomicBool::new(false);

impl Graph {
    /// Record the GPU work that `work` launches, without running it, on a stream that was entered. Tensors that `work` makes are
    /// in the graph's memory, where every `replay` writes them anew; nothing in it may wait for the GPU.
    pub fn record<T>(work: impl FnOnce() -> Result<T>) -> Result<(Self, T)> {
        const THREAD_LOCAL: usize = 1;
        ensure!(!FAILED.load(Ordering::Relaxed), "a recording has failed before");
        // Look these up first: without them a recording that has started cannot be ended.
        for name in [c"_ZN2at4cuda9CUDAGraph11capture_endEv", c"_ZN2at4cuda9CUDAGraphD1Ev"] {
            find(name)?;
        }
        let mut storage = Box::new(Storage([0; 1024]));
        let keep_graph = 0;
        call(c"_ZN2at4cuda9CUDAGraphC1Eb", [storage.0.as_mut_ptr() as usize, keep_graph, 0, 0])?;
        let graph = Self(storage);
        let begin = c"_ZN2at4cuda9CUDAGraph13capture_beginESt4pairIyyE21cudaStreamCaptureMode";
        let own_pool = [0, 0];
        let recorded = call(begin, [graph.pointer(), own_pool[0], own_pool[1], THREAD_LOCAL]).and_then(|()| {
            let made = catch_unwind(AssertUnwindSafe(work));
            call(c"_ZN2at4cuda9CUDAGraph11capture_endEv", [graph.pointer(), 0, 0, 0])?;
            made.unwrap_or_else(|_| anyhow::bail!("what was to be recorded failed"))
        });
        match recorded {
            Ok(made) => Ok((graph, made)),
            Err(error) => {
                FAILED.store(true, Ordering::Relaxed);
                // libtorch may still look into it.
                std::mem::forget(graph);
                Err(error)
            }
        }
    }

    /// Ask for the recorded work once more.
    pub fn replay(&self) -> Result<()> {
        call(c"_ZN2at4cuda9CUDAGraph6replayEv", [self.pointer(), 0, 0, 0])
    }

    fn pointer(&self) -> usize {
        self.0.0.as_ptr() as usize
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // A failure leaves some memory taken; no caller can handle it.
        let _ = call(c"_ZN2at4cuda9CUDAGraphD1Ev", [self.pointer(), 0, 0, 0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(unsafe_code)]
    unsafe extern "C" {
        #[link_name = "_ZN2at7Context19setFloat32PrecisionENS_14Float32BackendENS_9Float32OpENS_16Float32PrecisionE"]
        fn set_float32_precision(context: *mut c_void, backend: i32, op: i32, precision: i32);
        #[link_name = "_ZN2at13globalContextEv"]
        fn global_context() -> *mut c_void;
    }

    #[test]
    fn an_exception_of_libtorch_is_caught() {
        // SAFETY: the function takes the context and three numbers; the numbers are backend, operator and
        // precision, of which CUDA refuses bfloat16.
        #[allow(unsafe_code)]
        unsafe {
            let (function, context) = (set_float32_precision as *const c_void, global_context() as usize);
            assert_eq!(backcast_caught(function, context, 1, 3, 3), 1);
            assert_eq!(backcast_caught(function, context, 1, 3, 0), 0);
        }
    }

    #[test]
    fn every_name_is_in_libtorch_or_cuda_is_not() {
        // SAFETY: a library that Python's torch loads too.
        #[allow(unsafe_code)]
        if unsafe { libc::dlopen(c"libtorch_cuda.so".as_ptr(), libc::RTLD_LAZY) }.is_null() {
            return;
        }
        for name in [
            c"_ZN2at4cuda9CUDAGraphC1Eb",
            c"_ZN2at4cuda9CUDAGraph13capture_beginESt4pairIyyE21cudaStreamCaptureMode",
            c"_ZN2at4cuda9CUDAGraph11capture_endEv",
            c"_ZN2at4cuda9CUDAGraph6replayEv",
            c"_ZN2at4cuda9CUDAGraphD1Ev",
            c"torch_get_cuda_stream_from_pool",
            c"torch_cuda_stream_synchronize",
            c"aoti_torch_create_cuda_guard",
            c"aoti_torch_delete_cuda_guard",
            c"aoti_torch_create_cuda_stream_guard",
            c"aoti_torch_delete_cuda_stream_guard",
            c"aoti_torch_get_current_cuda_stream",
        ] {
            assert!(find(name).is_ok(), "{name:?}");
        }
        if !tch::Cuda::is_available() {
            // Refused without ending the process.
            assert!(Stream::new(Device::Cuda(0)).is_err() && Guard::device(Device::Cuda(0)).is_err());
            assert!(Graph::record(|| Ok(())).is_err());
            assert!(FAILED.load(Ordering::Relaxed) || Graph::record(|| Ok(())).is_err());
        }
    }
}
