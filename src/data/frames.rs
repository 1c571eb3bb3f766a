//! A batch, as the model sees it.

use tch::{Device, Kind, Tensor};

/// The side on which sequences of unequal length are aligned.
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
    /// (T, B, D); 0 in padding; a missing number repeats the last known, or is 0 before the first.
    pub values: Tensor,
    /// (T, B, 1), 1 for a frame and 0 for padding; None without padding.
    pub valid: Option<Tensor>,
    /// (T, B, D), 1 for a known number and 0 for a missing one; None if none is missing.
    pub known: Option<Tensor>,
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
        let flip = |tensor: &Tensor| tensor.flip([0]);
        Self { values: flip(&self.values), valid: self.valid.as_ref().map(flip), known: self.known.as_ref().map(flip) }
    }

    /// What counts in a loss, (T, B, D) or (T, B, 1); None if everything does.
    pub fn mask(&self) -> Option<&Tensor> {
        self.known.as_ref().or(self.valid.as_ref())
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

/// The form of the model's numbers.
#[derive(Debug, Clone, Copy)]
pub struct Conversion {
    pub frame_size: i64,
    pub kind: Kind,
    pub device: Device,
}
