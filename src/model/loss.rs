//! The loss of one decoder and its gradient at the outputs.

use tch::{Device, Tensor};

use crate::config::Loss;
use crate::data::Frames;
use crate::libtorch::by_parts;
use crate::lstm::{self, Activation};

/// Sum over the valid numbers, and how many there are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum {
    pub sum: f64,
    pub count: f64,
}

impl Sum {
    /// In the units of the loss, for a number of a frame; 0 for an empty count.
    pub fn mean(self) -> f64 {
        if self.count == 0.0 { 0.0 } else { self.sum / self.count }
    }

    pub fn add(&mut self, other: Self) {
        self.sum += other.sum;
        self.count += other.count;
    }
}

impl Loss {
    /// How outputs become frames.
    pub fn activation(self) -> Activation {
        match self {
            Self::Mse => Activation::Identity,
            Self::Bce => Activation::Sigmoid,
        }
    }

    /// The loss of `outputs` (T, B, D), before their activation.
    pub fn sum(self, outputs: &Tensor, target: &Frames) -> Sum {
        let y = &target.values;
        let each = match self {
            // (z - y)^2
            Self::Mse => (outputs - y).square(),
            // max(z, 0) - z y + ln(1 + exp(-|z|))
            Self::Bce => outputs.clamp_min(0.0) - outputs * y + (-outputs.abs()).exp().log1p(),
        };
        let each = match &target.valid {
            Some(valid) => each * valid,
            None => each,
        };
        Sum { sum: each.sum(Some(tch::Kind::Double)).double_value(&[]), count: count(target) }
    }

    /// The loss of `outputs` (T, B, D), and in `d` the gradient at them of `weight` times its mean.
    pub fn backward(self, outputs: &Tensor, target: &Frames, weight: f64, d: &mut Tensor) -> Sum {
        let (y, valid) = (&target.values, target.valid.as_ref());
        let scale = weight / count(target).max(1.0);
        match self {
            Self::Mse => {
                let sum = lstm::squared_error(outputs, y, valid, 2.0 * scale, d);
                Sum { sum, count: count(target) }
            }
            Self::Bce => {
                // Transcendental functions and several passes over memory a number.
                let cost = outputs.numel() * if outputs.device() == Device::Cpu { 256 } else { 0 };
                let mut tensors = vec![outputs, y, &*d];
                tensors.extend(valid);
                let sums = by_parts(&tensors, target.steps(), cost, |tensors, first, length| {
                    let part = |i: usize| tensors[i].narrow(0, first, length);
                    let (outputs, valid) = (part(0), tensors.get(3).map(|_| part(3)));
                    let target = Frames { values: part(1), valid };
                    let each = (outputs.sigmoid() - &target.values) * scale;
                    part(2).copy_(&target.valid.as_ref().map_or_else(|| each.shallow_clone(), |valid| &each * valid));
                    self.sum(&outputs, &target).sum
                });
                Sum { sum: sums.iter().sum(), count: count(target) }
            }
        }
    }
}

/// How many numbers of the target are valid.
fn count(target: &Frames) -> f64 {
    match &target.valid {
        Some(valid) => valid.sum(Some(tch::Kind::Double)).double_value(&[]) * target.values.size()[2] as f64,
        None => target.values.numel() as f64,
    }
}
