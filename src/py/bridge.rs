//! Calls from the engine into Python: Ctrl-C, and the observer of a training.

use std::time::{Duration, Instant};

use anyhow::Result;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::data::Progress;
use crate::model::Losses;
use crate::train::{Observer, Report};

/// The shortest time between two checks for Ctrl-C; a batch that takes longer is checked after it.
const SIGNALS: Duration = Duration::from_millis(10);
/// The shortest time between two reports of progress.
const PROGRESS: Duration = Duration::from_millis(100);

/// How Python wants a pass over windows: windows in a batch, threads, and what to call with the number of windows that are
/// done and that of all.
#[derive(FromPyObject)]
pub struct Inference {
    pub batch_size: i64,
    pub num_threads: Option<i32>,
    pub on_rows: Option<Py<PyAny>>,
}

/// Checks for Ctrl-C, and reports to Python: a training to its observer, a pass over windows to a function.
pub struct Bridge {
    observer: Option<Py<PyAny>>,
    signals: Instant,
    progress: Instant,
}

impl Bridge {
    pub fn new(observer: Option<Py<PyAny>>) -> Self {
        let now = Instant::now();
        Self { observer, signals: now, progress: now }
    }

    pub fn pause(&mut self) -> Result<()> {
        if self.signals.elapsed() >= SIGNALS {
            Python::attach(|py| py.check_signals())?;
            self.signals = Instant::now();
        }
        Ok(())
    }

    /// `done` of `all` windows are done.
    pub fn on_rows(&mut self, done: usize, all: usize) -> Result<()> {
        self.pause()?;
        let due = done == all || self.progress.elapsed() >= PROGRESS;
        if let Some(on_rows) = self.observer.as_ref().filter(|_| due) {
            Python::attach(|py| on_rows.call1(py, (done, all)))?;
            self.progress = Instant::now();
        }
        Ok(())
    }
}

impl Observer for Bridge {
    fn on_step(&mut self, step: i64, losses: &Losses) -> Result<()> {
        self.pause()?;
        if let Some(observer) = self.observer.as_ref().filter(|_| self.progress.elapsed() >= PROGRESS) {
            Python::attach(|py| observer.call_method1(py, "on_progress", (step, losses_dict(py, losses)?)))?;
            self.progress = Instant::now();
        }
        Ok(())
    }

    fn on_report(&mut self, report: &Report) -> Result<()> {
        if let Some(observer) = &self.observer {
            let Progress { step, epoch, .. } = report.progress;
            Python::attach(|py| {
                let losses = losses_dict(py, &report.losses)?;
                observer.call_method1(py, "on_report", (step, epoch, losses, report.learning_rate))?;
                if report.drifted {
                    observer.call_method1(py, "on_drift", (step,))?;
                }
                PyResult::Ok(())
            })?;
        }
        Ok(())
    }
}

/// The mean of each loss, by name.
pub fn losses_dict<'py>(py: Python<'py>, losses: &Losses) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, loss) in losses.named() {
        dict.set_item(name, loss.mean())?;
    }
    Ok(dict)
}
