//! The training loop, its optimizers and schedules.

mod ahead;
pub mod optimizer;
mod schedule;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use anyhow::Result;

pub use optimizer::Moments;
pub use schedule::Schedule;

use crate::config::{Precision, Training};
use crate::data::{Batch, Order, Windows, in_order};
use crate::error::Error;
use crate::model::{Composite, Losses, Pass, Traces, Unread, Weights};
use crate::random::{Purpose, stream};
use ahead::{Ahead, Part, Plan};
use optimizer::{Numbers, Step};

/// A model in training: its weights, and everything that the next update depends on.
#[derive(Debug)]
pub struct Trainer {
    pub model: Composite,
    pub moments: Moments,
    pub progress: Progress,
    gradients: Weights,
    traces: Traces,
    ahead: Option<Ahead>,
}

/// How far a training has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Updates made.
    pub step: i64,
    /// Passes over the windows ended.
    pub epoch: i64,
    /// Batches of the present epoch already seen.
    pub batch: i64,
}

/// Means since the last report.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    pub progress: Progress,
    pub losses: Losses,
    pub learning_rate: f64,
}

/// What has come about since the last report.
#[derive(Default)]
struct Since {
    losses: Losses,
    learning_rate: f64,
    /// Of the last update that was read.
    latest: Losses,
}

impl Since {
    /// Tell of it and start again; what an error (Ctrl-C) kept from being heard is there to tell again.
    fn tell(&mut self, progress: Progress, observer: &mut dyn Observer) -> Result<()> {
        observer.on_report(&Report { progress, losses: self.losses, learning_rate: self.learning_rate })?;
        self.losses = Losses::default();
        Ok(())
    }

    fn add(&mut self, losses: Losses) {
        self.losses.add(&losses);
        self.latest = losses;
    }
}

/// Who watches a training. Either call may end it, by an error (Ctrl-C).
pub trait Observer {
    /// After every update.
    fn on_step(&mut self, step: i64, losses: &Losses) -> Result<()>;
    /// After every `report_every` updates, and after the last.
    fn on_report(&mut self, report: &Report) -> Result<()>;
}

/// When to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// After so many updates in all.
    Step(i64),
    /// At the end of the present pass over the windows.
    Epoch,
}

impl Trainer {
    pub fn new(model: Composite) -> Self {
        let gradients = Weights::zeros(&model.architecture, model.options());
        let moments = Moments::zeros_like(&model.weights.flat);
        let ahead = model.encoder().runs_ahead().then(|| Ahead::new(&model));
        Self { model, moments, progress: Progress::default(), gradients, traces: Traces::default(), ahead }
    }

    /// Whether updates are recorded as a graph.
    pub fn records(&self) -> bool {
        self.ahead.as_ref().is_some_and(Ahead::records)
    }

    /// Train until the plan says stop.
    pub fn fit(
        &mut self,
        windows: &Windows<'_>,
        training: &Training,
        until: Until,
        report_every: i64,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        training.check()?;
        let device = self.model.options().1;
        let _stream = self.ahead.as_mut().and_then(|ahead| {
            ahead.forget();
            ahead.enter(device)
        });
        if windows.is_empty() {
            let (expected, got) = ("at least one window".to_owned(), "none".to_owned());
            return Err(Error::Data { name: windows.past.name.clone(), expected, got }.into());
        }
        let mut since = Since::default();
        // libtorch's errors come as panics.
        let epochs = || self.epochs(windows, training, until, report_every, observer, &mut since);
        let outcome = catch_unwind(AssertUnwindSafe(epochs));
        // However it ended, no update goes untold.
        let read = self.read(&mut since);
        let told = if since.losses.is_empty() { Ok(()) } else { since.tell(self.progress, observer) };
        outcome.unwrap_or_else(|panic| resume_unwind(panic)).and(read).and(told)
    }

    fn epochs(
        &mut self,
        windows: &Windows<'_>,
        training: &Training,
        until: Until,
        report_every: i64,
        observer: &mut dyn Observer,
        since: &mut Since,
    ) -> Result<()> {
        if until == Until::Epoch && self.progress.batch > 0 {
            self.end_epoch();
        }
        loop {
            let order = Order::new(windows.len(), training.batch_size, training.seed, self.progress.epoch);
            for rows in order.batches(self.progress.batch) {
                if matches!(until, Until::Step(end) if self.progress.step >= end) {
                    return Ok(());
                }
                let batch = windows.batch(rows)?;
                self.update(&batch, training, since)?;
                // report
                let reports = self.progress.step % report_every == 0;
                if reports || self.ahead.as_ref().is_some_and(Ahead::is_due) {
                    self.read(since)?;
                }
                if reports {
                    since.tell(self.progress, observer)?;
                }
                observer.on_step(self.progress.step, &since.latest)?;
            }
            self.end_epoch();
            if until == Until::Epoch {
                return Ok(());
            }
        }
    }

    fn end_epoch(&mut self) {
        self.progress.epoch += 1;
        self.progress.batch = 0;
    }

    /// One update of the weights; they stay as they were when it is refused.
    fn update(&mut self, batch: &Batch, training: &Training, since: &mut Since) -> Result<()> {
        let (step, before) = (self.progress.step, self.progress);
        // forward and backward
        let gone = step as f64 / training.end.max(1) as f64;
        let scale = loss_scale(&self.model, batch);
        let mut pass = Pass {
            loss_weights: training.loss_weights,
            scale,
            dropout: training.dropout,
            probability: 1.0 - gone.min(1.0),
            head_only: training.head_only,
            rng: &mut stream(training.seed, Purpose::Update, step),
        };
        let rate = training.learning_rate * training.schedule.factor(step, training.end, training.warmup);
        let all = (0, self.model.weights.flat.size()[0]);
        let (first, size) = if training.head_only { self.model.weights.head() } else { all };
        if let Some(ahead) = &mut self.ahead {
            let moments = self.moments.next(first, size);
            let part = Part { first, size, moments };
            let plan = Plan { model: &self.model, training, gradients: &self.gradients, part };
            ahead.update(&plan, batch, &mut pass, rate, &mut self.traces, before)?;
        } else {
            let losses = self.model.gradients(batch, &mut pass, &mut self.traces, &self.gradients)?.map(Unread::read);
            let [mut weights, mut gradients] =
                [&self.model.weights.flat, &self.gradients.flat].map(|flat| flat.narrow(0, first, size));
            let norm = optimizer::norm(&gradients);
            all_finite(&losses, norm, step)?;
            if let Some(max_norm) = training.max_grad_norm {
                optimizer::clip(&mut gradients, norm, max_norm);
            }
            let moments = self.moments.next(first, size);
            let step = Step { weight_decay: training.weight_decay, numbers: Numbers::Here { rate } };
            optimizer::update(training.optimizer, &mut weights, &gradients, &moments, step)?;
            self.model.weights_changed();
            since.add(losses);
        }
        since.learning_rate = rate;
        self.moments.steps += 1;
        self.progress.step += 1;
        self.progress.batch += 1;
        Ok(())
    }

    /// Wait for the updates that were asked for. From the first that was not finite on none was made, and none counts.
    fn read(&mut self, since: &mut Since) -> Result<()> {
        let Some(ahead) = &mut self.ahead else { return Ok(()) };
        let (updates, made) = ahead.read();
        for update in &updates[..made] {
            since.add(update.losses);
        }
        let Some(refused) = updates.get(made) else { return Ok(()) };
        self.moments.steps -= (updates.len() - made) as i64;
        self.progress = refused.before;
        Ok(refused.why()?)
    }
}

/// A power of two that brings gradients of a mean over all numbers to about 1, so that float16 holds them.
fn loss_scale(model: &Composite, batch: &Batch) -> f64 {
    let (steps, windows) = (batch.past.steps(), batch.past.batch());
    let numbers = if model.architecture.classes.is_some() { 1 } else { model.architecture.frame_size };
    match model.precision {
        Precision::Fp16 => ((steps * windows * numbers).max(1) as f64).log2().round().exp2(),
        _ => 1.0,
    }
}

/// The losses over all windows, as at inference.
pub fn evaluate(
    model: &Composite,
    windows: &Windows<'_>,
    batch_size: i64,
    mut pause: impl FnMut() -> Result<()>,
) -> Result<Losses> {
    let mut losses = Losses::default();
    for rows in in_order(windows.len(), batch_size) {
        pause()?;
        losses.add(&model.losses(&windows.batch(&rows)?)?);
    }
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

/// Refuse an update of which something is not finite, and say what.
fn all_finite(losses: &Losses, norm: f64, step: i64) -> Result<(), Error> {
    let losses = losses.named().map(|(_, loss)| ("the loss", loss.mean()));
    match losses.chain([("the gradient's norm", norm)]).find(|(_, value)| !value.is_finite()) {
        Some((what, value)) => Err(Error::Diverged { what, value, step: step + 1 }),
        None => Ok(()),
    }
}
