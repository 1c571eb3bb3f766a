//! The cell's element-wise parts over one vector.

use super::simd::Simd;

/// tanh as a ratio of polynomials (degrees 13 and 6, as in Eigen and XLA): within a few units in the last place.
#[allow(unsafe_code)]
#[inline(always)]
pub unsafe fn tanh<S: Simd>(x: S::Vector) -> S::Vector {
    const ODD: [f32; 7] =
        [-2.760_768_5e-16, 2.000_188e-13, -8.604_672e-11, 5.122_297e-8, 1.485_722_4e-5, 6.372_619_4e-4, 4.893_525e-3];
    const EVEN: [f32; 4] = [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_6e-3, 4.893_525_2e-3];
    // SAFETY: register arithmetic only; the caller enables the instruction set.
    unsafe {
        let limit = S::splat(7.905_311);
        let x = S::max(S::min(x, limit), S::sub(S::splat(0.0), limit));
        let square = S::mul(x, x);
        let mut p = S::splat(ODD[0]);
        p = S::fma(p, square, S::splat(ODD[1]));
        p = S::fma(p, square, S::splat(ODD[2]));
        p = S::fma(p, square, S::splat(ODD[3]));
        p = S::fma(p, square, S::splat(ODD[4]));
        p = S::fma(p, square, S::splat(ODD[5]));
        p = S::fma(p, square, S::splat(ODD[6]));
        let mut q = S::splat(EVEN[0]);
        q = S::fma(q, square, S::splat(EVEN[1]));
        q = S::fma(q, square, S::splat(EVEN[2]));
        q = S::fma(q, square, S::splat(EVEN[3]));
        S::div(S::mul(x, p), q)
    }
}

/// sigmoid(x) = (1 + tanh(x / 2)) / 2; its absolute error is below 1.5e-7.
#[allow(unsafe_code)]
#[inline(always)]
pub unsafe fn sigmoid<S: Simd>(x: S::Vector) -> S::Vector {
    // SAFETY: as above.
    unsafe {
        let half = S::splat(0.5);
        S::fma(tanh::<S>(S::mul(x, half)), half, half)
    }
}

/// The first `n` floats, zeros after them.
#[allow(unsafe_code)]
#[inline(always)]
pub unsafe fn load_n<S: Simd>(from: *const f32, n: usize) -> S::Vector {
    // SAFETY: reads `n` floats, at most a vector; the caller's pointer is good for them.
    unsafe {
        if n >= S::LANES {
            return S::load(from);
        }
        let mut whole = [0.0; 16];
        std::ptr::copy_nonoverlapping(from, whole.as_mut_ptr(), n);
        S::load(whole.as_ptr())
    }
}

/// The first `n` floats of `x`.
#[allow(unsafe_code)]
#[inline(always)]
pub unsafe fn store_n<S: Simd>(to: *mut f32, x: S::Vector, n: usize) {
    // SAFETY: writes `n` floats, at most a vector; the caller's pointer is good for them.
    unsafe {
        if n >= S::LANES {
            return S::store(to, x);
        }
        let mut whole = [0.0; 16];
        S::store(whole.as_mut_ptr(), x);
        std::ptr::copy_nonoverlapping(whole.as_ptr(), to, n);
    }
}
