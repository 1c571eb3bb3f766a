//! Dicts of settings from Python, by the names of the engine's structs.

use std::collections::BTreeMap;

use pyo3::prelude::*;

use crate::error::{Error, argument};
use crate::libtorch;
use crate::model::{Architecture, Distribution, Feedback, Init, Loss, Which};
use crate::train::optimizer::Rule;
use crate::train::{Schedule, Training};
use crate::words::{Words, words_of};

/// The words of each option, by its name.
#[pyfunction]
pub fn words() -> BTreeMap<&'static str, Vec<&'static str>> {
    BTreeMap::from([
        words_of::<Feedback>(),
        words_of::<Loss>(),
        words_of::<Which>(),
        words_of::<Distribution>(),
        words_of::<Rule>(),
        words_of::<Schedule>(),
        words_of::<libtorch::Wanted>(),
    ])
}

/// The range of frames that each loss requires, by its word; None if it is unbounded.
#[pyfunction]
pub fn loss_ranges() -> BTreeMap<&'static str, Option<(f64, f64)>> {
    Loss::WORDS.iter().map(|(word, loss)| (*word, loss.range().map(|[low, high]| (low, high)))).collect()
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct ArchitectureItems {
    frame_size: i64,
    hidden_size: i64,
    num_layers: i64,
    peepholes: bool,
    /// Feedback by decoder; None without such a decoder.
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
        let distribution = Distribution::parse(&self.init)?;
        if self.forget_bias.is_some_and(|b| !b.is_finite()) {
            return Err(argument("forget_bias", "None or a finite number", self.forget_bias.unwrap_or_default()));
        }
        Ok(Init { distribution, forget_bias: self.forget_bias, seed: self.seed })
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
            optimizer: Rule::parse(&self.optimizer)?,
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
