//! Optimizers that compute what those of the same names in `torch.optim` do, on the flat weights.
//!
//! To add one: a variant and its word here, and its arm in `update`.

use anyhow::Result;
use tch::{Device, Kind, Tensor};

use crate::libtorch::{Adam, Rate, fused_adam};
use crate::stop;
use crate::threads::by_parts;
use crate::words::Words;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Kingma and Ba 2015, with L2 weight decay.
    Adam,
    /// Loshchilov and Hutter 2019: decoupled weight decay.
    AdamW,
    /// Tieleman and Hinton 2012, decay 0.99.
    RmsProp,
}

impl Words for Rule {
    const NAME: &'static str = "optimizer";
    const WORDS: &'static [(&'static str, Self)] =
        &[("adam", Self::Adam), ("adamw", Self::AdamW), ("rmsprop", Self::RmsProp)];
}

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const ALPHA: f64 = 0.99;
const EPSILON: f64 = 1e-8;

/// The moments of the gradient, as flat as the weights.
#[derive(Debug)]
pub struct Moments {
    /// The number of updates they have seen.
    pub steps: i64,
    pub first: Tensor,
    pub second: Tensor,
}

impl Moments {
    pub fn zeros_like(flat: &Tensor) -> Self {
        let zeros = || stop::zeros(flat.size()[0], (flat.kind(), flat.device()));
        Self { steps: 0, first: zeros(), second: zeros() }
    }

    /// The moments of `size` weights from `first` on, for their next update; the caller counts it in `steps` once it is made.
    #[must_use]
    pub fn next(&self, first: i64, size: i64) -> Self {
        let part = |flat: &Tensor| flat.narrow(0, first, size);
        Self { steps: self.steps + 1, first: part(&self.first), second: part(&self.second) }
    }
}

/// What an update needs besides the weights, their gradients and moments.
#[derive(Debug)]
pub struct Step<'a> {
    pub weight_decay: f64,
    pub numbers: Numbers<'a>,
}

/// What changes from update to update, known on the host or on the device alone.
#[derive(Debug)]
pub enum Numbers<'a> {
    Host {
        rate: f64,
    },
    Device {
        numbers: &'a OnDevice,
        /// The divisor of the gradients.
        scale: Option<Tensor>,
    },
}

/// An update's numbers on the device that makes it, one each, in float32: the host never waits for them.
#[derive(Debug)]
pub struct OnDevice {
    /// The number of this update of the moments, from 1 on.
    pub steps: Tensor,
    pub rate: Tensor,
    /// 1 from the first update on that was not finite, since it and all later ones are skipped; 0 before.
    pub skip: Tensor,
}

/// One update of the weights `w` by their gradients `g`; its moments are those of `Moments::next`.
pub fn update(rule: Rule, w: &mut Tensor, g: &Tensor, moments: &Moments, step: Step<'_>) -> Result<()> {
    match rule {
        Rule::Adam | Rule::AdamW => {
            let weight_decay = step.weight_decay;
            match &step.numbers {
                Numbers::Host { rate } => {
                    let steps = Tensor::from(moments.steps as f32).to_device(w.device());
                    let tensors = [&*w, g, &moments.first, &moments.second, &steps];
                    by_parts(&tensors, w.numel() as i64, cost(w), |tensors, first, length| {
                        let [w, g, m, v] = [0, 1, 2, 3].map(|i| tensors[i].narrow(0, first, length));
                        fused_adam(&w, &g, &m, &v, adam(rule, weight_decay, tensors[4], Rate::Host(*rate)))
                    })
                    .into_iter()
                    .collect()
                }
                Numbers::Device { numbers, scale } => {
                    let adam = adam(rule, weight_decay, &numbers.steps, Rate::Device(&numbers.rate));
                    let adam = Adam { scale: scale.as_ref(), skip: Some(&numbers.skip), ..adam };
                    fused_adam(w, g, &moments.first, &moments.second, adam)
                }
            }
        }
        Rule::RmsProp => {
            let (on_device, scale) = match &step.numbers {
                Numbers::Host { .. } => (None, None),
                Numbers::Device { numbers, scale } => (Some(*numbers), scale.as_ref()),
            };
            let scaled = scale.map(|scale| g / scale);
            let g = scaled.as_ref().unwrap_or(g);
            let decayed = (step.weight_decay > 0.0).then(|| g + &*w * step.weight_decay);
            let g = decayed.as_ref().unwrap_or(g);
            let mut v = moments.second.shallow_clone();
            let next_v = &v * ALPHA + g * g * (1.0 - ALPHA);
            let direction = g / (next_v.sqrt() + EPSILON);
            let next_w = &*w
                - match &step.numbers {
                    Numbers::Host { rate } => direction * *rate,
                    Numbers::Device { numbers, .. } => direction * &numbers.rate,
                };
            let skip = on_device.map(|numbers| numbers.skip.gt(0.0));
            for (now, next) in [(&mut v, next_v), (w, next_w)] {
                now.copy_(&skip.as_ref().map_or_else(|| next.shallow_clone(), |skip| now.where_self(skip, &next)));
            }
            Ok(())
        }
    }
}

fn adam<'a>(rule: Rule, weight_decay: f64, steps: &'a Tensor, rate: Rate<'a>) -> Adam<'a> {
    Adam {
        steps,
        rate,
        beta1: BETA1,
        beta2: BETA2,
        weight_decay,
        epsilon: EPSILON,
        decoupled: rule == Rule::AdamW,
        scale: None,
        skip: None,
    }
}

/// The cost of a pass over the weights, in multiplications.
fn cost(flat: &Tensor) -> usize {
    flat.numel() * if flat.device() == Device::Cpu { 16 } else { 0 }
}

/// The norm of `g`, on the host.
pub fn norm(g: &Tensor) -> f64 {
    match by_pieces(g, |piece| piece.norm().double_value(&[])).as_slice() {
        [norm] => *norm,
        norms => norms.iter().map(|norm| norm * norm).sum::<f64>().sqrt(),
    }
}

/// A number that differs, almost certainly, where one of the numbers in `flat` does.
pub fn checksum(flat: &Tensor) -> f64 {
    by_pieces(flat, |piece| piece.sum(Some(Kind::Double)).double_value(&[])).into_iter().sum()
}

/// `one` of each piece; on the CPU these do not depend on the number of threads.
fn by_pieces(flat: &Tensor, one: impl Fn(&Tensor) -> f64 + Sync) -> Vec<f64> {
    const PIECE: i64 = 1 << 16;
    let n = flat.numel() as i64;
    if flat.device() != Device::Cpu || n <= PIECE {
        return vec![one(flat)];
    }
    let of_pieces = by_parts(&[flat], (n + PIECE - 1) / PIECE, cost(flat), |tensors, first, length| {
        let piece = |i: i64| tensors[0].narrow(0, i * PIECE, PIECE.min(n - i * PIECE));
        (first..first + length).map(|i| one(&piece(i))).collect::<Vec<_>>()
    });
    of_pieces.into_iter().flatten().collect()
}

/// Scale `g` so that its norm is at most `max_norm`, as `torch.nn.utils.clip_grad_norm_`; `norm` is its norm.
pub fn clip(g: &mut Tensor, norm: f64, max_norm: f64) {
    let factor = max_norm / (norm + 1e-6);
    if factor < 1.0 {
        *g *= factor;
    }
}
