//! The one training loop, over windows or a stream of batches.

use anyhow::Result;

use super::deferred::Deferred;
use super::group::{Group, Part, Whole};
use super::optimizer::{self, Moments};
use super::settings::Training;
use super::update::{Immediate, Update};
use crate::data::{Batch, Progress, Source};
use crate::model::{Composite, Losses, Traces, Weights};
use crate::stop::caught;

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
    /// Whether the processes of a group had got different weights, and have those of process 0 again.
    pub drifted: bool,
}

/// How to train.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    pub training: &'a Training,
    pub until: Until,
    pub report_every: i64,
    /// The processes that train together.
    pub group: Option<&'a Group>,
}

/// The totals since the last report.
#[derive(Default)]
struct Totals {
    updates: usize,
    losses: Losses,
    /// Whether `losses` are those of all processes of the group.
    of_all: bool,
    /// Whether the processes had got different weights, and have those of process 0 again.
    drifted: bool,
    learning_rate: f64,
    /// The losses of the last update that was read; in a group those of this process's windows.
    latest: Losses,
}

impl Totals {
    /// Report and start again. After an error (Ctrl-C) in the observer the totals remain, for another attempt.
    fn report(&mut self, progress: Progress, observer: &mut dyn Observer) -> Result<()> {
        let &mut Self { losses, learning_rate, drifted, .. } = self;
        observer.on_report(&Report { progress, losses, learning_rate, drifted })?;
        *self = Self { learning_rate: self.learning_rate, latest: self.latest, ..Self::default() };
        Ok(())
    }

    fn add(&mut self, losses: Losses) {
        self.updates += 1;
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
    pub fn run(&mut self, source: &mut Source<'_>, plan: Plan<'_>, observer: &mut dyn Observer) -> Result<()> {
        let device = self.model.options().1;
        let _stream = self.deferred.as_mut().and_then(|deferred| {
            deferred.forget();
            deferred.enter(device)
        });
        let mut totals = Totals::default();
        // libtorch's errors come as panics.
        let outcome = caught(|| self.passes(source, plan, observer, &mut totals));
        // However it ended, every update is reported.
        let outcome = outcome.and(self.read(&mut totals));
        let outcome = match plan.group {
            None => outcome,
            Some(group) => group.end(outcome),
        };
        let reported = if totals.updates == 0 { Ok(()) } else { self.report(plan.group, &mut totals, observer) };
        outcome.and(reported)
    }

    fn passes(
        &mut self,
        source: &mut Source<'_>,
        plan: Plan<'_>,
        observer: &mut dyn Observer,
        totals: &mut Totals,
    ) -> Result<()> {
        let Plan { training, until, report_every, group } = plan;
        let is_done = |progress: Progress| matches!(until, Until::Step(end) if progress.step >= end);
        while !is_done(self.progress) {
            let batch = source.next(self.progress)?;
            let whole = match group {
                None => None,
                Some(group) => Some(group.vote(Ok(Part::of(&self.model, batch.as_ref())))?),
            };
            if whole.map_or(batch.is_none(), |whole| whole.rows.of == 0) {
                if self.progress.batch == 0 {
                    // An empty pass.
                    return Ok(());
                }
                self.end_pass();
                if until == Until::Pass {
                    return Ok(());
                }
                continue;
            }
            self.update(batch.as_ref(), whole, training, totals)?;
            let reports = self.progress.step % report_every == 0;
            if reports || self.deferred.as_ref().is_some_and(Deferred::is_due) {
                self.read(totals)?;
            }
            if reports {
                self.report(group, totals, observer)?;
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
    fn update(
        &mut self,
        batch: Option<&Batch>,
        whole: Option<Whole<'_>>,
        training: &Training,
        totals: &mut Totals,
    ) -> Result<()> {
        let update = Update::new(&self.model, training, &self.gradients, &self.moments, self.progress, whole);
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

    /// Give all processes of a group the weights, moments and progress of process 0.
    pub fn replicate(&mut self, group: &Group) -> Result<()> {
        let Progress { step, epoch, batch } = self.progress;
        let [steps, step, epoch, batch] = group.first([self.moments.steps, step, epoch, batch])?;
        self.moments.steps = steps;
        self.progress = Progress { step, epoch, batch };
        for flat in [&self.model.weights.flat, &self.moments.first, &self.moments.second] {
            group.copy_first(flat)?;
        }
        self.model.weights_changed();
        Ok(())
    }

    fn report(&mut self, group: Option<&Group>, totals: &mut Totals, observer: &mut dyn Observer) -> Result<()> {
        if let Some(group) = group {
            self.unite(group, totals)?;
        }
        totals.report(self.progress, observer)
    }

    /// Make the totals those of all processes. Their weights must be the same; processors of several kinds round differently,
    /// so that they slowly drift apart.
    fn unite(&mut self, group: &Group, totals: &mut Totals) -> Result<()> {
        if totals.of_all || !group.is_reachable() {
            return Ok(());
        }
        let same;
        (totals.losses, same) = group.total(&totals.losses, optimizer::checksum(&self.model.weights.flat))?;
        totals.of_all = true;
        if !same {
            self.replicate(group)?;
            totals.drifted = true;
        }
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
