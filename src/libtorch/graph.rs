//! CUDA graphs: a GPU's work recorded once and asked for again by one call. `at::cuda::CUDAGraph` does it, and with it comes
//! a pool of memory that nobody else is given while the graph lives.
//!
//! Its functions are in `libtorch_cuda`, which a CPU build of torch lacks: they are looked up when they are wanted.

use std::ffi::{CStr, c_void};

use anyhow::{Context, Result, ensure};
use tch::Device;

#[allow(unsafe_code)]
unsafe extern "C" {
    /// `caught.cpp`: 1 if the function threw.
    fn backcast_caught(function: *const c_void, a: usize, b: usize, c: usize, d: usize) -> i32;
}

/// A function of `libtorch_cuda`, by its name there.
fn find(name: &CStr) -> Result<*mut c_void> {
    // SAFETY: both calls take names that end, and give null where there is none.
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

fn index(device: Device) -> Result<i32> {
    match device {
        Device::Cuda(index) => Ok(index as i32),
        _ => anyhow::bail!("only a CUDA device has streams"),
    }
}

/// A queue of a GPU's work beside the default one, on which nothing can be recorded.
#[derive(Debug)]
pub struct Stream {
    handle: *mut c_void,
    device: i32,
}

// SAFETY: a stream's handle may be used from any thread.
#[allow(unsafe_code)]
unsafe impl Send for Stream {}

type Error = i32;
type GetFromPool = unsafe extern "C" fn(bool, i32, *mut *mut c_void) -> Error;
type Get = unsafe extern "C" fn(i32, *mut *mut c_void) -> Error;
type Use = unsafe extern "C" fn(*mut c_void, i32) -> Error;

impl Stream {
    pub fn new(device: Device) -> Result<Self> {
        let (device, mut handle) = (index(device)?, std::ptr::null_mut());
        // SAFETY: the function has this signature in `torch/csrc/stable/c/shim.h`, and gives its errors as a code.
        #[allow(unsafe_code)]
        let code = unsafe {
            let get = std::mem::transmute::<*mut c_void, GetFromPool>(find(c"torch_get_cuda_stream_from_pool")?);
            get(false, device, &raw mut handle)
        };
        ensure!(code == 0, "libtorch has no stream");
        Ok(Self { handle, device })
    }

    /// Have this thread's work go to the stream while the result lives, after what was asked for before.
    pub fn enter(&self) -> Result<Entered> {
        let mut before = std::ptr::null_mut();
        // SAFETY: signatures as in the headers of 2.11, `stable/c/shim.h` and `inductor/aoti_torch/c/shim.h`.
        #[allow(unsafe_code)]
        unsafe {
            let get = std::mem::transmute::<*mut c_void, Get>(find(c"aoti_torch_get_current_cuda_stream")?);
            let set = std::mem::transmute::<*mut c_void, Use>(find(c"torch_set_current_cuda_stream")?);
            let wait = std::mem::transmute::<*mut c_void, Use>(find(c"torch_cuda_stream_synchronize")?);
            ensure!(get(self.device, &raw mut before) == 0, "libtorch has no stream");
            ensure!(wait(before, self.device) == 0 && set(self.handle, self.device) == 0, "libtorch has no stream");
            Ok(Entered { before, own: self.handle, device: self.device, set, wait })
        }
    }
}

/// This thread's work goes to a stream; when this ends it is done, and work goes where it went before.
#[derive(Debug)]
pub struct Entered {
    before: *mut c_void,
    own: *mut c_void,
    device: i32,
    set: Use,
    wait: Use,
}

impl Drop for Entered {
    fn drop(&mut self) {
        // SAFETY: functions and streams that `enter` found. An error of the device shows at its next use.
        #[allow(unsafe_code)]
        unsafe {
            (self.wait)(self.own, self.device);
            (self.set)(self.before, self.device);
        }
    }
}

/// Room for an `at::cuda::CUDAGraph`, several times its size.
#[repr(C, align(64))]
struct Room([u8; 1024]);

/// Recorded work.
pub struct Graph(Box<Room>);

// SAFETY: one thread at a time uses a model, and the graph with it.
#[allow(unsafe_code)]
unsafe impl Send for Graph {}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Graph")
    }
}

impl Graph {
    /// Record what `work` asks of the GPU, on a stream that was entered; it is not done yet. Tensors that `work` makes are
    /// in the graph's memory, where every `replay` writes them anew; nothing in it may wait for the GPU.
    pub fn record<T>(work: impl FnOnce() -> Result<T>) -> Result<(Self, T)> {
        const THREAD_LOCAL: usize = 1;
        // What must not be missing once a record has begun.
        for name in [c"_ZN2at4cuda9CUDAGraph11capture_endEv", c"_ZN2at4cuda9CUDAGraphD1Ev"] {
            find(name)?;
        }
        let mut room = Box::new(Room([0; 1024]));
        let keep_graph = 0;
        call(c"_ZN2at4cuda9CUDAGraphC1Eb", [room.0.as_mut_ptr() as usize, keep_graph, 0, 0])?;
        let graph = Self(room);
        let begin = c"_ZN2at4cuda9CUDAGraph13capture_beginESt4pairIyyE21cudaStreamCaptureMode";
        let own_pool = [0, 0];
        call(begin, [graph.pointer(), own_pool[0], own_pool[1], THREAD_LOCAL])?;
        let made = work();
        let ended = call(c"_ZN2at4cuda9CUDAGraph11capture_endEv", [graph.pointer(), 0, 0, 0]);
        let made = made.context("what was to be recorded")?;
        ended?;
        Ok((graph, made))
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
        // A failure leaves some memory taken; there is nobody to tell.
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
        // SAFETY: the function takes the context and three numbers; CUDA (1) knows no bfloat16 (3) and TF32 (2).
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
            c"torch_set_current_cuda_stream",
            c"torch_cuda_stream_synchronize",
            c"aoti_torch_get_current_cuda_stream",
        ] {
            assert!(find(name).is_ok(), "{name:?}");
        }
        if !tch::Cuda::is_available() {
            // Refused without ending the process.
            assert!(Stream::new(Device::Cuda(0)).is_err());
            assert!(Graph::record(|| Ok(())).is_err());
        }
    }
}
