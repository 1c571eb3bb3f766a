//! The model, behind a lock that no caller waits for.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, TryLockError};

use anyhow::Result;
use numpy::{PyArrayDyn, PyReadonlyArrayDyn};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tch::{Cuda, Device, Kind, Tensor};

use super::arrays::{Column, Labels, Numbers, Rows, borrowed, numbers};
use super::bridge::{Bridge, Inference, losses_dict};
use super::errors::detached;
use super::group::Group;
use crate::data::{self, Align, Conversion, Frames, Progress, Share, Windows, in_order};
use crate::error::Error;
use crate::libtorch::{self, Borrowed, Precision};
use crate::lstm::State;
use crate::model::{Architecture, Composite, Init, Pass, Which, check_shapes};
use crate::random::{Draws, Purpose, stream};
use crate::threads::{Threads, forked};
use crate::train::{self, Moments, Trainer, Training};
use crate::words::Words;

type Array<'py> = Bound<'py, PyArrayDyn<f32>>;
type Arrays<'py> = HashMap<String, PyReadonlyArrayDyn<'py, f32>>;

/// A composite model and its training.
#[pyclass(frozen, module = "backcast._core")]
pub struct Core {
    trainer: Mutex<Trainer>,
}

impl Core {
    pub fn lock(&self) -> Result<MutexGuard<'_, Trainer>> {
        let guard = match self.trainer.try_lock() {
            Ok(guard) => guard,
            // After a panic the weights are those of a finished update, since an update changes them in one step.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(Error::Busy.into()),
        };
        let device = guard.model.options().1;
        if forked() && device != Device::Cpu {
            let expected = "\"cpu\" in a process that was forked (or start processes with \"spawn\")".to_owned();
            return Err(Error::Device { expected, got: libtorch::device_name(device) }.into());
        }
        Ok(guard)
    }

    /// Use the model as it is, on `num_threads` threads.
    fn infer<T: Send>(
        &self,
        py: Python<'_>,
        num_threads: Option<i32>,
        work: impl FnOnce(&Composite) -> Result<T> + Send,
    ) -> PyResult<T> {
        detached(py, move || {
            let trainer = self.lock()?;
            let _threads = Threads::limit(num_threads, trainer.model.encoder().own_kernels());
            let _rounding = trainer.model.rounding();
            work(&trainer.model)
        })
    }
}

#[pymethods]
impl Core {
    /// A model with these weights, or with new ones.
    #[new]
    #[pyo3(signature = (architecture, init, device, precision, weights=None))]
    fn new(
        py: Python<'_>,
        architecture: Architecture,
        init: Init,
        device: String,
        precision: String,
        weights: Option<Arrays<'_>>,
    ) -> PyResult<Self> {
        let weights = weights.as_ref().map(borrow);
        detached(py, move || {
            let device = libtorch::device(&device)?;
            let precision = Precision::parse(&precision, device)?;
            let model = match weights {
                None => Composite::new(architecture, init, device, precision)?,
                Some(weights) => {
                    check_shapes(&architecture, weights.iter().map(|(name, w)| (name.clone(), w.size())).collect())?;
                    let model = Composite::zeros(architecture, device, precision)?;
                    model.assign(&copies(weights))?;
                    model
                }
            };
            Ok(Self { trainer: Mutex::new(Trainer::new(model)) })
        })
    }

    #[getter]
    fn device(&self, py: Python<'_>) -> PyResult<String> {
        detached(py, || Ok(libtorch::device_name(self.lock()?.model.options().1)))
    }

    /// Whether its updates are recorded as a CUDA graph.
    #[getter]
    fn records(&self, py: Python<'_>) -> PyResult<bool> {
        detached(py, || Ok(self.lock()?.records()))
    }

    /// (updates made, completed epochs, batches of the present epoch seen)
    #[getter]
    fn progress(&self, py: Python<'_>) -> PyResult<(i64, i64, i64)> {
        detached(py, || {
            let Progress { step, epoch, batch } = self.lock()?.progress;
            Ok((step, epoch, batch))
        })
    }

    fn weights<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        dict(py, detached(py, || Ok(numbers::<f32>(self.lock()?.model.weights.named())))?)
    }

    fn set_weights(&self, py: Python<'_>, arrays: Arrays<'_>) -> PyResult<()> {
        let arrays = borrow(&arrays);
        detached(py, move || self.lock()?.model.assign(&copies(arrays)))
    }

    /// The optimizer's moments by the names of their weights, and the progress of the training: (first, second, progress).
    fn training_state<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyDict>, Bound<'py, PyDict>, [i64; 4])> {
        let (first, second, progress) = detached(py, || {
            let trainer = self.lock()?;
            let (moments, progress, weights) = (&trainer.moments, trainer.progress, &trainer.model.weights);
            let [first, second] = [&moments.first, &moments.second].map(|flat| numbers::<f32>(weights.names(flat)));
            Ok((first, second, [moments.steps, progress.step, progress.epoch, progress.batch]))
        })?;
        Ok((dict(py, first)?, dict(py, second)?, progress))
    }

    /// Restore a training's state; without moments they start at zero.
    fn set_training_state(
        &self,
        py: Python<'_>,
        first: Option<Arrays<'_>>,
        second: Option<Arrays<'_>>,
        progress: [i64; 4],
    ) -> PyResult<()> {
        let (first, second) = (first.as_ref().map(borrow), second.as_ref().map(borrow));
        detached(py, move || {
            let mut trainer = self.lock()?;
            let mut moments = Moments::zeros_like(&trainer.model.weights.flat);
            for (flat, arrays) in [(&moments.first, first), (&moments.second, second)] {
                if let Some(arrays) = arrays {
                    trainer.model.weights.fill(flat, &copies(arrays))?;
                }
            }
            let [steps, step, epoch, batch] = progress;
            moments.steps = steps;
            trainer.moments = moments;
            trainer.progress = Progress { step, epoch, batch };
            Ok(())
        })
    }

    /// Take over the weights, moments and progress of a group's process 0.
    fn replicate(&self, py: Python<'_>, group: Bound<'_, Group>) -> PyResult<()> {
        let group = &group.get().0;
        detached(py, || group.end(self.lock())?.replicate(group))
    }

    /// One training pass over all windows as one batch: (losses, gradients, what each decoder was fed).
    #[allow(clippy::too_many_arguments, reason = "Python passes each by name")]
    fn gradients<'py>(
        &self,
        py: Python<'py>,
        past: Column<'_>,
        future: Option<Column<'_>>,
        labels: Option<Labels<'_>>,
        training: Training,
        probability: f64,
        double: bool,
    ) -> PyResult<(Bound<'py, PyDict>, Bound<'py, PyDict>, Bound<'py, PyDict>)> {
        let (past, future, labels) = (past.borrow(), future.as_ref().map(Column::borrow), labels.map(Labels::tensor));
        let (losses, gradients, fed) = detached(py, move || {
            let trainer = self.lock()?;
            let (kind, precision) =
                if double { (Kind::Double, Precision::Fp32) } else { (Kind::Float, trainer.model.precision) };
            let model = trainer.model.to((kind, trainer.model.options().1), precision);
            let _rounding = model.rounding();
            let conversion = conversion(&model);
            let windows = Windows { past, future, labels, conversion };
            let batch = windows.batch(&(0..windows.len()).collect::<Vec<_>>())?;
            let draws = &mut Draws::new(stream(training.seed, Purpose::Update, 0), None);
            let (loss_weights, dropout, head_only) = (training.loss_weights, training.dropout, training.head_only);
            let (whole, decoders_done) = (None, &|| ());
            let mut pass =
                Pass { loss_weights, scale: 1.0, dropout, probability, head_only, draws, whole, decoders_done };
            let (losses, gradients, traces) = train::gradients(&model, &batch, &mut pass)?;
            let fed =
                Which::ALL.into_iter().filter_map(|which| Some((which.name(), traces.fed(which)?.transpose(0, 1))));
            Ok((losses, numbers::<f64>(gradients.named()), numbers::<f64>(fed)))
        })?;
        Ok((losses_dict(py, &losses)?, dict(py, gradients)?, dict(py, fed)?))
    }

    /// (n, H): h of the top layer after the "last" step, or its "mean" over all; or (n, 2 L H): the "full" state.
    fn encode<'py>(&self, py: Python<'py>, past: Column<'_>, what: &str, inference: Inference) -> PyResult<Array<'py>> {
        let past = past.borrow();
        let all = self.infer(py, inference.num_threads, move |model| {
            let (hidden, layers) = (model.architecture.hidden_size, model.architecture.num_layers);
            let width = if what == "full" { 2 * layers * hidden } else { hidden };
            by_batch(&past, model, inference, &[past.len(), width], |frames| match what {
                "full" => Ok(flatten(&model.state(frames))),
                "mean" => Ok(model.mean_embedding(frames)),
                _ => Ok(Composite::embedding(&model.state(frames))),
            })
        })?;
        all.into_array(py)
    }

    /// (n, steps, D) in the order of emission, from whole states (n, 2 L H).
    fn decode<'py>(
        &self,
        py: Python<'py>,
        states: PyReadonlyArrayDyn<'_, f32>,
        decoder: &str,
        steps: i64,
        inference: Inference,
    ) -> PyResult<Array<'py>> {
        let states = borrowed(&states);
        let all = self.infer(py, inference.num_threads, move |model| {
            let which = Which::parse(decoder)?;
            model.feedback(which)?;
            let n = states.size()[0];
            let mut all = Rows::new(&[n, steps, model.architecture.frame_size]);
            let mut bridge = Bridge::new(inference.on_rows);
            for first in (0..n).step_by(inference.batch_size as usize) {
                bridge.on_rows(first as usize, n as usize)?;
                let state = unflatten(model, &states.narrow(0, first, inference.batch_size.min(n - first)));
                all.push(&model.decode(which, &state, steps)?.transpose(0, 1));
            }
            bridge.on_rows(n as usize, n as usize)?;
            Ok(all.numbers())
        })?;
        all.into_array(py)
    }

    /// (n, steps, D) in the order of emission, from pasts; by default the number of steps of the longest past.
    #[allow(clippy::too_many_arguments, reason = "Python passes each by name")]
    fn generate<'py>(
        &self,
        py: Python<'py>,
        past: Column<'_>,
        decoder: &str,
        steps: Option<i64>,
        inference: Inference,
    ) -> PyResult<Array<'py>> {
        let past = past.borrow();
        let all = self.infer(py, inference.num_threads, move |model| {
            let which = Which::parse(decoder)?;
            model.feedback(which)?;
            let shape = [past.len(), steps.unwrap_or(past.longest()), model.architecture.frame_size];
            by_batch(&past, model, inference, &shape, |frames| {
                let steps = steps.unwrap_or(frames.steps());
                Ok(model.decode(which, &model.state(frames), steps)?.transpose(0, 1))
            })
        })?;
        all.into_array(py)
    }

    /// h, c and gates of every layer at every step, by part: h and c (n, T, L, H), gates (n, T, L, 4H).
    fn trace<'py>(
        &self,
        py: Python<'py>,
        past: Column<'_>,
        steps: i64,
        inference: Inference,
    ) -> PyResult<Bound<'py, PyDict>> {
        let past = past.borrow();
        let parts = self.infer(py, inference.num_threads, move |model| {
            let &Architecture { hidden_size, num_layers, .. } = &model.architecture;
            let mut parts: Vec<(&'static str, [Rows; 3])> = Vec::new();
            each_batch(&past, model, inference, |frames| {
                for (p, (name, tensors)) in model.trace(frames, [frames.steps(), steps])?.into_iter().enumerate() {
                    let steps = tensors[0].size()[1];
                    let every = [1, 1, 4].map(|width| [past.len(), steps, num_layers, width * hidden_size]);
                    if p == parts.len() {
                        parts.push((name, every.each_ref().map(|shape| Rows::new(shape))));
                    }
                    for (rows, tensor) in parts[p].1.iter_mut().zip(tensors) {
                        rows.push(&tensor);
                    }
                }
                Ok(())
            })?;
            Ok(parts.into_iter().map(|(name, rows)| (name, rows.map(Rows::numbers))).collect::<Vec<_>>())
        })?;
        let all = PyDict::new(py);
        for (name, numbers) in parts {
            let [h, c, gates] = numbers;
            all.set_item(name, (h.into_array(py)?, c.into_array(py)?, gates.into_array(py)?))?;
        }
        Ok(all)
    }

    /// The probabilities of the classes, (n, K).
    fn classify<'py>(&self, py: Python<'py>, past: Column<'_>, inference: Inference) -> PyResult<Array<'py>> {
        let past = past.borrow();
        let all = self.infer(py, inference.num_threads, move |model| {
            let shape = [past.len(), model.architecture.classes.unwrap_or_default()];
            by_batch(&past, model, inference, &shape, |frames| Ok(model.classify(frames)))
        })?;
        all.into_array(py)
    }

    /// The losses as at inference, by decoder; with a group those of the windows of all its processes, which are its own or
    /// shared by all.
    #[pyo3(signature = (past, future, labels, inference, group=None, *, shared=true))]
    #[allow(clippy::too_many_arguments, reason = "Python passes each by name")]
    fn losses<'py>(
        &self,
        py: Python<'py>,
        past: Column<'_>,
        future: Option<Column<'_>>,
        labels: Option<Labels<'_>>,
        inference: Inference,
        group: Option<Bound<'_, Group>>,
        shared: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let (past, future, labels) = (past.borrow(), future.as_ref().map(Column::borrow), labels.map(Labels::tensor));
        let group = group.as_ref().map(|group| &group.get().0);
        let losses = self.infer(py, inference.num_threads, move |model| {
            let windows = Windows { past, future, labels, conversion: conversion(model) };
            let mut bridge = Bridge::new(inference.on_rows);
            let group = group.map(|group| (group, if shared { group.share() } else { Share::Whole }));
            train::evaluate(model, &windows, inference.batch_size, group, |done, all| bridge.on_rows(done, all))
        })?;
        losses_dict(py, &losses)
    }

    /// The mean loss of each window as at inference, by decoder: (n).
    fn losses_of_windows<'py>(
        &self,
        py: Python<'py>,
        past: Column<'_>,
        future: Option<Column<'_>>,
        inference: Inference,
    ) -> PyResult<Bound<'py, PyDict>> {
        let (past, future) = (past.borrow(), future.as_ref().map(Column::borrow));
        let losses = self.infer(py, inference.num_threads, move |model| {
            let windows = Windows { past, future, labels: None, conversion: conversion(model) };
            let mut all = [(); 2].map(|()| Rows::new(&[windows.len()]));
            let (mut bridge, n) = (Bridge::new(inference.on_rows), windows.len() as usize);
            for rows in in_order(windows.len(), inference.batch_size) {
                bridge.on_rows(rows[0] as usize, n)?;
                for (all, one) in all.iter_mut().zip(model.losses_of_windows(&windows.batch(&rows)?)?) {
                    if let Some(one) = one {
                        all.push(&one);
                    }
                }
            }
            bridge.on_rows(n, n)?;
            let exists = |which: &Which| model.architecture.feedback[*which as usize].is_some();
            let named = Which::ALL.into_iter().zip(all).filter(|(which, _)| exists(which));
            Ok(named.map(|(which, rows)| (which.name().to_owned(), rows.numbers())).collect())
        })?;
        dict(py, losses)
    }
}

/// The results of `work` on the pasts, batch by batch, one row per window.
fn by_batch(
    past: &data::Column<'_>,
    model: &Composite,
    inference: Inference,
    shape: &[i64],
    work: impl Fn(&Frames) -> Result<Tensor>,
) -> Result<Numbers<f32>> {
    let mut all = Rows::new(shape);
    each_batch(past, model, inference, |frames| {
        all.push(&work(frames)?);
        Ok(())
    })?;
    Ok(all.numbers())
}

/// Call `work` with the pasts, batch by batch.
fn each_batch(
    past: &data::Column<'_>,
    model: &Composite,
    inference: Inference,
    mut work: impl FnMut(&Frames) -> Result<()>,
) -> Result<()> {
    let mut bridge = Bridge::new(inference.on_rows);
    let (mut done, all) = (0, past.len() as usize);
    for rows in in_order(past.len(), inference.batch_size) {
        bridge.on_rows(done, all)?;
        work(&past.gather(&rows, Align::Right, conversion(model))?)?;
        done += rows.len();
    }
    bridge.on_rows(all, all)
}

pub fn conversion(model: &Composite) -> Conversion {
    let (kind, device) = model.options();
    Conversion { frame_size: model.architecture.frame_size, kind, device }
}

/// h of layers 0..L-1, then c of them: (B, 2 L H).
fn flatten(state: &State) -> Tensor {
    Tensor::cat(&[&state.h, &state.c], 0).transpose(0, 1).flatten(1, -1)
}

fn unflatten(model: &Composite, states: &Tensor) -> State {
    let (layers, hidden) = (model.architecture.num_layers, model.architecture.hidden_size);
    let (kind, device) = model.options();
    let both = states.to_device(device).to_kind(kind).view([-1, 2 * layers, hidden]).transpose(0, 1).contiguous();
    State { h: both.narrow(0, 0, layers), c: both.narrow(0, layers, layers) }
}

fn dict<T>(py: Python<'_>, named: Vec<(String, Numbers<T>)>) -> PyResult<Bound<'_, PyDict>>
where
    T: tch::kind::Element + numpy::Element + Default + Clone,
{
    let dict = PyDict::new(py);
    for (name, numbers) in named {
        dict.set_item(name, numbers.into_array(py)?)?;
    }
    Ok(dict)
}

fn borrow<'a>(arrays: &'a Arrays<'_>) -> Vec<(String, Borrowed<'a>)> {
    arrays.iter().map(|(name, array)| (name.clone(), borrowed(array))).collect()
}

fn copies(arrays: Vec<(String, Borrowed<'_>)>) -> Vec<(String, Tensor)> {
    arrays.into_iter().map(|(name, array)| (name, array.copy())).collect()
}

/// Refuse arrays of other names or shapes than the weights of an architecture; nothing of their size is made.
#[pyfunction]
#[pyo3(name = "check_shapes")]
pub fn check_weights(py: Python<'_>, architecture: Architecture, shapes: HashMap<String, Vec<i64>>) -> PyResult<()> {
    detached(py, move || Ok(check_shapes(&architecture, shapes)?))
}

/// The number of CUDA devices that libtorch sees.
#[pyfunction]
pub fn cuda_device_count(py: Python<'_>) -> PyResult<i64> {
    detached(py, || Ok(Cuda::device_count()))
}
