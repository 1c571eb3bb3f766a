//! Seeded streams of random numbers, each named by its purpose and a counter.
//!
//! A stream does not depend on earlier draws, so a training resumed at update n draws the same numbers as an uninterrupted
//! one.
//! libtorch's global generator belongs to the user's torch and is not used.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tch::{Device, Kind, Tensor};

use crate::libtorch::send;
use crate::stop;

/// The purpose of a stream.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    Weights,
    Order,
    Update,
}

/// The generator of `purpose` at `counter` (an epoch, an update).
#[must_use]
pub fn stream(seed: u64, purpose: Purpose, counter: i64) -> Pcg64Mcg {
    let mut mixed = Pcg64Mcg::seed_from_u64(seed ^ ((purpose as u64) << 62).rotate_left(purpose as u32));
    let word = mixed.random::<u64>() ^ counter.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    Pcg64Mcg::seed_from_u64(word)
}

/// U(low, high), of `shape`.
pub fn uniform(rng: &mut Pcg64Mcg, shape: &[i64], low: f64, high: f64) -> Tensor {
    draw(rng, shape, |rng| (low + (high - low) * rng.random::<f64>()) as f32)
}

/// `value` with a probability of `probability`, else 0, of `shape`.
pub fn bernoulli(rng: &mut Pcg64Mcg, shape: &[i64], probability: f64, value: f64, to: (Kind, Device)) -> Tensor {
    let drawn = draw(rng, shape, |rng| if rng.random::<f64>() < probability { value as f32 } else { 0.0 });
    send(&drawn, to.1).to_kind(to.0)
}

fn draw(rng: &mut Pcg64Mcg, shape: &[i64], mut one: impl FnMut(&mut Pcg64Mcg) -> f32) -> Tensor {
    /// Numbers from one look at Ctrl-C to the next: some milliseconds.
    const PIECE: usize = 1 << 20;
    let n = shape.iter().product::<i64>() as usize;
    let mut numbers: Vec<f32> = Vec::new();
    stop::reserve(&mut numbers, n);
    while numbers.len() < n {
        stop::look();
        numbers.extend((0..PIECE.min(n - numbers.len())).map(|_| one(rng)));
    }
    Tensor::from_slice(&numbers).view(shape)
}
