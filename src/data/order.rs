//! A fresh seeded order of the windows for every epoch; each is seen once, the short last batch included.

use rand::seq::SliceRandom;

use crate::random::{Purpose, stream};

/// What a process takes of each batch.
#[derive(Debug, Clone, Copy)]
pub enum Share {
    /// All of it.
    Whole,
    /// The windows are the same in `size` processes, of which this is number `rank`.
    Shared { rank: usize, size: usize },
    /// Its windows are its own, and make this number of batches in an epoch.
    Own { batches: i64 },
}

impl Share {
    /// This process's part of `rows` that other processes may have too.
    pub fn of(self, rows: &[i64]) -> &[i64] {
        match self {
            Self::Shared { rank, size } => cut(rows, rank as i64, size as i64),
            Self::Whole | Self::Own { .. } => rows,
        }
    }
}

/// Piece `index` of `rows`, cut into `pieces` of about equal size.
fn cut(rows: &[i64], index: i64, pieces: i64) -> &[i64] {
    let start = |index: i64| (index as usize * rows.len()) / pieces as usize;
    &rows[start(index)..start(index + 1)]
}

/// The order of one epoch.
#[derive(Debug)]
pub struct Order {
    rows: Vec<i64>,
    batch_size: usize,
}

impl Order {
    pub fn new(n: i64, batch_size: i64, seed: u64, epoch: i64) -> Self {
        let mut rows: Vec<i64> = (0..n).collect();
        rows.shuffle(&mut stream(seed, Purpose::Order, epoch));
        Self { rows, batch_size: batch_size as usize }
    }

    /// The rows of batch `index`; None after the last batch.
    pub fn batch(&self, index: i64) -> Option<&[i64]> {
        self.rows.chunks(self.batch_size).nth(index as usize)
    }

    /// This process's rows of batch `index`, possibly none; None after the last batch.
    pub fn part(&self, index: i64, share: Share) -> Option<&[i64]> {
        match share {
            Share::Whole => self.batch(index),
            Share::Shared { .. } => self.batch(index).map(|rows| share.of(rows)),
            Share::Own { batches } => (index < batches).then(|| cut(&self.rows, index, batches)),
        }
    }
}
