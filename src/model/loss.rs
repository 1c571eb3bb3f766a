//! The loss of one decoder, or of the classifier, and its gradient at the outputs.

use tch::{Device, Kind, Tensor};

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

/// A sum that may still be on its way.
#[derive(Debug)]
pub struct Unread {
    /// One number in double precision.
    pub sum: Tensor,
    pub count: f64,
}

impl Unread {
    /// Wait for it.
    pub fn read(&self) -> Sum {
        Sum { sum: self.sum.double_value(&[]), count: self.count }
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
    pub fn sum(self, outputs: &Tensor, target: &Frames) -> Unread {
        Unread { sum: self.each(outputs, target).sum(Some(Kind::Double)), count: count(target) }
    }

    /// The same for each number.
    fn each(self, outputs: &Tensor, target: &Frames) -> Tensor {
        let y = &target.values;
        let each = match self {
            // (z - y)^2
            Self::Mse => (outputs - y).square(),
            // max(z, 0) - z y + ln(1 + exp(-|z|))
            Self::Bce => outputs.clamp_min(0.0) - outputs * y + (-outputs.abs()).exp().log1p(),
        };
        match target.mask() {
            Some(mask) => each * mask,
            None => each,
        }
    }

    /// The loss of `outputs` (T, B, D), and in `d` the gradient at them of `weight` times its mean.
    pub fn backward(self, outputs: &Tensor, target: &Frames, weight: f64, d: &mut Tensor) -> Unread {
        let (y, mask, count) = (&target.values, target.mask(), count(target));
        let scale = weight / count.max(1.0);
        let sum = match self {
            Self::Mse => lstm::squared_error(outputs, y, mask, 2.0 * scale, d),
            Self::Bce => {
                // Transcendental functions and several passes over memory a number.
                let cost = outputs.numel() * if outputs.device() == Device::Cpu { 256 } else { 0 };
                let mut tensors = vec![outputs, y, &*d];
                tensors.extend(mask);
                let sums = by_parts(&tensors, target.steps(), cost, |tensors, first, length| {
                    let part = |i: usize| tensors[i].narrow(0, first, length);
                    let (outputs, known) = (part(0), tensors.get(3).map(|_| part(3)));
                    let target = Frames { values: part(1), valid: None, known };
                    let each = (outputs.sigmoid() - &target.values) * scale;
                    part(2).copy_(&target.mask().map_or_else(|| each.shallow_clone(), |mask| &each * mask));
                    // By steps, so that the sum does not depend on the number of threads.
                    self.each(&outputs, &target).sum_dim_intlist([1i64, 2].as_slice(), false, Some(Kind::Double))
                });
                Tensor::cat(&sums, 0).sum(Some(Kind::Double))
            }
        };
        Unread { sum, count }
    }
}

/// The mean over a sequence's steps of the cross entropy of a softmax on each, in nats, summed over the batch, and the
/// gradient of its mean over the batch at the logits (T, B, K).
pub fn cross_entropy(logits: &Tensor, labels: &Tensor, valid: Option<&Tensor>) -> (Unread, Tensor) {
    let (steps, batch, _) = logits.size3().expect("logits are (T, B, K)");
    let share = share(logits, valid);
    let log_p = logits.log_softmax(-1, None);
    let labels = labels.view([1, batch, 1]).expand([steps, batch, 1], false);
    let sum = -(log_p.gather(2, &labels, false) * &share).sum(Some(Kind::Double));
    let mut d = log_p.exp();
    let _ = d.scatter_add_(2, &labels, &Tensor::full([steps, batch, 1], -1.0, (d.kind(), d.device())));
    (Unread { sum, count: batch as f64 }, d * share / batch)
}

/// The classes' probabilities (B, K): those of every step, averaged over the steps.
pub fn probabilities(logits: &Tensor, valid: Option<&Tensor>) -> Tensor {
    mean_over_steps(&logits.softmax(-1, None), valid)
}

/// The mean of x (T, B, n) over each sequence's steps: (B, n).
pub fn mean_over_steps(x: &Tensor, valid: Option<&Tensor>) -> Tensor {
    let parts = x * share(x, valid);
    if parts.device() != Device::Cpu || parts.size()[0] == 0 {
        return parts.sum_dim_intlist(0, false, None);
    }
    // Step by step: the order in which libtorch adds up depends on where a sequence stands in the batch.
    let mut sum = parts.get(0).copy();
    for step in 1..parts.size()[0] {
        sum += parts.get(step);
    }
    sum
}

/// (T, B, 1): the part of each step in its sequence.
fn share(x: &Tensor, valid: Option<&Tensor>) -> Tensor {
    match valid {
        Some(valid) => valid / valid.sum_dim_intlist(0, true, None),
        None => Tensor::full([1, 1, 1], 1.0 / x.size()[0] as f64, (x.kind(), x.device())),
    }
}

/// How many numbers of the target are valid.
fn count(target: &Frames) -> f64 {
    match target.mask() {
        Some(mask) => {
            let numbers = target.values.size()[2] / mask.size()[2];
            mask.sum(Some(Kind::Double)).double_value(&[]) * numbers as f64
        }
        None => target.values.numel() as f64,
    }
}
