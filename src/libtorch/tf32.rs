//! Whether CUDA may round the factors of float32 products to TF32's 10 bits of mantissa.

use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use super::platform;

/// As in libtorch's `ATen/Context.h`.
const CUDA: i32 = 1;
const MATMUL: i32 = 3;
const IEEE: i32 = 1;
const TF32: i32 = 2;

type GlobalContext = unsafe extern "C" fn() -> *mut c_void;
type Get = unsafe extern "C" fn(*const c_void, i32, i32) -> i32;
type Set = unsafe extern "C" fn(*mut c_void, i32, i32, i32);

/// libtorch's context and its two functions; none in a libtorch without them, whose products stay as they are.
fn switch() -> Option<(*mut c_void, Get, Set)> {
    let find = |name| platform::find(platform::CPU, name);
    let context = find(platform::GLOBAL_CONTEXT)?;
    let (get, set) = (find(platform::FLOAT32_PRECISION)?, find(platform::SET_FLOAT32_PRECISION)?);
    // SAFETY: the signatures in `ATen/Context.h`; the mangled names carry the types of the arguments.
    #[allow(unsafe_code)]
    unsafe {
        let context = std::mem::transmute::<*mut c_void, GlobalContext>(context)();
        Some((context, std::mem::transmute::<*mut c_void, Get>(get), std::mem::transmute::<*mut c_void, Set>(set)))
    }
}

/// Whether this libtorch has the setting.
pub fn is_known() -> bool {
    switch().is_some()
}

fn get() -> i32 {
    switch().map_or(IEEE, |(context, get, _)| {
        // SAFETY: CUDA's products are a pair that the context knows.
        #[allow(unsafe_code)]
        unsafe {
            get(context, CUDA, MATMUL)
        }
    })
}

fn set(precision: i32) {
    if let Some((context, _, set)) = switch() {
        // SAFETY: as above; CUDA knows all precisions that are set here.
        #[allow(unsafe_code)]
        unsafe {
            set(context, CUDA, MATMUL, precision);
        }
    }
}

/// How many live, and the setting before the first of them.
static LIVE: Mutex<(usize, i32)> = Mutex::new((0, 0));

/// While this lives, products of float32 on CUDA are in TF32 or are not; after the last one as before, since the setting is
/// that of the user's torch too. It is one for the whole process: of two models at work at once, in two threads and in
/// different precisions, the later one decides for both.
#[derive(Debug)]
pub struct Tf32(());

impl Tf32 {
    pub fn allow(yes: bool) -> Self {
        let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
        if live.0 == 0 {
            live.1 = get();
        }
        live.0 += 1;
        set(if yes { TF32 } else { IEEE });
        Self(())
    }
}

impl Drop for Tf32 {
    fn drop(&mut self) {
        let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
        live.0 -= 1;
        if live.0 == 0 {
            set(live.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_is_put_back() {
        let before = get();
        {
            let first = Tf32::allow(true);
            assert_eq!(get(), TF32);
            let second = Tf32::allow(false);
            assert_eq!(get(), IEEE);
            drop(first);
            assert_eq!(get(), IEEE);
            drop(second);
        }
        assert_eq!(get(), before);
    }
}
