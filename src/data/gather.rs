//! Batches from the user's arrays: rows chosen, converted, scaled, checked, put on the device.

use anyhow::Result;
use tch::{Device, Kind, Tensor};

use super::column::{Column, Sequences};
use super::frames::{Align, Conversion, Frames};
use crate::error::Error;
use crate::libtorch::{Borrowed, send};
use crate::threads::by_parts;

/// Bytes of a mapped file that may be resident before its pages are released.
const PAGES: usize = 64 << 20;
/// Bytes of an array that are placed on a device at a time.
const PIECE: usize = 64 << 20;
/// Bytes that the system may read along with a window: it maps the neighbourhood too, up to a huge page.
const NEIGHBOURHOOD: usize = 2 << 20;

impl Column<'_> {
    /// The frames of `rows`, checked, converted and padded.
    pub fn gather(&self, rows: &[i64], align: Align, to: Conversion) -> Result<Frames> {
        if let Some(placed) = &self.placed {
            let rows = send(&Tensor::from_slice(rows), to.device);
            return Ok(self.converted(&placed.index_select(0, &rows), align, to));
        }
        match &self.sequences {
            Sequences::Array(array) => {
                let frames = self.dense(array, rows, rows, align, to)?;
                if let Some(gathered) = &self.pages {
                    gathered.set(gathered.get() + frames.values.numel() + rows.len() * NEIGHBOURHOOD);
                    if gathered.get() >= PAGES {
                        array.give_back();
                        gathered.set(0);
                    }
                }
                Ok(frames)
            }
            Sequences::Lazy(lazy) => {
                let places: Vec<i64> = (0..rows.len() as i64).collect();
                Ok(self.dense(&(lazy.read)(rows)?, &places, rows, align, to)?)
            }
            Sequences::Ragged(sequences) => {
                let batch = rows.len() as i64;
                let chosen: Vec<&Borrowed<'_>> = rows.iter().map(|row| &sequences[*row as usize]).collect();
                let steps = chosen.iter().map(|sequence| sequence.size()[0]).max().unwrap_or(0);
                let zeros = |width: i64| Tensor::zeros([steps, batch, width], (to.kind, Device::Cpu));
                let (values, valid, mut known) = (zeros(to.frame_size), zeros(1), None);
                let preparation = self.preparation(align, to);
                for (b, sequence) in (0..).zip(chosen) {
                    let length = sequence.size()[0];
                    let start = if align == Align::Right { steps - length } else { 0 };
                    let place = |all: &Tensor| all.select(1, b).narrow(0, start, length);
                    let raw = sequence.reshape([1, length, to.frame_size]);
                    let (numbers, exist) = preparation.run(&raw, self.scale(), &rows[b as usize..=b as usize])?;
                    place(&values).copy_(&numbers.squeeze_dim(0));
                    let _ = place(&valid).fill_(1.0);
                    if let Some(exist) = exist {
                        let known = known
                            .get_or_insert_with(|| Tensor::ones([steps, batch, to.frame_size], (to.kind, Device::Cpu)));
                        place(known).copy_(&exist.squeeze_dim(0));
                    }
                }
                let known = known.map(|known| send(&(known * &valid), to.device));
                Ok(Frames { values: send(&values, to.device), valid: Some(send(&valid, to.device)), known })
            }
        }
    }

    /// Place the array on `to.device`, if it has at most `most` bytes and its batches need no further check: no number is
    /// missing, and none must be refused.
    pub fn place(&mut self, to: Conversion, most: usize) {
        let Sequences::Array(array) = &self.sequences else { return };
        let (kind, size) = (array.kind(), array.size());
        let (n, window) = (size[0], size[1] * to.frame_size);
        let bytes = window as usize * kind.elt_size_in_bytes();
        if n == 0 || window == 0 || n as usize * bytes > most {
            return;
        }
        // If memory runs out after all, batches are sent one by one.
        let Ok(placed) = Tensor::f_empty([n, size[1], to.frame_size], (kind, to.device)) else { return };
        // As many as stay below `PIECE` in double precision too.
        let windows = (PIECE / (window as usize * 8)).max(1) as i64;
        for first in (0..n).step_by(windows as usize) {
            let length = windows.min(n - first);
            let piece = array.narrow(0, first, length).reshape([length, size[1], to.frame_size]);
            let mut place = placed.narrow(0, first, length);
            place.copy_(&piece);
            if self.pages.is_some() {
                array.give_back();
            }
            let (low, high) = limits(&self.preparation(Align::Right, to).convert(&place, self.scale()));
            let in_range = self.unit_range.is_none() || (low >= 0.0 && high <= 1.0);
            if !(low.is_finite() && high.is_finite() && in_range) {
                return;
            }
        }
        self.placed = Some(placed);
    }

    /// Whether numbers of this kind can be checked before a device converts them.
    fn converts_on_device(&self, kind: Kind) -> bool {
        match kind {
            Kind::Uint8 => self.scale.is_none() || self.unit_range.is_none(),
            Kind::Float | Kind::Int8 | Kind::Int16 => self.scale.is_none(),
            _ => false,
        }
    }

    /// Numbers (rows, T, D) on a device, none of them missing, converted there.
    fn converted(&self, raw: &Tensor, align: Align, to: Conversion) -> Frames {
        let values = self.preparation(align, to).convert(raw, self.scale());
        Frames { values: values.transpose(0, 1).contiguous(), valid: None, known: None }
    }

    /// Windows of equal length: those at `places` of `raw` (n, T, *frame_shape), which are the user's `rows`.
    fn dense(&self, raw: &Tensor, places: &[i64], rows: &[i64], align: Align, to: Conversion) -> Result<Frames> {
        let (batch, steps) = (rows.len() as i64, raw.size()[1]);
        if to.device != Device::Cpu && self.converts_on_device(raw.kind()) {
            let raw = raw.index_select(0, &Tensor::from_slice(places)).reshape([batch, steps, to.frame_size]);
            let limits = if raw.kind() == Kind::Uint8 || raw.numel() == 0 { (0.0, 0.0) } else { limits(&raw) };
            if !limits.0.is_nan() {
                self.preparation(align, to).check(rows, &raw, limits)?;
                return Ok(self.converted(&send(&raw, to.device), align, to));
            }
        }
        let values = Tensor::empty([steps, batch, to.frame_size], (to.kind, Device::Cpu));
        // A pass over memory costs about 64 multiplications per number.
        let cost = values.numel() * 64;
        let mut tensors = vec![raw, &values];
        tensors.extend(self.scale().into_iter().flatten());
        let preparation = self.preparation(align, to);
        let parts = by_parts(&tensors, batch, cost, |tensors, first, length| {
            let part = first as usize..(first + length) as usize;
            let raw = tensors[0].index_select(0, &Tensor::from_slice(&places[part.clone()]));
            let scale = tensors.get(2).zip(tensors.get(3)).map(|(offset, factor)| [*offset, *factor]);
            let raw = raw.reshape([length, steps, to.frame_size]);
            let (numbers, known) = preparation.run(&raw, scale, &rows[part])?;
            tensors[1].narrow(1, first, length).copy_(&numbers.transpose(0, 1));
            Ok((length, known))
        });
        let parts = parts.into_iter().collect::<Result<Vec<_>, Error>>()?;
        let known = parts.iter().any(|(_, known)| known.is_some()).then(|| {
            let ones = |length| Tensor::ones([length, steps, to.frame_size], (to.kind, Device::Cpu));
            let all: Vec<Tensor> = parts.into_iter().map(|(n, known)| known.unwrap_or_else(|| ones(n))).collect();
            send(&Tensor::cat(&all, 0).transpose(0, 1).contiguous(), to.device)
        });
        Ok(Frames { values: send(&values, to.device), valid: None, known })
    }

    fn scale(&self) -> Option<[&Tensor; 2]> {
        self.scale.as_ref().map(|scale| [&scale.offset, &scale.factor])
    }

    fn preparation(&self, align: Align, to: Conversion) -> Preparation<'_> {
        Preparation { name: &self.name, unit_range: self.unit_range.as_deref(), align, kind: to.kind }
    }
}

/// Converts the user's numbers to the model's.
#[derive(Clone, Copy)]
struct Preparation<'a> {
    name: &'a str,
    unit_range: Option<&'a str>,
    align: Align,
    kind: Kind,
}

impl Preparation<'_> {
    /// Numbers (rows, T, D) converted and scaled.
    fn convert(self, raw: &Tensor, scale: Option<[&Tensor; 2]>) -> Tensor {
        let mut numbers = raw.to_kind(if scale.is_some() { Kind::Double } else { self.kind });
        if raw.kind() == Kind::Uint8 {
            // Bytes are 0..255 and become 0..1.
            numbers /= 255.0;
        }
        if let Some([offset, factor]) = scale {
            let (offset, factor) = (send(offset, raw.device()), send(factor, raw.device()));
            numbers = ((numbers - offset) / factor).to_kind(self.kind);
        }
        numbers
    }

    /// Numbers (rows, T, D) converted, scaled and checked; a missing one repeats the last known. If any is missing, also the
    /// mask of the known ones.
    fn run(self, raw: &Tensor, scale: Option<[&Tensor; 2]>, rows: &[i64]) -> Result<(Tensor, Option<Tensor>), Error> {
        let numbers = self.convert(raw, scale);
        if numbers.numel() == 0 {
            return Ok((numbers, None));
        }
        let limits = limits(&numbers);
        if !limits.0.is_nan() {
            self.check(rows, &numbers, limits)?;
            return Ok((numbers, None));
        }
        let known = numbers.isnan().logical_not();
        let somewhere = known.flatten(1, -1).any_dim(1, false).to_kind(Kind::Int64);
        let least = somewhere.argmin(0, false).int64_value(&[]);
        if self.align == Align::Right && somewhere.int64_value(&[least]) == 0 {
            let got = format!("NaN alone in window {}", rows[least as usize]);
            return Err(self.refused("at least one number in every window", got));
        }
        let numbers = hold(&numbers, &known);
        self.check(rows, &numbers, self::limits(&numbers))?;
        Ok((numbers, Some(known.to_kind(self.kind))))
    }

    /// Refuse numbers (rows, T, D) that cannot be used, by their window.
    fn check(self, rows: &[i64], numbers: &Tensor, (low, high): (f64, f64)) -> Result<(), Error> {
        let first = |bad: &Tensor| {
            let row = bad.flatten(1, -1).any_dim(1, false).to_kind(Kind::Int64).argmax(0, false).int64_value(&[]);
            rows[row as usize]
        };
        if low.is_infinite() || high.is_infinite() {
            let got = format!("an infinite number in window {}", first(&numbers.isinf()));
            return Err(self.refused("finite numbers", got));
        }
        match self.unit_range {
            Some(expected) if low < 0.0 || high > 1.0 => {
                let bad = numbers.lt(0.0).logical_or(&numbers.gt(1.0));
                Err(self.refused(expected, format!("numbers from {low} to {high} in window {}", first(&bad))))
            }
            _ => Ok(()),
        }
    }

    fn refused(self, expected: &str, got: String) -> Error {
        Error::Data { name: self.name.to_owned(), expected: expected.to_owned(), got }
    }
}

/// The least and the greatest number; NaN if one is NaN.
fn limits(numbers: &Tensor) -> (f64, f64) {
    let (low, high) = numbers.aminmax(None, false);
    (low.double_value(&[]), high.double_value(&[]))
}

/// Numbers (rows, T, D) with each missing one replaced by the last known, or 0 before the first.
fn hold(numbers: &Tensor, known: &Tensor) -> Tensor {
    let mut last = numbers.select(1, 0).zeros_like();
    let steps = (0..numbers.size()[1]).map(|t| {
        last = numbers.select(1, t).where_self(&known.select(1, t), &last);
        last.shallow_clone()
    });
    Tensor::stack(&steps.collect::<Vec<_>>(), 1)
}
