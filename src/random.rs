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

/// Fill `to`, dense and on the CPU, with U(low, high).
pub fn fill_uniform(rng: &mut Pcg64Mcg, to: &Tensor, low: f64, high: f64) {
    fill(rng, to, |rng| (low + (high - low) * rng.random::<f64>()) as f32);
}

/// Rows of a batch: the first, and of how many in all.
#[derive(Debug, Clone, Copy)]
pub struct Rows {
    pub first: i64,
    pub of: i64,
}

/// Draws numbers for the windows of a batch. Who has a part of them draws what would be drawn for these if all were there.
#[derive(Debug)]
pub struct Draws {
    rng: Pcg64Mcg,
    /// None if all are there.
    part: Option<Rows>,
}

impl Draws {
    pub fn new(rng: Pcg64Mcg, part: Option<Rows>) -> Self {
        Self { rng, part }
    }

    /// `value` with a probability of `probability`, else 0, of `shape` (T, B, n).
    pub fn bernoulli(&mut self, shape: &[i64; 3], probability: f64, value: f64, to: (Kind, Device)) -> Tensor {
        let &[steps, rows, width] = shape;
        let drawn = Tensor::empty(shape, (Kind::Float, Device::Cpu));
        let one = |rng: &mut Pcg64Mcg| if rng.random::<f64>() < probability { value as f32 } else { 0.0 };
        match self.part {
            None => fill(&mut self.rng, &drawn, one),
            Some(Rows { first, of }) => {
                for step in 0..steps {
                    // One number is one step of the generator.
                    self.rng.advance((first * width) as u128);
                    fill(&mut self.rng, &drawn.select(0, step), one);
                    self.rng.advance(((of - first - rows) * width) as u128);
                }
            }
        }
        send(&drawn, to.1).to_kind(to.0)
    }
}

fn fill(rng: &mut Pcg64Mcg, to: &Tensor, mut one: impl FnMut(&mut Pcg64Mcg) -> f32) {
    /// Numbers drawn from one look at Ctrl-C to the next: some milliseconds.
    const PIECE: usize = 1 << 20;
    let flat = to.view([-1]);
    let n = flat.numel();
    let mut numbers: Vec<f32> = Vec::new();
    stop::reserve(&mut numbers, PIECE.min(n));
    for first in (0..n).step_by(PIECE) {
        stop::look();
        numbers.clear();
        numbers.extend((first..n.min(first + PIECE)).map(|_| one(rng)));
        flat.narrow(0, first as i64, numbers.len() as i64).copy_(&Tensor::from_slice(&numbers));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_windows_is_drawn_for_as_in_the_whole_batch() {
        let options = (Kind::Float, Device::Cpu);
        let draw = |rows, part| {
            let mut draws = Draws::new(stream(0, Purpose::Update, 3), part);
            // The second depends on where the first has left the generator.
            [0.3, 0.6].map(|probability| draws.bernoulli(&[4, rows, 2], probability, 1.0, options))
        };
        let whole = draw(7, None);
        for (first, rows) in [(0, 3), (3, 2), (5, 2), (7, 0)] {
            for (part, whole) in draw(rows, Some(Rows { first, of: 7 })).iter().zip(&whole) {
                assert!((part - whole.narrow(1, first, rows)).norm().double_value(&[]) < 1e-12);
            }
        }
    }
}
