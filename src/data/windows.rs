//! Pasts, futures and labels side by side.

use anyhow::Result;
use tch::{Device, Tensor};

use super::column::Column;
use super::frames::{Align, Batch, Conversion};
use crate::libtorch::{free_memory, send};

/// Past and future side by side, and the form of their batches.
#[derive(Debug)]
pub struct Windows<'a> {
    pub past: Column<'a>,
    /// None without a future (an encoder's or a reconstruct decoder's input).
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

    /// Place on a GPU what fits into a part of its memory, since it would be copied there in every epoch.
    pub fn place(&mut self) {
        for column in [Some(&mut self.past), self.future.as_mut()].into_iter().flatten() {
            if let Some(free) = free_memory(self.conversion.device) {
                column.place(self.conversion, free / 4);
            }
        }
    }

    /// Check every batch, so that bad numbers are refused before the first update. A placed column was checked already.
    pub fn check(&self, batch_size: i64, mut pause: impl FnMut() -> Result<()>) -> Result<()> {
        let on_host = Conversion { device: Device::Cpu, ..self.conversion };
        let columns = [(Some(&self.past), Align::Right), (self.future.as_ref(), Align::Left)];
        for rows in in_order(self.len(), batch_size) {
            pause()?;
            for (column, align) in columns {
                if let Some(column) = column.filter(|column| column.placed.is_none()) {
                    column.gather(&rows, align, on_host)?;
                }
            }
        }
        Ok(())
    }

    pub fn batch(&self, rows: &[i64]) -> Result<Batch> {
        let past = self.past.gather(rows, Align::Right, self.conversion)?;
        let future = match &self.future {
            Some(future) => Some(future.gather(rows, Align::Left, self.conversion)?),
            None => None,
        };
        let of_rows = |labels: &Tensor| labels.index_select(0, &Tensor::from_slice(rows));
        let labels = self.labels.as_ref().map(|labels| send(&of_rows(labels), self.conversion.device));
        Ok(Batch { past, future, labels })
    }
}

/// The rows 0..n in runs of `batch_size`.
pub fn in_order(n: i64, batch_size: i64) -> impl Iterator<Item = Vec<i64>> {
    (0..n).step_by(batch_size as usize).map(move |first| (first..n.min(first + batch_size)).collect())
}
