//! The losses without an update.

use anyhow::Result;

use super::update::loss_scale;
use crate::data::{Batch, Windows, in_order};
use crate::model::{Composite, Losses, Pass, Traces, Unread, Weights};

/// The losses over all windows, as at inference.
pub fn evaluate(
    model: &Composite,
    windows: &Windows<'_>,
    batch_size: i64,
    mut on_rows: impl FnMut(usize, usize) -> Result<()>,
) -> Result<Losses> {
    let mut losses = Losses::default();
    let (mut done, all) = (0, windows.len() as usize);
    for rows in in_order(windows.len(), batch_size) {
        on_rows(done, all)?;
        losses.add(&model.losses(&windows.batch(&rows)?)?);
        done += rows.len();
    }
    on_rows(all, all)?;
    Ok(losses)
}

/// One training pass over one batch, for tests of the gradients.
pub fn gradients(model: &Composite, batch: &Batch, pass: &mut Pass<'_>) -> Result<(Losses, Weights, Traces)> {
    pass.scale = loss_scale(model, batch);
    let gradients = Weights::zeros(&model.architecture, model.options());
    let mut traces = Traces::default();
    let losses = model.gradients(batch, pass, &mut traces, &gradients)?.map(Unread::read);
    let mut flat = gradients.flat.shallow_clone();
    flat /= pass.scale;
    Ok((losses, gradients, traces))
}
