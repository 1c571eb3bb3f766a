//! A batch, as the model sees it.

use tch::{Device, Kind, Tensor};

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
    /// (T, B, D); 0 where there is no frame; a missing number is the last one seen, or 0 before the first.
    pub values: Tensor,
    /// (T, B, 1), 1 where there is a frame; none where all are there.
    pub valid: Option<Tensor>,
    /// (T, B, D), 1 where there is a number; none where each frame is whole.
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

    /// What counts in a loss, (T, B, D) or (T, B, 1); none where everything does.
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

/// How gathered numbers become the model's.
#[derive(Debug, Clone, Copy)]
pub struct Conversion {
    pub frame_size: i64,
    pub kind: Kind,
    pub device: Device,
}
