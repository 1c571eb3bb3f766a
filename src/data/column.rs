//! One side of the windows, in the user's own arrays.

use std::cell::Cell;

use anyhow::Result;
use tch::Tensor;

use crate::libtorch::Borrowed;

/// One side of the windows, past or future.
#[derive(Debug)]
pub struct Column<'a> {
    /// The user's name for it, for errors.
    pub name: String,
    pub sequences: Sequences<'a>,
    /// The expectation in the error for numbers outside of 0..1, if those are refused.
    pub unit_range: Option<String>,
    /// For a mapped file: bytes gathered since its pages were last released.
    pub pages: Option<Cell<usize>>,
    pub scale: Option<Scale>,
    /// The whole array on the model's device, if it was placed there.
    pub placed: Option<Tensor>,
}

/// Maps the user's numbers to the model's: (x - offset) / factor, (D) each, in double precision.
#[derive(Debug)]
pub struct Scale {
    pub offset: Tensor,
    pub factor: Tensor,
}

/// The user's arrays, in place.
#[derive(Debug)]
pub enum Sequences<'a> {
    /// (n, T, *frame_shape)
    Array(Borrowed<'a>),
    /// n sequences (T_i, *frame_shape)
    Ragged(Vec<Borrowed<'a>>),
    /// Read when they are needed.
    Lazy(Lazy<'a>),
}

/// n windows of T frames each, outside of memory.
pub struct Lazy<'a> {
    pub len: i64,
    pub steps: i64,
    pub read: Box<Read<'a>>,
}

/// Row numbers in, windows (rows, T, *frame_shape) out.
pub type Read<'a> = dyn Fn(&[i64]) -> Result<Tensor> + Send + 'a;

impl std::fmt::Debug for Lazy<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lazy").field("len", &self.len).field("steps", &self.steps).finish_non_exhaustive()
    }
}

impl Column<'_> {
    pub fn len(&self) -> i64 {
        match &self.sequences {
            Sequences::Array(array) => array.size()[0],
            Sequences::Ragged(sequences) => sequences.len() as i64,
            Sequences::Lazy(lazy) => lazy.len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of frames of the longest sequence.
    pub fn longest(&self) -> i64 {
        match &self.sequences {
            Sequences::Array(array) => array.size()[1],
            Sequences::Ragged(sequences) => sequences.iter().map(|sequence| sequence.size()[0]).max().unwrap_or(0),
            Sequences::Lazy(lazy) => lazy.steps,
        }
    }
}
