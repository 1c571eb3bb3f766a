//! What a training reads: all windows in memory or in files, epoch after epoch, or a stream of batches.

use anyhow::Result;

use super::frames::Batch;
use super::order::{Order, Share};
use super::windows::Windows;

/// Where the batches of a training come from.
pub enum Source<'a> {
    Windows(Epochs<'a>),
    Stream(Stream<'a>),
}

/// Batches that come one by one.
pub struct Stream<'a> {
    /// The next batch; None at the end of a pass. The argument is the number of updates made.
    pub next: &'a mut dyn FnMut(i64) -> Result<Option<Batch>>,
    /// Whether the present pass has ended here. In other processes of a group it may go on.
    pub ended: &'a mut bool,
}

/// Windows in the order of the present epoch.
pub struct Epochs<'a> {
    windows: &'a Windows<'a>,
    batch_size: i64,
    seed: u64,
    share: Share,
    order: Option<(i64, Order)>,
}

/// How far a training has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Updates made.
    pub step: i64,
    /// Completed passes over the source.
    pub epoch: i64,
    /// Batches of the present pass already seen.
    pub batch: i64,
}

impl<'a> Source<'a> {
    pub fn windows(windows: &'a Windows<'a>, batch_size: i64, seed: u64, share: Share) -> Self {
        Self::Windows(Epochs { windows, batch_size, seed, share, order: None })
    }

    /// Whether the present pass is known to hold no further batch; a stream only knows when it is asked for one.
    pub fn is_used_up(&mut self, at: Progress) -> bool {
        match self {
            Self::Windows(epochs) => epochs.rows(at).is_none(),
            Self::Stream(_) => false,
        }
    }

    /// This process's part of the next batch; None if it has none, as at the end of a pass.
    pub fn next(&mut self, at: Progress) -> Result<Option<Batch>> {
        match self {
            Self::Windows(epochs) => {
                let windows = epochs.windows;
                epochs.rows(at).filter(|rows| !rows.is_empty()).map(|rows| windows.batch(rows)).transpose()
            }
            Self::Stream(Stream { next, ended }) => {
                if **ended && at.batch > 0 {
                    return Ok(None);
                }
                let batch = next(at.step)?;
                **ended = batch.is_none();
                Ok(batch)
            }
        }
    }
}

impl Epochs<'_> {
    fn rows(&mut self, at: Progress) -> Option<&[i64]> {
        let share = self.share;
        self.order(at.epoch).part(at.batch, share)
    }

    fn order(&mut self, epoch: i64) -> &Order {
        let order = match self.order.take().filter(|(of, _)| *of == epoch) {
            Some(order) => order,
            None => (epoch, Order::new(self.windows.len(), self.batch_size, self.seed, epoch)),
        };
        &self.order.insert(order).1
    }
}
