//! Dicts of settings from Python, by the names of the engine's structs.

use pyo3::prelude::*;

use crate::config::{Architecture, Feedback, Init, Loss, Training};
use crate::error::{Error, argument};
use crate::train::{Schedule, optimizer};

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct ArchitectureItems {
    frame_size: i64,
    hidden_size: i64,
    num_layers: i64,
    peepholes: bool,
    /// Feedback by decoder, None where there is no such decoder.
    feedback: [Option<String>; 2],
    loss: String,
    classes: Option<i64>,
}

impl ArchitectureItems {
    pub fn parse(&self) -> Result<Architecture, Error> {
        let feedback = |decoder: usize| self.feedback[decoder].as_deref().map(Feedback::parse).transpose();
        Ok(Architecture {
            frame_size: self.frame_size,
            hidden_size: self.hidden_size,
            num_layers: self.num_layers,
            peepholes: self.peepholes,
            feedback: [feedback(0)?, feedback(1)?],
            loss: Loss::parse(&self.loss)?,
            classes: self.classes,
        })
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct InitItems {
    init: String,
    forget_bias: Option<f64>,
    seed: u64,
}

impl InitItems {
    pub fn parse(&self) -> Result<Init, Error> {
        let paper = match self.init.as_str() {
            "pytorch" => false,
            "paper" => true,
            got => return Err(argument("init", "\"pytorch\" or \"paper\"", format!("{got:?}"))),
        };
        if self.forget_bias.is_some_and(|b| !b.is_finite()) {
            return Err(argument("forget_bias", "None or a finite number", self.forget_bias.unwrap_or_default()));
        }
        Ok(Init { paper, forget_bias: self.forget_bias, seed: self.seed })
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct TrainingItems {
    batch_size: i64,
    end: i64,
    loss_weights: [f64; 2],
    dropout: f64,
    optimizer: String,
    learning_rate: f64,
    weight_decay: f64,
    max_grad_norm: Option<f64>,
    schedule: Option<String>,
    warmup: i64,
    head_only: bool,
    seed: u64,
}

impl TrainingItems {
    pub fn parse(&self) -> Result<Training, Error> {
        let training = Training {
            batch_size: self.batch_size,
            end: self.end,
            loss_weights: self.loss_weights,
            dropout: self.dropout,
            optimizer: optimizer::Rule::parse(&self.optimizer)?,
            learning_rate: self.learning_rate,
            weight_decay: self.weight_decay,
            max_grad_norm: self.max_grad_norm,
            schedule: Schedule::parse(self.schedule.as_deref())?,
            warmup: self.warmup,
            head_only: self.head_only,
            seed: self.seed,
        };
        training.check()?;
        Ok(training)
    }
}
