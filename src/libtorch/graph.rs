//! CUDA graphs: a GPU's work recorded once and asked for again by one call. `at::cuda::CUDAGraph` does it, and with it comes
//! a pool of memory that is reserved while the graph lives.
//!
//! Its functions are in `libtorch_cuda`, which a CPU build of torch lacks: they are looked up when they are wanted.

use std::ffi::{CStr, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use tch::Device;

use super::failure::{checked, take};
use super::platform;

#[allow(unsafe_code)]
unsafe extern "C" {
    /// `caught.cpp`: 1 if the function threw.
    fn backcast_caught(function: *const c_void, a: usize, b: usize, c: usize, d: usize) -> i32;
}

/// A function of `libtorch_cuda`, by its name there.
fn find(name: &CStr) -> Result<*mut c_void> {
    ensure!(platform::loaded(platform::CUDA).is_some(), "this torch is built without CUDA");
    platform::find(platform::CUDA, name).with_context(|| format!("libtorch has no {}", name.to_string_lossy()))
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

/// The handle that a function of the stable interface, `name`, gives.
fn handle(name: &CStr, give: impl FnOnce(*mut *mut c_void) -> i32) -> Result<*mut c_void> {
    let mut handle = std::ptr::null_mut();
    ensure!(checked(name, || give(&raw mut handle)), "{}", take());
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
            let make: GuardDevice = function(platform::DEVICE_GUARD_NEW)?;
            let end: EndGuard = function(platform::DEVICE_GUARD_DELETE)?;
            Ok(Self { handle: handle(platform::DEVICE_GUARD_NEW, |out| make(device, out))?, end })
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
            let get: GetFromPool = function(platform::STREAM_FROM_POOL)?;
            let wait: Wait = function(platform::STREAM_WAIT)?;
            Ok(Self { handle: handle(platform::STREAM_FROM_POOL, |out| get(false, device, out))?, device, wait })
        }
    }

    /// Have this thread's work go to the stream while the result lives, after what was asked for before.
    pub fn enter(&self) -> Result<Entered> {
        let Self { handle: own, device, wait } = *self;
        // SAFETY: as the types above say.
        #[allow(unsafe_code)]
        unsafe {
            let get: GetCurrent = function(platform::CURRENT_STREAM)?;
            let make: GuardStream = function(platform::STREAM_GUARD_NEW)?;
            let end: EndGuard = function(platform::STREAM_GUARD_DELETE)?;
            let before = handle(platform::CURRENT_STREAM, |out| get(device, out))?;
            ensure!(checked(platform::STREAM_WAIT, || wait(before, device)), "{}", take());
            let guard = Guard { handle: handle(platform::STREAM_GUARD_NEW, |out| make(own, device, out))?, end };
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
        for name in [platform::GRAPH_END, platform::GRAPH_DELETE] {
            find(name)?;
        }
        let mut storage = Box::new(Storage([0; 1024]));
        let keep_graph = 0;
        call(platform::GRAPH_NEW, [storage.0.as_mut_ptr() as usize, keep_graph, 0, 0])?;
        let graph = Self(storage);
        let own_pool = [0, 0];
        let recorded =
            call(platform::GRAPH_BEGIN, [graph.pointer(), own_pool[0], own_pool[1], THREAD_LOCAL]).and_then(|()| {
                let made = catch_unwind(AssertUnwindSafe(work));
                call(platform::GRAPH_END, [graph.pointer(), 0, 0, 0])?;
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
        call(platform::GRAPH_REPLAY, [self.pointer(), 0, 0, 0])
    }

    fn pointer(&self) -> usize {
        self.0.0.as_ptr() as usize
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // A failure leaves some memory taken; no caller can handle it.
        let _ = call(platform::GRAPH_DELETE, [self.pointer(), 0, 0, 0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_of_libtorch_is_caught() {
        let name = |name| platform::find(platform::CPU, name).expect("every release has it");
        let function = name(platform::SET_FLOAT32_PRECISION);
        // SAFETY: the function takes the context and three numbers; the numbers are backend, operator and
        // precision, of which CUDA refuses bfloat16.
        #[allow(unsafe_code)]
        unsafe {
            let context = name(platform::GLOBAL_CONTEXT);
            let context = std::mem::transmute::<*mut c_void, extern "C" fn() -> usize>(context)();
            assert_eq!(backcast_caught(function, context, 1, 3, 3), 1);
            assert_eq!(backcast_caught(function, context, 1, 3, 0), 0);
        }
    }

    #[test]
    fn without_a_gpu_streams_and_graphs_are_refused_and_the_process_lives() {
        // SAFETY: a library that Python's torch loads too; a CPU build of torch lacks it.
        #[allow(unsafe_code)]
        let built_with_cuda = !unsafe { libc::dlopen(platform::CUDA.as_ptr(), libc::RTLD_LAZY) }.is_null();
        if tch::Cuda::device_count() == 0 {
            assert!(Stream::new(Device::Cuda(0)).is_err() && Guard::device(Device::Cuda(0)).is_err());
            assert!(Graph::record(|| Ok(())).is_err());
            assert!(!built_with_cuda || FAILED.load(Ordering::Relaxed) || Graph::record(|| Ok(())).is_err());
        }
    }
}
