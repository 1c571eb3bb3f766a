//! How a model is trained.

use super::optimizer::Rule;
use super::schedule::Schedule;

/// Everything that steers a training; none of it changes a shape. Whoever makes one has checked the ranges.
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
