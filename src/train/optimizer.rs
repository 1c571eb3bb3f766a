//! Optimizers that do as `torch.optim`'s of the same names do, on the flat weights, with a state that can be saved.

use tch::Tensor;

use crate::error::{Error, argument};

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
}

/// One update of the weights `w` by their gradients `g`.
pub fn update(rule: Rule, w: &mut Tensor, g: &Tensor, moments: &mut Moments, rate: f64, weight_decay: f64) {
    moments.steps += 1;
    let (m, v) = (&mut moments.first, &mut moments.second);
    let decayed;
    let g = match rule {
        Rule::Adam | Rule::RmsProp if weight_decay > 0.0 => {
            decayed = g + &*w * weight_decay;
            &decayed
        }
        _ => g,
    };
    if rule == Rule::AdamW {
        *w *= 1.0 - rate * weight_decay;
    }
    match rule {
        Rule::Adam | Rule::AdamW => {
            let steps = i32::try_from(moments.steps).unwrap_or(i32::MAX);
            let (correction1, correction2) = (1.0 - BETA1.powi(steps), 1.0 - BETA2.powi(steps));
            let _ = m.lerp_(g, 1.0 - BETA1);
            *v *= BETA2;
            *v += g * g * (1.0 - BETA2);
            let denominator = v.sqrt() / correction2.sqrt() + EPSILON;
            *w -= &*m / denominator * (rate / correction1);
        }
        Rule::RmsProp => {
            *v *= ALPHA;
            *v += g * g * (1.0 - ALPHA);
            *w -= g / (v.sqrt() + EPSILON) * rate;
        }
    }
}

/// Scale `g` so that its norm is at most `max_norm`, as `torch.nn.utils.clip_grad_norm_`; `norm` is its norm.
pub fn clip(g: &mut Tensor, norm: f64, max_norm: f64) {
    let factor = max_norm / (norm + 1e-6);
    if factor < 1.0 {
        *g *= factor;
    }
}
