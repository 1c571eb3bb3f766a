//! The one training loop, over windows or a stream of batches.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use anyhow::Result;

use super::deferred::Deferred;
use super::optimizer::Moments;
use super::settings::Training;
use super::update::{Immediate, Update};
use crate::data::{Batch, Progress, Source};
use crate::model::{Composite, Losses, Traces, Weights};

/// A model in training: its weights, and everything that the next update depends on.
#[derive(Debug)]
pub struct Trainer {
    pub model: Composite,
    pub moments: Moments,
    pub progress: Progress,
    gradients: Weights,
    traces: Traces,
    /// The queue of updates, for a backend that works asynchronously.
    deferred: Option<Deferred>,
}

/// Means since the last report.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    pub progress: Progress,
    pub losses: Losses,
    pub learning_rate: f64,
}

/// The totals since the last report.
#[derive(Default)]
struct Totals {
    losses: Losses,
    learning_rate: f64,
    /// The losses of the last update that was read.
    latest: Losses,
}

impl Totals {
    /// Report and start again. After an error (Ctrl-C) in the observer the totals remain, for another attempt.
    fn report(&mut self, progress: Progress, observer: &mut dyn Observer) -> Result<()> {
        observer.on_report(&Report { progress, losses: self.losses, learning_rate: self.learning_rate })?;
        self.losses = Losses::default();
        Ok(())
    }

    fn add(&mut self, losses: Losses) {
        self.losses.add(&losses);
        self.latest = losses;
    }
}

/// Receives a training's progress. An error of either method (Ctrl-C) ends the training.
pub trait Observer {
    /// Called after every update.
    fn on_step(&mut self, step: i64, losses: &Losses) -> Result<()>;
    /// Called after every `report_every` updates, and after the last.
    fn on_report(&mut self, report: &Report) -> Result<()>;
}

/// When to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// After this many updates in all.
    Step(i64),
    /// At the end of the present pass over the source.
    Pass,
}

impl Trainer {
    pub fn new(model: Composite) -> Self {
        let gradients = Weights::zeros(&model.architecture, model.options());
        let moments = Moments::zeros_like(&model.weights.flat);
        let deferred = model.encoder().is_asynchronous().then(|| Deferred::new(&model));
        Self { model, moments, progress: Progress::default(), gradients, traces: Traces::default(), deferred }
    }

    /// Whether updates are recorded as a graph.
    pub fn records(&self) -> bool {
        self.deferred.as_ref().is_some_and(Deferred::records)
    }

    /// Train until `until`. A stream that is empty ends the run early.
    pub fn run(
        &mut self,
        source: &mut Source<'_>,
        training: &Training,
        until: Until,
        report_every: i64,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let device = self.model.options().1;
        let _stream = self.deferred.as_mut().and_then(|deferred| {
            deferred.forget();
            deferred.enter(device)
        });
        let mut totals = Totals::default();
        // libtorch's errors come as panics.
        let passes = || self.passes(source, training, until, report_every, observer, &mut totals);
        let outcome = catch_unwind(AssertUnwindSafe(passes));
        // However it ended, every update is reported.
        let read = self.read(&mut totals);
        let reported = if totals.losses.is_empty() { Ok(()) } else { totals.report(self.progress, observer) };
        outcome.unwrap_or_else(|panic| resume_unwind(panic)).and(read).and(reported)
    }

    fn passes(
        &mut self,
        source: &mut Source<'_>,
        training: &Training,
        until: Until,
        report_every: i64,
        observer: &mut dyn Observer,
        totals: &mut Totals,
    ) -> Result<()> {
        let is_done = |progress: Progress| matches!(until, Until::Step(end) if progress.step >= end);
        while !is_done(self.progress) {
            let Some(batch) = source.next(self.progress)? else {
                if self.progress.batch == 0 {
                    // An empty pass.
                    return Ok(());
                }
                self.end_pass();
                if until == Until::Pass {
                    return Ok(());
                }
                continue;
            };
            self.update(&batch, training, totals)?;
            let reports = self.progress.step % report_every == 0;
            if reports || self.deferred.as_ref().is_some_and(Deferred::is_due) {
                self.read(totals)?;
            }
            if reports {
                totals.report(self.progress, observer)?;
            }
            observer.on_step(self.progress.step, &totals.latest)?;
            // A checkpoint after the last batch of windows names the next epoch.
            if source.is_used_up(self.progress) {
                self.end_pass();
                if until == Until::Pass {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Begin the next pass.
    pub fn end_pass(&mut self) {
        self.progress.epoch += 1;
        self.progress.batch = 0;
    }

    /// Make or queue one update; the weights stay as they were when it is refused.
    fn update(&mut self, batch: &Batch, training: &Training, totals: &mut Totals) -> Result<()> {
        let update = Update::new(&self.model, training, &self.gradients, &self.moments, self.progress);
        match &mut self.deferred {
            Some(deferred) => deferred.update(&update, batch, &mut self.traces)?,
            None => totals.add(update.make(batch, &mut self.traces, &mut Immediate)?),
        }
        totals.learning_rate = update.learning_rate();
        self.moments.steps += 1;
        self.progress.step += 1;
        self.progress.batch += 1;
        Ok(())
    }

    /// Wait for the queued updates. From the first one on that was not finite none was made, and none counts.
    fn read(&mut self, totals: &mut Totals) -> Result<()> {
        let Some(deferred) = &mut self.deferred else { return Ok(()) };
        let (updates, made) = deferred.read();
        for update in &updates[..made] {
            totals.add(update.losses);
        }
        let Some(refused) = updates.get(made) else { return Ok(()) };
        self.moments.steps -= (updates.len() - made) as i64;
        self.progress = refused.before;
        Ok(refused.refusal()?)
    }
}
