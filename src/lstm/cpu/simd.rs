//! One vector of floats, in several instruction sets, chosen at run time.
//!
//! Kernels are written once over `Simd`. `dispatch` runs one inside a function that enables the instruction set, and
//! everything between is `inline(always)`, so that the compiler sees plain vector code.

use std::sync::LazyLock;

/// What a kernel needs of an instruction set.
///
/// # Safety
///
/// Every function needs the instruction set (as inside `dispatch`) and pointers good for `LANES` floats.
#[allow(unsafe_code)]
pub trait Simd: Copy {
    type Vector: Copy;
    /// Floats in a vector.
    const LANES: usize;
    /// Rows of a tile of a product: `ROWS` times `COLUMNS` sums, one row of columns and one number fit the registers.
    const ROWS: usize;
    /// Rows that are packed side by side for few panels: whole tiles, and a copy in whole vectors.
    const GROUP: usize;

    unsafe fn splat(x: f32) -> Self::Vector;
    unsafe fn load(from: *const f32) -> Self::Vector;
    unsafe fn store(to: *mut f32, x: Self::Vector);
    unsafe fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn sub(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn mul(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn div(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn min(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn max(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// a b + c
    unsafe fn fma(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
}

/// Vectors of a tile's row: one for each gate of an LSTM cell.
pub const COLUMNS: usize = 4;

/// Work that is written once for every instruction set.
pub trait Kernel {
    /// # Safety
    ///
    /// The pointers in `self` are good for what the kernel does with them, and the caller enables the instruction set.
    #[allow(unsafe_code)]
    unsafe fn run<S: Simd>(&self);
}

/// An instruction set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

/// The best one that this processor has, or the one that the variable `BACKCAST_ISA` asks for and it has.
pub static ISA: LazyLock<Isa> = LazyLock::new(|| {
    let asked = std::env::var("BACKCAST_ISA").unwrap_or_default();
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && !matches!(asked.as_str(), "avx2" | "portable") {
            return Isa::Avx512;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && asked != "portable" {
            return Isa::Avx2;
        }
    }
    #[cfg(target_arch = "aarch64")]
    if asked != "portable" {
        return Isa::Neon;
    }
    let _ = asked;
    Isa::Portable
});

impl Isa {
    /// Floats in one of its vectors.
    pub fn lanes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => 16,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => 4,
            _ => 8,
        }
    }
}

/// Run a kernel with the processor's best instruction set.
///
/// # Safety
///
/// As `Kernel::run`; the instruction set is seen to here.
#[allow(unsafe_code)]
pub unsafe fn dispatch(kernel: &impl Kernel) {
    // SAFETY: `ISA` names only what the processor was found to have; the rest is the caller's promise.
    unsafe {
        match *ISA {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::avx512(kernel),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::avx2(kernel),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => arm::neon(kernel),
            Isa::Portable => kernel.run::<Portable>(),
        }
    }
}

/// Plain arrays, for processors without the others.
#[derive(Clone, Copy)]
pub struct Portable;

macro_rules! each {
    ($a:ident, $b:ident, $f:expr) => {{
        let mut out = $a;
        let mut lane = 0;
        while lane < 8 {
            out[lane] = $f($a[lane], $b[lane]);
            lane += 1;
        }
        out
    }};
}

#[allow(unsafe_code)]
impl Simd for Portable {
    type Vector = [f32; 8];
    const LANES: usize = 8;
    const ROWS: usize = 2;
    const GROUP: usize = 24;

    #[inline(always)]
    unsafe fn splat(x: f32) -> [f32; 8] {
        [x; 8]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> [f32; 8] {
        unsafe { from.cast::<[f32; 8]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: [f32; 8]) {
        unsafe { to.cast::<[f32; 8]>().write_unaligned(x) }
    }
    #[inline(always)]
    unsafe fn add(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        each!(a, b, |x: f32, y: f32| x + y)
    }
    #[inline(always)]
    unsafe fn sub(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        each!(a, b, |x: f32, y: f32| x - y)
    }
    #[inline(always)]
    unsafe fn mul(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        each!(a, b, |x: f32, y: f32| x * y)
    }
    #[inline(always)]
    unsafe fn div(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        each!(a, b, |x: f32, y: f32| x / y)
    }
    #[inline(always)]
    unsafe fn min(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        each!(a, b, |x: f32, y: f32| if x < y { x } else { y })
    }
    #[inline(always)]
    unsafe fn max(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        each!(a, b, |x: f32, y: f32| if x > y { x } else { y })
    }
    #[inline(always)]
    unsafe fn fma(a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        let product = each!(a, b, |x: f32, y: f32| x * y);
        each!(product, c, |x: f32, y: f32| x + y)
    }
}

/// `Simd` by an instruction set's own functions.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! simd {
    ($name:ident, $vector:ty, $lanes:expr, $rows:expr, $group:expr, $splat:ident, $load:ident, $store:ident, $add:ident, $sub:ident,
     $mul:ident, $div:ident, $min:ident, $max:ident, $fma:ident) => {
        #[derive(Clone, Copy)]
        pub struct $name;

        #[allow(unsafe_code)]
        impl Simd for $name {
            type Vector = $vector;
            const LANES: usize = $lanes;
            const ROWS: usize = $rows;
            const GROUP: usize = $group;

            #[inline(always)]
            unsafe fn splat(x: f32) -> $vector {
                unsafe { $splat(x) }
            }
            #[inline(always)]
            unsafe fn load(from: *const f32) -> $vector {
                unsafe { $load(from) }
            }
            #[inline(always)]
            unsafe fn store(to: *mut f32, x: $vector) {
                unsafe { $store(to, x) }
            }
            #[inline(always)]
            unsafe fn add(a: $vector, b: $vector) -> $vector {
                unsafe { $add(a, b) }
            }
            #[inline(always)]
            unsafe fn sub(a: $vector, b: $vector) -> $vector {
                unsafe { $sub(a, b) }
            }
            #[inline(always)]
            unsafe fn mul(a: $vector, b: $vector) -> $vector {
                unsafe { $mul(a, b) }
            }
            #[inline(always)]
            unsafe fn div(a: $vector, b: $vector) -> $vector {
                unsafe { $div(a, b) }
            }
            #[inline(always)]
            unsafe fn min(a: $vector, b: $vector) -> $vector {
                unsafe { $min(a, b) }
            }
            #[inline(always)]
            unsafe fn max(a: $vector, b: $vector) -> $vector {
                unsafe { $max(a, b) }
            }
            #[inline(always)]
            unsafe fn fma(a: $vector, b: $vector, c: $vector) -> $vector {
                unsafe { $fma(a, b, c) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86 {
    #[allow(clippy::wildcard_imports, reason = "two instruction sets of intrinsics")]
    use std::arch::x86_64::*;

    use super::{Kernel, Simd};

    #[target_feature(enable = "avx512f")]
    pub unsafe fn avx512(kernel: &impl Kernel) {
        unsafe { kernel.run::<Avx512>() }
    }

    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn avx2(kernel: &impl Kernel) {
        unsafe { kernel.run::<Avx2>() }
    }

    simd!(
        Avx512,
        __m512,
        16,
        6,
        6,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_add_ps,
        _mm512_sub_ps,
        _mm512_mul_ps,
        _mm512_div_ps,
        _mm512_min_ps,
        _mm512_max_ps,
        _mm512_fmadd_ps
    );
    simd!(
        Avx2,
        __m256,
        8,
        3,
        24,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_add_ps,
        _mm256_sub_ps,
        _mm256_mul_ps,
        _mm256_div_ps,
        _mm256_min_ps,
        _mm256_max_ps,
        _mm256_fmadd_ps
    );
}

#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code)]
mod arm {
    #[allow(clippy::wildcard_imports, reason = "an instruction set of intrinsics")]
    use std::arch::aarch64::*;

    use super::{Kernel, Simd};

    /// Every 64-bit ARM has it, so that no function need enable it.
    pub unsafe fn neon(kernel: &impl Kernel) {
        unsafe { kernel.run::<Neon>() }
    }

    #[inline(always)]
    unsafe fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        unsafe { vfmaq_f32(c, a, b) }
    }

    // 24 sums, 4 vectors of columns and a number, of 32 registers.
    simd!(
        Neon,
        float32x4_t,
        4,
        6,
        24,
        vdupq_n_f32,
        vld1q_f32,
        vst1q_f32,
        vaddq_f32,
        vsubq_f32,
        vmulq_f32,
        vdivq_f32,
        vminq_f32,
        vmaxq_f32,
        fma
    );
}
