//! Squared error and its gradient in one pass.

use super::math::{load_n, store_n};
use super::simd::{Kernel, Simd};

/// Rows `first..end` of outputs and targets (T B, D): d = scale (output - target), and the sum of squared differences.
#[derive(Debug, Clone, Copy)]
pub struct SquaredError {
    pub outputs: *const f32,
    pub target: *const f32,
    /// (T B), or null: rows that count.
    pub valid: *const f32,
    pub d: *mut f32,
    pub scale: f32,
    pub size: usize,
    pub first: usize,
    pub end: usize,
    pub sum: *mut f64,
}

impl Kernel for SquaredError {
    #[allow(unsafe_code)]
    #[inline(always)]
    unsafe fn run<S: Simd>(&self) {
        // SAFETY: reads and writes whole rows within the shapes that the fields name; `sum` is this share's own.
        unsafe {
            let mut sum = 0.0;
            for row in self.first..self.end {
                let valid = S::splat(if self.valid.is_null() { 1.0 } else { *self.valid.add(row) });
                let scale = S::splat(self.scale);
                let mut of_row = S::splat(0.0);
                for lane in (0..self.size).step_by(S::LANES) {
                    let (at, n) = (row * self.size + lane, self.size - lane);
                    let difference = S::sub(load_n::<S>(self.outputs.add(at), n), load_n::<S>(self.target.add(at), n));
                    let difference = S::mul(difference, valid);
                    of_row = S::fma(difference, difference, of_row);
                    store_n::<S>(self.d.add(at), S::mul(difference, scale), n);
                }
                let mut lanes = [0.0_f32; 16];
                S::store(lanes.as_mut_ptr(), of_row);
                sum += lanes.iter().map(|x| f64::from(*x)).sum::<f64>();
            }
            *self.sum = sum;
        }
    }
}
