//! The loss of one decoder and its gradient at the outputs; and the losses of all parts of a model.
//!
//! To add a loss: a variant and its word in `architecture`, and its arms here.

use tch::{Device, Kind, Tensor};

use super::architecture::{Loss, Which};
use crate::data::Frames;
use crate::lstm::{self, Activation};
use crate::threads::by_parts;

/// Sum over the valid numbers, and their count.
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

/// A sum that the device may still compute.
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

/// The loss of each existing part.
#[derive(Debug, Clone, Copy)]
pub struct Losses<S = Sum> {
    /// By `Which`.
    pub decoders: [Option<S>; 2],
    pub classes: Option<S>,
}

impl<S> Default for Losses<S> {
    fn default() -> Self {
        Self { decoders: [None, None], classes: None }
    }
}

impl<S> Losses<S> {
    /// Those that exist, by name.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &S)> {
        let decoders = Which::ALL.map(|which| (which.name(), self.decoders[which as usize].as_ref()));
        decoders.into_iter().chain([("classify", self.classes.as_ref())]).filter_map(|(name, loss)| Some((name, loss?)))
    }

    pub fn is_empty(&self) -> bool {
        self.named().next().is_none()
    }

    /// Apply `one` to each, in the order of `named`.
    pub fn map<R>(&self, mut one: impl FnMut(&S) -> R) -> Losses<R> {
        let decoders = self.decoders.each_ref().map(|loss| loss.as_ref().map(&mut one));
        Losses { decoders, classes: self.classes.as_ref().map(one) }
    }
}

impl Losses {
    pub fn add(&mut self, more: &Self) {
        let Self { decoders: [reconstruct, predict], classes } = self;
        let mores = more.decoders.iter().chain([&more.classes]);
        for (sum, more) in [reconstruct, predict, classes].into_iter().zip(mores) {
            if let Some(more) = more {
                sum.get_or_insert_with(Sum::default).add(*more);
            }
        }
    }
}

impl Loss {
    /// The range of the frames that outputs become, and of targets; None if it is unbounded.
    pub fn range(self) -> Option<[f64; 2]> {
        match self.activation() {
            Activation::Identity => None,
            Activation::Sigmoid => Some([0.0, 1.0]),
        }
    }

    /// Turns outputs into frames.
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

    /// Its mean over the numbers of each window, (B); NaN for a window without any.
    pub fn of_windows(self, outputs: &Tensor, target: &Frames) -> Tensor {
        let sum = |numbers: &Tensor| numbers.sum_dim_intlist([0i64, 2].as_slice(), false, Some(Kind::Double));
        let (sums, steps, width) = (sum(&self.each(outputs, target)), target.steps(), target.values.size()[2]);
        match target.mask() {
            Some(mask) => sums / (sum(mask) * (width / mask.size()[2]) as f64),
            None => sums / (steps * width) as f64,
        }
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

    /// The loss of `outputs` (T, B, D), and in `d` the gradient at them of `weight` times its mean; over `whole` numbers, if
    /// these are a part of them.
    pub fn backward(
        self,
        outputs: &Tensor,
        target: &Frames,
        weight: f64,
        whole: Option<f64>,
        d: &mut Tensor,
    ) -> Unread {
        let (y, mask, count) = (&target.values, target.mask(), count(target));
        let scale = weight / whole.unwrap_or(count).max(1.0);
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

/// The count of the target's valid numbers.
pub fn count(target: &Frames) -> f64 {
    match target.mask() {
        Some(mask) => {
            let numbers = target.values.size()[2] / mask.size()[2];
            mask.sum(Some(Kind::Double)).double_value(&[]) * numbers as f64
        }
        None => target.values.numel() as f64,
    }
}
