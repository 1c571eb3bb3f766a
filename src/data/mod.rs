//! Where batches come from, and in which order.
//!
//! `Windows` borrows the user's arrays, in any numeric kind and with any strides (a memory map reads as an array does), and
//! gathers a batch at a time: rows chosen, converted to the model's kind, scaled, put on its device, time first.

mod order;

use std::cell::Cell;

use anyhow::Result;
use tch::{Device, Kind, Tensor};

pub use order::Order;

use crate::error::Error;
use crate::libtorch::{Borrowed, by_parts};

/// One side of the windows, past or future.
#[derive(Debug)]
pub struct Column<'a> {
    /// For errors: what the user calls it.
    pub name: String,
    pub sequences: Sequences<'a>,
    /// Whether numbers outside of 0..1 are refused: what is expected instead, if so.
    unit_range: Option<String>,
    /// Where the array is a mapped file: bytes gathered since its pages were last given back.
    pages: Option<Cell<usize>>,
}

/// Bytes of a mapped file that may be resident before its pages are given back.
const PAGES: usize = 64 << 20;
/// Bytes that come along with a window that is read: the system maps its neighbourhood too.
const NEIGHBOURHOOD: usize = 384 << 10;

/// The user's arrays, in place.
#[derive(Debug)]
pub enum Sequences<'a> {
    /// (n, T, *frame_shape)
    Array(Borrowed<'a>),
    /// n sequences (T_i, *frame_shape)
    Ragged(Vec<Borrowed<'a>>),
}

/// On which side sequences of unequal length meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// All end together: pasts, so that both decoders start together.
    Right,
    /// All start together: futures.
    Left,
}

/// Frames of a batch, time first.
#[derive(Debug)]
pub struct Frames {
    /// (T, B, D); 0 where there is no frame.
    pub values: Tensor,
    /// (T, B, 1), 1 where there is a frame; none where all are there.
    pub valid: Option<Tensor>,
}

impl Frames {
    pub fn steps(&self) -> i64 {
        self.values.size()[0]
    }

    pub fn batch(&self) -> i64 {
        self.values.size()[1]
    }

    /// The same frames, last first.
    #[must_use]
    pub fn reversed(&self) -> Self {
        Self { values: self.values.flip([0]), valid: self.valid.as_ref().map(|valid| valid.flip([0])) }
    }
}

/// What one update sees.
#[derive(Debug)]
pub struct Batch {
    pub past: Frames,
    pub future: Option<Frames>,
    /// (B), Int64.
    pub labels: Option<Tensor>,
}

/// How gathered numbers become the model's.
#[derive(Debug, Clone, Copy)]
pub struct Conversion {
    pub frame_size: i64,
    pub kind: Kind,
    pub device: Device,
}

impl<'a> Column<'a> {
    pub fn new(name: String, sequences: Sequences<'a>, unit_range: Option<String>, mapped: bool) -> Self {
        Self { name, sequences, unit_range, pages: mapped.then(Cell::default) }
    }

    pub fn len(&self) -> i64 {
        match &self.sequences {
            Sequences::Array(array) => array.size()[0],
            Sequences::Ragged(sequences) => sequences.len() as i64,
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
        }
    }

    /// The frames of `rows`, checked, converted and padded.
    pub fn gather(&self, rows: &[i64], align: Align, to: Conversion) -> Result<Frames> {
        let batch = rows.len() as i64;
        match &self.sequences {
            Sequences::Array(array) => {
                let steps = array.size()[1];
                let values = Tensor::empty([steps, batch, to.frame_size], (to.kind, Device::Cpu));
                // A pass over memory costs about so many multiplications a number.
                let cost = values.numel() * 64;
                let (name, unit_range) = (self.name.as_str(), self.unit_range.as_deref());
                by_parts(&[array, &values], batch, cost, |tensors, first, length| {
                    let rows = &rows[first as usize..][..length as usize];
                    let chosen = numbers(&tensors[0].index_select(0, &Tensor::from_slice(rows)), to.kind);
                    let chosen = chosen.reshape([length, steps, to.frame_size]);
                    check(name, unit_range, rows, &chosen)?;
                    tensors[1].narrow(1, first, length).copy_(&chosen.transpose(0, 1));
                    Ok(())
                })
                .into_iter()
                .collect::<Result<(), Error>>()?;
                if let Some(gathered) = &self.pages {
                    gathered.set(gathered.get() + values.numel() + rows.len() * NEIGHBOURHOOD);
                    if gathered.get() >= PAGES {
                        array.give_back();
                        gathered.set(0);
                    }
                }
                Ok(Frames { values: values.to_device(to.device), valid: None })
            }
            Sequences::Ragged(sequences) => {
                let chosen: Vec<&Borrowed<'_>> = rows.iter().map(|row| &sequences[*row as usize]).collect();
                let steps = chosen.iter().map(|sequence| sequence.size()[0]).max().unwrap_or(0);
                let values = Tensor::zeros([steps, batch, to.frame_size], (to.kind, Device::Cpu));
                let valid = Tensor::zeros([steps, batch, 1], (to.kind, Device::Cpu));
                for (b, sequence) in (0..).zip(chosen) {
                    let length = sequence.size()[0];
                    let start = if align == Align::Right { steps - length } else { 0 };
                    let numbers = numbers(sequence, to.kind).reshape([1, length, to.frame_size]);
                    check(&self.name, self.unit_range.as_deref(), &rows[b as usize..=b as usize], &numbers)?;
                    values.select(1, b).narrow(0, start, length).copy_(&numbers.squeeze_dim(0));
                    let _ = valid.select(1, b).narrow(0, start, length).fill_(1.0);
                }
                Ok(Frames { values: values.to_device(to.device), valid: Some(valid.to_device(to.device)) })
            }
        }
    }
}

/// Refuse numbers (rows, T, D) that cannot be used, by their window.
fn check(name: &str, unit_range: Option<&str>, rows: &[i64], numbers: &Tensor) -> Result<(), Error> {
    if numbers.numel() == 0 {
        return Ok(());
    }
    let (low, high) = numbers.aminmax(None, false);
    let (low, high) = (low.double_value(&[]), high.double_value(&[]));
    let refused = |bad: &Tensor, expected: &str, got: &str| {
        let row = bad.flatten(1, -1).any_dim(1, false).to_kind(Kind::Int64).argmax(0, false).int64_value(&[]);
        let got = format!("{got} in window {}", rows[row as usize]);
        Err(Error::Data { name: name.to_owned(), expected: expected.to_owned(), got })
    };
    if low.is_nan() || high.is_nan() {
        return refused(&numbers.isnan(), "finite numbers", "NaN");
    }
    if low.is_infinite() || high.is_infinite() {
        return refused(&numbers.isinf(), "finite numbers", "an infinite number");
    }
    match unit_range {
        Some(expected) if low < 0.0 || high > 1.0 => {
            let bad = numbers.lt(0.0).logical_or(&numbers.gt(1.0));
            refused(&bad, expected, &format!("numbers from {low} to {high}"))
        }
        _ => Ok(()),
    }
}

/// In the model's kind; bytes are 0..255 and become 0..1.
fn numbers(raw: &Tensor, kind: Kind) -> Tensor {
    if raw.kind() == Kind::Uint8 { raw.to_kind(kind) / 255.0 } else { raw.to_kind(kind) }
}

/// Past and future side by side, and how to make batches of them.
#[derive(Debug)]
pub struct Windows<'a> {
    pub past: Column<'a>,
    /// None where there is no future (an encoder's or a reconstruct decoder's input).
    pub future: Option<Column<'a>>,
    /// (n), Int64: the number of each window's class.
    pub labels: Option<Tensor>,
    pub conversion: Conversion,
}

impl Windows<'_> {
    pub fn len(&self) -> i64 {
        self.past.len()
    }

    pub fn is_empty(&self) -> bool {
        self.past.is_empty()
    }

    pub fn batch(&self, rows: &[i64]) -> Result<Batch> {
        let past = self.past.gather(rows, Align::Right, self.conversion)?;
        let future = match &self.future {
            Some(future) => Some(future.gather(rows, Align::Left, self.conversion)?),
            None => None,
        };
        let labels = self
            .labels
            .as_ref()
            .map(|labels| labels.index_select(0, &Tensor::from_slice(rows)).to_device(self.conversion.device));
        Ok(Batch { past, future, labels })
    }
}

/// The rows 0..n in runs of `batch_size`.
pub fn in_order(n: i64, batch_size: i64) -> impl Iterator<Item = Vec<i64>> {
    (0..n).step_by(batch_size as usize).map(move |first| (first..n.min(first + batch_size)).collect())
}
