//! Optimizers that do as `torch.optim`'s of the same names do, on the flat weights, with a state that can be saved.

use anyhow::Result;
use tch::{Device, Tensor};

use crate::error::{Error, argument};
use crate::libtorch::{Adam, Rate, by_parts, fused_adam};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Kingma and Ba 2015, with L2 weight decay.
    Adam,
    /// Loshchilov and Hutter 2019: decoupled weight decay.
    AdamW,
    /// Tieleman and Hinton 2012, decay 0.99.
    RmsProp,
}

impl Rule {
    pub fn parse(word: &str) -> Result<Self, Error> {
        match word {
            "adam" => Ok(Self::Adam),
            "adamw" => Ok(Self::AdamW),
            "rmsprop" => Ok(Self::RmsProp),
            got => Err(argument("optimizer", "\"adam\", \"adamw\" or \"rmsprop\"", format!("{got:?}"))),
        }
    }
}

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const ALPHA: f64 = 0.99;
const EPSILON: f64 = 1e-8;

/// The moments of the gradient, as flat as the weights.
#[derive(Debug)]
pub struct Moments {
    /// How many updates they have seen.
    pub steps: i64,
    pub first: Tensor,
    pub second: Tensor,
}

impl Moments {
    pub fn zeros_like(flat: &Tensor) -> Self {
        Self { steps: 0, first: flat.zeros_like(), second: flat.zeros_like() }
    }

    /// Those of `size` weights from `first` on, for their next update, which is to be counted in `steps` when it is made.
    #[must_use]
    pub fn next(&self, first: i64, size: i64) -> Self {
        let part = |flat: &Tensor| flat.narrow(0, first, size);
        Self { steps: self.steps + 1, first: part(&self.first), second: part(&self.second) }
    }
}

/// What an update needs beside the weights, their gradients and moments.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    pub weight_decay: f64,
    pub numbers: Numbers<'a>,
}

/// What changes from update to update, known here or on the device.
#[derive(Debug, Clone, Copy)]
pub enum Numbers<'a> {
    Here {
        rate: f64,
    },
    There {
        numbers: &'a OnDevice,
        /// What gradients are divided by.
        scale: Option<&'a Tensor>,
    },
}

/// An update's numbers on the device that makes it, one each, in float32: nobody waits for them.
#[derive(Debug)]
pub struct OnDevice {
    /// Which update of the moments this is, from 1 on.
    pub steps: Tensor,
    pub rate: Tensor,
    /// 1 from the first update on that was not finite, and that all later ones are left out for; 0 before.
    pub skip: Tensor,
}

/// One update of the weights `w` by their gradients `g`; its moments are those of `Moments::next`.
pub fn update(rule: Rule, w: &mut Tensor, g: &Tensor, moments: &Moments, step: Step<'_>) -> Result<()> {
    match rule {
        Rule::Adam | Rule::AdamW => {
            let weight_decay = step.weight_decay;
            match step.numbers {
                Numbers::Here { rate } => {
                    let steps = Tensor::from(moments.steps as f32).to_device(w.device());
                    let tensors = [&*w, g, &moments.first, &moments.second, &steps];
                    by_parts(&tensors, w.numel() as i64, cost(w), |tensors, first, length| {
                        let [w, g, m, v] = [0, 1, 2, 3].map(|i| tensors[i].narrow(0, first, length));
                        fused_adam(&w, &g, &m, &v, adam(rule, weight_decay, tensors[4], Rate::Here(rate)))
                    })
                    .into_iter()
                    .collect()
                }
                Numbers::There { numbers, scale } => {
                    let adam = adam(rule, weight_decay, &numbers.steps, Rate::There(&numbers.rate));
                    let adam = Adam { scale, skip: Some(&numbers.skip), ..adam };
                    fused_adam(w, g, &moments.first, &moments.second, adam)
                }
            }
        }
        Rule::RmsProp => {
            let (there, scale) = match step.numbers {
                Numbers::Here { .. } => (None, None),
                Numbers::There { numbers, scale } => (Some(numbers), scale),
            };
            let scaled = scale.map(|scale| g / scale);
            let g = scaled.as_ref().unwrap_or(g);
            let decayed = (step.weight_decay > 0.0).then(|| g + &*w * step.weight_decay);
            let g = decayed.as_ref().unwrap_or(g);
            let mut v = moments.second.shallow_clone();
            let next_v = &v * ALPHA + g * g * (1.0 - ALPHA);
            let direction = g / (next_v.sqrt() + EPSILON);
            let next_w = &*w
                - match step.numbers {
                    Numbers::Here { rate } => direction * rate,
                    Numbers::There { numbers, .. } => direction * &numbers.rate,
                };
            let skip = there.map(|numbers| numbers.skip.gt(0.0));
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

/// What a pass over the weights costs, in multiplications.
fn cost(flat: &Tensor) -> usize {
    flat.numel() * if flat.device() == Device::Cpu { 16 } else { 0 }
}

/// The norm of `g`, waited for; on the CPU added up in pieces that do not depend on the number of threads.
pub fn norm(g: &Tensor) -> f64 {
    const PIECE: i64 = 1 << 16;
    let n = g.numel() as i64;
    if g.device() != Device::Cpu || n <= PIECE {
        return g.norm().double_value(&[]);
    }
    let of_pieces = by_parts(&[g], (n + PIECE - 1) / PIECE, cost(g), |tensors, first, length| {
        let piece = |i: i64| tensors[0].narrow(0, i * PIECE, PIECE.min(n - i * PIECE));
        (first..first + length).map(|i| piece(i).norm().double_value(&[])).collect::<Vec<_>>()
    });
    of_pieces.into_iter().flatten().map(|norm| norm * norm).sum::<f64>().sqrt()
}

/// Scale `g` so that its norm is at most `max_norm`, as `torch.nn.utils.clip_grad_norm_`; `norm` is its norm.
pub fn clip(g: &mut Tensor, norm: f64, max_norm: f64) {
    let factor = max_norm / (norm + 1e-6);
    if factor < 1.0 {
        *g *= factor;
    }
}
