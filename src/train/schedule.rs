//! The learning rate over the updates.

use crate::error::{Error, argument};
use crate::words::Words;

/// The rate after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    Constant,
    /// Half a cosine, from the full rate to zero at the end.
    Cosine,
}

impl Words for Schedule {
    const NAME: &'static str = "schedule";
    const WORDS: &'static [(&'static str, Self)] = &[("constant", Self::Constant), ("cosine", Self::Cosine)];
}

impl Schedule {
    /// None is the constant rate.
    pub fn parse(word: Option<&str>) -> Result<Self, Error> {
        let Some(word) = word else { return Ok(Self::Constant) };
        <Self as Words>::parse(word).map_err(|error| match error {
            Error::Argument { name, expected, got } => argument(name, format!("None, {expected}"), got),
            other => other,
        })
    }

    /// The factor of the learning rate for update `step` (from 0) of `end`, after `warmup` updates of a straight rise.
    pub fn factor(self, step: i64, end: i64, warmup: i64) -> f64 {
        if step < warmup {
            return (step + 1) as f64 / warmup as f64;
        }
        match self {
            Self::Constant => 1.0,
            Self::Cosine => {
                let gone = (step - warmup) as f64 / (end - warmup).max(1) as f64;
                0.5 * (1.0 + (std::f64::consts::PI * gone.min(1.0)).cos())
            }
        }
    }
}
