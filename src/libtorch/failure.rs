//! Why a call of libtorch failed.
//!
//! The C interface returns a code. From release 2.13 on a second function gives the reason. Before that libtorch only logs it
//! to `std::cerr`, where `caught.cpp` picks it up.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::sync::OnceLock;

use super::platform;

type What = unsafe extern "C" fn() -> *const c_char;

#[allow(unsafe_code)]
unsafe extern "C" {
    /// `caught.cpp`: begin (1) or end (0) to keep what libtorch logs about failures on this thread.
    fn backcast_listen(on: i32);
    /// `caught.cpp`: what was kept since `backcast_listen(1)`.
    fn backcast_heard() -> *const c_char;
    fn backcast_install();
}

thread_local!(static LAST: RefCell<Option<CString>> = const { RefCell::new(None) });

/// libtorch's function that gives the reason; none before 2.13, where `caught.cpp` listens instead.
fn what() -> Option<What> {
    static WHAT: OnceLock<Option<What>> = OnceLock::new();
    *WHAT.get_or_init(|| {
        let found = platform::find(platform::CPU, platform::WHAT);
        // SAFETY: the signature in `stable/c/shim.h` since 2.13; `caught.cpp` is installed once, before the first call.
        #[allow(unsafe_code)]
        unsafe {
            if found.is_none() {
                backcast_install();
            }
            found.map(|found| std::mem::transmute::<*mut std::ffi::c_void, What>(found))
        }
    })
}

/// Run one call of libtorch, `name`, and keep the reason if it fails. Returns whether it succeeded.
pub fn checked(name: &CStr, call: impl FnOnce() -> i32) -> bool {
    let what = what();
    // SAFETY: sets and clears a flag of this thread.
    #[allow(unsafe_code)]
    let code = unsafe {
        backcast_listen(1);
        let code = call();
        backcast_listen(0);
        code
    };
    if code != 0 {
        // SAFETY: both return a string that lives until the next failure on this thread.
        #[allow(unsafe_code)]
        let reason = unsafe {
            let text = what.map_or_else(|| backcast_heard(), |what| what());
            if text.is_null() { c"" } else { CStr::from_ptr(text) }
        };
        let reason = reason.to_string_lossy();
        // libtorch's own stack follows.
        let reason = reason.split("\nException raised from").next().unwrap_or_default().trim();
        let reason = if reason.is_empty() { "libtorch gives no reason" } else { reason };
        report(&format!("{}: {reason}", name.to_string_lossy()));
    }
    code == 0
}

/// Keep `text` as the reason of the last failure on this thread; tch asks for it after every call.
pub fn report(text: &str) {
    LAST.set(CString::new(text.replace('\0', " ")).ok());
}

/// The reason of the last failure on this thread, taken.
pub fn take() -> String {
    LAST.take().map_or_else(String::new, |text| text.to_string_lossy().into_owned())
}

#[allow(unsafe_code)]
#[unsafe(no_mangle)]
extern "C" fn get_and_reset_last_err() -> *mut c_char {
    // SAFETY: a copy that the caller frees.
    LAST.take().map_or(std::ptr::null_mut(), |text| unsafe { libc::strdup(text.as_ptr()) })
}
