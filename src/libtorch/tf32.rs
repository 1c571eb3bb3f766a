//! Whether CUDA may round the factors of float32 products to TF32's 10 bits of mantissa.

use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

/// As in libtorch's `ATen/Context.h`.
const CUDA: i32 = 1;
const MATMUL: i32 = 3;
const IEEE: i32 = 1;
const TF32: i32 = 2;

#[allow(unsafe_code)]
unsafe extern "C" {
    #[link_name = "_ZN2at13globalContextEv"]
    fn global_context() -> *mut c_void;
    #[link_name = "_ZNK2at7Context16float32PrecisionENS_14Float32BackendENS_9Float32OpE"]
    fn float32_precision(context: *const c_void, backend: i32, op: i32) -> i32;
    #[link_name = "_ZN2at7Context19setFloat32PrecisionENS_14Float32BackendENS_9Float32OpENS_16Float32PrecisionE"]
    fn set_float32_precision(context: *mut c_void, backend: i32, op: i32, precision: i32);
}

fn get() -> i32 {
    // SAFETY: both exist in the release that this is built on; the context knows the pair.
    #[allow(unsafe_code)]
    unsafe {
        float32_precision(global_context(), CUDA, MATMUL)
    }
}

fn set(precision: i32) {
    // SAFETY: as above; CUDA knows all precisions that are set here.
    #[allow(unsafe_code)]
    unsafe {
        set_float32_precision(global_context(), CUDA, MATMUL, precision);
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
