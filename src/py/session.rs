//! One training of a core on one source of batches.

use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use pyo3::prelude::*;
use tch::Tensor;

use super::arrays::{Column, Labels};
use super::bridge::Bridge;
use super::errors::detached;
use super::group::Group;
use super::model::{Core, conversion};
use crate::data::{self, Batch, Conversion, Order, Share, Source, Stream, Windows};
use crate::error::Error;
use crate::threads::Threads;
use crate::train::{Plan, Trainer, Training, Until};

/// Windows as Python passes them: past, future, labels.
type Items<'py> = (Column<'py>, Option<Column<'py>>, Option<Labels<'py>>);

/// What one run leaves for the next.
#[derive(Default)]
struct Kept {
    begun: bool,
    /// Whether the present pass over a stream has ended here.
    ended: bool,
    /// Past and future on the device, if they fit there.
    placed: [Option<Tensor>; 2],
}

/// One training of a core on one source of batches.
#[pyclass(frozen, module = "backcast._core")]
pub struct Session {
    core: Py<Core>,
    /// A tuple of `Items`, or a callable that returns the next one, and None at the end of a pass.
    source: Py<PyAny>,
    training: Training,
    report_every: i64,
    observer: Py<PyAny>,
    check: bool,
    num_threads: Option<i32>,
    group: Option<Py<Group>>,
    /// The batches of an epoch, if each process of the group has windows of its own.
    batches: Option<i64>,
    kept: Mutex<Kept>,
}

#[pymethods]
impl Session {
    #[new]
    #[pyo3(signature = (core, source, training, report_every, observer, *, check, num_threads, group=None, batches=None))]
    #[allow(clippy::too_many_arguments, reason = "Python passes each by name")]
    fn new(
        core: Py<Core>,
        source: Py<PyAny>,
        training: Training,
        report_every: i64,
        observer: Py<PyAny>,
        check: bool,
        num_threads: Option<i32>,
        group: Option<Py<Group>>,
        batches: Option<i64>,
    ) -> Self {
        let kept = Mutex::default();
        Self { core, source, training, report_every, observer, check, num_threads, group, batches, kept }
    }

    /// Train to update `until`, or to the end of the present pass. The next call continues from there.
    fn run(&self, py: Python<'_>, until: Option<i64>) -> PyResult<()> {
        let until = until.map_or(Until::Pass, Until::Step);
        let source = self.source.bind(py);
        if source.is_callable() {
            return detached(py, || {
                self.training(|trainer, kept, bridge| {
                    let to = conversion(&trainer.model);
                    let mut next = |step| self.next(step, to);
                    let stream = Stream { next: &mut next, ended: &mut kept.ended };
                    self.train(trainer, &mut Source::Stream(stream), until, bridge)
                })
            });
        }
        let (past, future, labels): Items<'_> = source.extract()?;
        let (past, future, labels) = (past.borrow(), future.as_ref().map(Column::borrow), labels.map(Labels::tensor));
        detached(py, move || {
            self.training(|trainer, kept, bridge| {
                let mut windows = Windows { past, future, labels, conversion: conversion(&trainer.model) };
                self.prepare(&mut windows, trainer, kept, until, bridge)?;
                let Training { batch_size, seed, .. } = self.training;
                self.train(trainer, &mut Source::windows(&windows, batch_size, seed, self.share()), until, bridge)
            })
        })
    }
}

impl Session {
    /// Hold the core for one run.
    fn training(&self, run: impl FnOnce(&mut Trainer, &mut Kept, &mut Bridge) -> Result<()>) -> Result<()> {
        let mut trainer = self.core.get().lock()?;
        let _threads = Threads::limit(self.num_threads, trainer.model.encoder().own_kernels());
        let _rounding = trainer.model.rounding();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let observer = Python::attach(|py| self.observer.clone_ref(py));
        run(&mut trainer, &mut kept, &mut Bridge::new(Some(observer)))
    }

    fn train(&self, trainer: &mut Trainer, source: &mut Source<'_>, until: Until, bridge: &mut Bridge) -> Result<()> {
        let group = self.group.as_ref().map(|group| &group.get().0);
        let plan = Plan { training: &self.training, until, report_every: self.report_every, group };
        trainer.run(source, plan, bridge)
    }

    /// What this process takes of each batch of windows.
    fn share(&self) -> Share {
        match (&self.group, self.batches) {
            (None, _) => Share::Whole,
            (Some(_), Some(batches)) => Share::Own { batches },
            (Some(group), None) => group.get().0.share(),
        }
    }

    /// Before the first update: place the windows on the device, and check them. Later runs use what was placed.
    fn prepare(
        &self,
        windows: &mut Windows<'_>,
        trainer: &mut Trainer,
        kept: &mut Kept,
        until: Until,
        bridge: &mut Bridge,
    ) -> Result<()> {
        if kept.begun {
            windows.past.placed = kept.placed[0].as_ref().map(Tensor::shallow_clone);
            if let Some(future) = &mut windows.future {
                future.placed = kept.placed[1].as_ref().map(Tensor::shallow_clone);
            }
            return Ok(());
        }
        if windows.is_empty() {
            let (expected, got) = ("at least one window".to_owned(), "none".to_owned());
            return Err(Error::Data { name: windows.past.name.clone(), expected, got }.into());
        }
        windows.place();
        if self.check {
            windows.check(self.training.batch_size, || bridge.pause())?;
        }
        let placed = |column: &data::Column<'_>| column.placed.as_ref().map(Tensor::shallow_clone);
        kept.placed = [placed(&windows.past), windows.future.as_ref().and_then(placed)];
        kept.begun = true;
        if until == Until::Pass && trainer.progress.batch > 0 {
            // These windows get a whole pass of their own.
            trainer.end_pass();
        }
        Ok(())
    }

    /// The next batch of a stream, all of it checked.
    fn next(&self, step: i64, conversion: Conversion) -> Result<Option<Batch>> {
        Python::attach(|py| {
            let given = self.source.bind(py).call0()?;
            if given.is_none() {
                return Ok(None);
            }
            let (past, future, labels): Items<'_> = given.extract()?;
            let (past, future) = (past.borrow(), future.as_ref().map(Column::borrow));
            let windows = Windows { past, future, labels: labels.map(Labels::tensor), conversion };
            // The order of rows decides that of the sums.
            let order = Order::new(windows.len(), windows.len().max(1), self.training.seed, step);
            py.detach(move || order.batch(0).map(|rows| windows.batch(rows)).transpose())
        })
    }
}
