//! libtorch's own thread pool: the engine starts no second one.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

#[allow(unsafe_code)]
unsafe extern "C" {
    fn torch_parallel_for(
        begin: i64,
        end: i64,
        grain_size: i64,
        f: extern "C" fn(i64, i64, *mut c_void),
        context: *mut c_void,
    ) -> i32;
}

struct Call<'a> {
    work: &'a (dyn Fn(usize) + Sync),
    panicked: AtomicBool,
}

extern "C" fn call(begin: i64, end: i64, context: *mut c_void) {
    // SAFETY: `context` is the `Call` that `parallel` keeps alive until `torch_parallel_for` has returned.
    #[allow(unsafe_code)]
    let call = unsafe { &*context.cast::<Call<'_>>() };
    // A panic must not cross into C++.
    let result = catch_unwind(AssertUnwindSafe(|| (begin..end).for_each(|i| (call.work)(i as usize))));
    if result.is_err() {
        call.panicked.store(true, Ordering::Relaxed);
    }
}

/// Call `work` with 0..n, spread over libtorch's threads; returns when all have returned.
///
/// # Panics
///
/// If `work` panics, or libtorch refuses.
pub fn parallel(n: usize, work: impl Fn(usize) + Sync) {
    if n <= 1 {
        (0..n).for_each(work);
        return;
    }
    let mut context = Call { work: &work, panicked: AtomicBool::new(false) };
    // SAFETY: `call` takes the context for what it is, it outlives the call, and `work` is `Sync`.
    #[allow(unsafe_code)]
    let code = unsafe { torch_parallel_for(0, n as i64, 1, call, (&raw mut context).cast()) };
    assert!(code == 0 && !context.panicked.load(Ordering::Relaxed), "parallel work failed");
}
