//! Settings of the engine from dicts of Python, which checks their ranges.

use std::collections::BTreeMap;

use pyo3::conversion::FromPyObjectOwned;
use pyo3::prelude::*;

use super::errors::exception;
use crate::error::Error;
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

impl<'py> FromPyObject<'_, 'py> for Architecture {
    type Error = PyErr;

    fn extract(items: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        // By decoder; None without such a decoder.
        let feedback: [Option<String>; 2] = item(&items, "feedback")?;
        let [reconstruct, predict] = feedback.map(|word| word.as_deref().map(Feedback::parse).transpose());
        Ok(Self {
            frame_size: item(&items, "frame_size")?,
            hidden_size: item(&items, "hidden_size")?,
            num_layers: item(&items, "num_layers")?,
            peepholes: item(&items, "peepholes")?,
            feedback: [reconstruct.map_err(refused)?, predict.map_err(refused)?],
            loss: word(&items, "loss", Loss::parse)?,
            classes: item(&items, "classes")?,
        })
    }
}

impl<'py> FromPyObject<'_, 'py> for Init {
    type Error = PyErr;

    fn extract(items: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self {
            distribution: word(&items, "init", Distribution::parse)?,
            forget_bias: item(&items, "forget_bias")?,
            seed: item(&items, "seed")?,
        })
    }
}

impl<'py> FromPyObject<'_, 'py> for Training {
    type Error = PyErr;

    fn extract(items: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let schedule: Option<String> = item(&items, "schedule")?;
        Ok(Self {
            batch_size: item(&items, "batch_size")?,
            end: item(&items, "end")?,
            loss_weights: item(&items, "loss_weights")?,
            dropout: item(&items, "dropout")?,
            optimizer: word(&items, "optimizer", Rule::parse)?,
            learning_rate: item(&items, "learning_rate")?,
            weight_decay: item(&items, "weight_decay")?,
            max_grad_norm: item(&items, "max_grad_norm")?,
            schedule: Schedule::parse(schedule.as_deref()).map_err(refused)?,
            warmup: item(&items, "warmup")?,
            head_only: item(&items, "head_only")?,
            seed: item(&items, "seed")?,
        })
    }
}

fn item<'py, T: FromPyObjectOwned<'py>>(items: &Bound<'py, PyAny>, name: &str) -> PyResult<T> {
    items.get_item(name)?.extract().map_err(Into::into)
}

fn word<T>(items: &Bound<'_, PyAny>, name: &str, parse: impl Fn(&str) -> Result<T, Error>) -> PyResult<T> {
    parse(&item::<String>(items, name)?).map_err(refused)
}

fn refused(error: Error) -> PyErr {
    exception(error.into())
}
