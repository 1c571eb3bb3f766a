//! A fresh seeded order of the windows for every epoch; each is seen once, the short last batch included.

use rand::seq::SliceRandom;

use crate::random::{Purpose, stream};

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
}
