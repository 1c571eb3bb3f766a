//! How a model is trained.

use super::optimizer::Rule;
use super::schedule::Schedule;
use crate::error::{Error, argument, at_least};

/// Everything that steers a training; none of it changes a shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Training {
    pub batch_size: i64,
    /// The last update of the plan: schedules and scheduled feedback run over 0..end.
    pub end: i64,
    pub loss_weights: [f64; 2],
    pub dropout: f64,
    pub optimizer: Rule,
    pub learning_rate: f64,
    pub weight_decay: f64,
    pub max_grad_norm: Option<f64>,
    pub schedule: Schedule,
    pub warmup: i64,
    /// Whether only the softmax is trained and the encoder stays fixed.
    pub head_only: bool,
    /// Seeds the order of windows, dropout and scheduled feedback.
    pub seed: u64,
}

impl Training {
    pub fn check(&self) -> Result<(), Error> {
        at_least("batch_size", self.batch_size, 1)?;
        at_least("max_iter", self.end, 1)?;
        at_least("warmup", self.warmup, 0)?;
        if self.loss_weights.iter().any(|w| !w.is_finite() || *w < 0.0) || self.loss_weights == [0.0, 0.0] {
            let got = format!("{:?}", self.loss_weights);
            return Err(argument("loss_weights", "two finite numbers of at least 0, one of them above 0", got));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(argument("dropout", "at least 0 and below 1", self.dropout));
        }
        if !(self.learning_rate.is_finite() && self.learning_rate >= 0.0) {
            return Err(argument("learning_rate", "a finite number of at least 0", self.learning_rate));
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return Err(argument("weight_decay", "a finite number of at least 0", self.weight_decay));
        }
        match self.max_grad_norm {
            Some(norm) if norm.is_nan() || norm <= 0.0 => Err(argument("max_grad_norm", "None or above 0", norm)),
            _ => Ok(()),
        }
    }
}
