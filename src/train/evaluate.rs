//! The losses without an update.

use anyhow::Result;

use super::group::Group;
use super::update::{loss_scale, numbers_in};
use crate::data::{Batch, Share, Windows, in_order};
use crate::model::{Composite, Losses, Pass, Traces, Unread, Weights};
use crate::stop::caught;

/// The losses over all windows, as at inference; those of all processes of a group, each of which has its share.
pub fn evaluate(
    model: &Composite,
    windows: &Windows<'_>,
    batch_size: i64,
    group: Option<(&Group, Share)>,
    mut on_rows: impl FnMut(usize, usize) -> Result<()>,
) -> Result<Losses> {
    let share = group.map_or(Share::Whole, |(_, share)| share);
    let mut mine = || {
        let mut losses = Losses::default();
        let (mut done, all) = (0, windows.len() as usize);
        for rows in in_order(windows.len(), batch_size) {
            on_rows(done, all)?;
            let part = share.of(&rows);
            if !part.is_empty() {
                losses.add(&model.losses(&windows.batch(part)?)?);
            }
            done += rows.len();
        }
        on_rows(all, all)?;
        Ok(losses)
    };
    match group {
        None => mine(),
        Some((group, _)) => Ok(group.total(&group.end(caught(mine))?, 0.0)?.0),
    }
}

/// One training pass over one batch, for tests of the gradients.
pub fn gradients(model: &Composite, batch: &Batch, pass: &mut Pass<'_>) -> Result<(Losses, Weights, Traces)> {
    pass.scale = loss_scale(model, numbers_in(model, batch));
    let gradients = Weights::zeros(&model.architecture, model.options());
    let mut traces = Traces::default();
    let losses = model.gradients(batch, pass, &mut traces, &gradients)?.map(Unread::read);
    let mut flat = gradients.flat.shallow_clone();
    flat /= pass.scale;
    Ok((losses, gradients, traces))
}
