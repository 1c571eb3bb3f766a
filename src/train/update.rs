//! The one update of the weights: gradients, norm, clipping, optimizer.
//!
//! A `Readback` decides when the host learns the losses and the norm: `Immediate` waits for them and refuses an update that
//! is not finite; `deferred` leaves that decision to the device and reads the numbers later.

use anyhow::Result;
use tch::{Kind, Tensor};

use super::group::{Whole, poison};
use super::optimizer::{self, Moments, Numbers, Step};
use super::settings::Training;
use crate::data::{Batch, Progress};
use crate::error::Error;
use crate::libtorch::Precision;
use crate::model::{Composite, Losses, Pass, Traces, Unread, Weights};
use crate::random::{Draws, Purpose, stream};
use crate::stop::Asking;

/// The weights that an update changes, by their place in the flat tensor, and their moments.
#[derive(Debug)]
pub struct Part {
    pub first: i64,
    pub size: i64,
    pub moments: Moments,
}

/// What an update is made of, besides its batch.
#[derive(Debug)]
pub struct Update<'a> {
    pub model: &'a Composite,
    pub training: &'a Training,
    pub gradients: &'a Weights,
    pub part: Part,
    pub progress: Progress,
    /// The batch of all processes, if several train this model.
    pub whole: Option<Whole<'a>>,
}

/// The part of the gradients that an update uses, and what is known about it.
#[derive(Debug)]
pub struct Computed<'a> {
    pub losses: Losses<Unread>,
    pub gradients: &'a mut Tensor,
    /// What the gradients were multiplied by.
    pub scale: f64,
}

/// How the host learns what an update did.
pub trait Readback {
    type Seen;

    /// Take in the losses and gradients: check them, clip them, and give the optimizer its numbers.
    fn observe(&mut self, update: &Update<'_>, computed: Computed<'_>) -> Result<(Self::Seen, Numbers<'_>)>;
}

impl<'a> Update<'a> {
    pub fn new(
        model: &'a Composite,
        training: &'a Training,
        gradients: &'a Weights,
        moments: &Moments,
        progress: Progress,
        whole: Option<Whole<'a>>,
    ) -> Self {
        let all = (0, model.weights.flat.size()[0]);
        let (first, size) = if training.head_only { model.weights.head() } else { all };
        let part = Part { first, size, moments: moments.next(first, size) };
        Self { model, training, gradients, part, progress, whole }
    }

    pub fn learning_rate(&self) -> f64 {
        let Training { learning_rate, schedule, end, warmup, .. } = *self.training;
        learning_rate * schedule.factor(self.progress.step, end, warmup)
    }

    /// Make the update; the weights stay as they were when it is refused. Only a group may have a part without a batch.
    pub fn make<R: Readback>(&self, batch: Option<&Batch>, traces: &mut Traces, readback: &mut R) -> Result<R::Seen> {
        let Self { model, training, .. } = self;
        let [mut weights, mut gradients] =
            [&model.weights.flat, &self.gradients.flat].map(|flat| flat.narrow(0, self.part.first, self.part.size));
        let scale = loss_scale(model, self.numbers_in(batch));
        let losses = match self.whole {
            None => self.pass(batch, scale, traces, &|| ())?,
            Some(whole) => {
                let pass = |decoders_done: &dyn Fn()| {
                    let losses = self.pass(batch, scale, traces, decoders_done)?;
                    losses.named().for_each(|(_, loss)| poison(&gradients, loss.sum.shallow_clone()));
                    Ok(losses)
                };
                whole.group.add_up(&gradients, model.weights.decoders(), pass)?
            }
        };
        let computed = Computed { losses, gradients: &mut gradients, scale };
        let (seen, numbers) = readback.observe(self, computed)?;
        let step = Step { weight_decay: training.weight_decay, numbers };
        let _whole = Asking::nobody();
        let before = self.is_wild().then(|| self.numbers(&weights).map(Tensor::copy));
        optimizer::update(training.optimizer, &mut weights, &gradients, &self.part.moments, step)?;
        if let Some(before) = before {
            let value = weights.abs().aminmax(None, false).1.double_value(&[]);
            if !value.is_finite() {
                for (now, before) in self.numbers(&weights).into_iter().zip(before) {
                    now.shallow_clone().copy_(&before);
                }
                return Err(Error::Diverged { what: "a weight", value, step: self.progress.step + 1 }.into());
            }
        }
        model.weights_changed();
        Ok(seen)
    }

    /// The losses of this process's windows, whose gradients are written.
    fn pass(
        &self,
        batch: Option<&Batch>,
        scale: f64,
        traces: &mut Traces,
        decoders_done: &dyn Fn(),
    ) -> Result<Losses<Unread>> {
        let Self { model, training, gradients, .. } = self;
        let Some(batch) = batch else {
            let _ = gradients.flat.shallow_clone().zero_();
            let (kind, device) = (Kind::Double, gradients.flat.device());
            return Ok(model.counts(None).map(|&count| Unread { sum: Tensor::zeros([], (kind, device)), count }));
        };
        let step = self.progress.step;
        let gone = step as f64 / training.end.max(1) as f64;
        let rng = stream(training.seed, Purpose::Update, step);
        let mut pass = Pass {
            loss_weights: training.loss_weights,
            scale,
            dropout: training.dropout,
            probability: 1.0 - gone.min(1.0),
            head_only: training.head_only,
            draws: &mut Draws::new(rng, self.whole.map(|whole| whole.rows)),
            whole: self.whole.map(|whole| whole.counts(model)),
            decoders_done,
        };
        model.gradients(batch, &mut pass, traces, gradients)
    }

    /// The numbers of the whole batch, about.
    fn numbers_in(&self, batch: Option<&Batch>) -> f64 {
        match (self.whole, batch) {
            (Some(whole), _) => whole.rows.of.max(whole.counts[0].max(whole.counts[1]) as i64) as f64,
            (None, Some(batch)) => numbers_in(self.model, batch),
            (None, None) => 0.0,
        }
    }

    /// Whether a finite gradient may make a weight that is not finite: other rates would take more updates than anyone makes.
    fn is_wild(&self) -> bool {
        let Training { learning_rate: rate, weight_decay: decay, .. } = *self.training;
        rate >= 1e3 || decay >= 1.0
    }

    /// All that an update changes.
    fn numbers<'t>(&'t self, weights: &'t Tensor) -> [&'t Tensor; 3] {
        [weights, &self.part.moments.first, &self.part.moments.second]
    }
}

/// Waits for each update.
#[derive(Debug)]
pub struct Immediate;

impl Readback for Immediate {
    type Seen = Losses;

    fn observe(&mut self, update: &Update<'_>, computed: Computed<'_>) -> Result<(Losses, Numbers<'_>)> {
        let losses = computed.losses.map(Unread::read);
        let norm = optimizer::norm(computed.gradients);
        all_finite(&losses, norm, update.progress.step)?;
        if let Some(max_norm) = update.training.max_grad_norm {
            optimizer::clip(computed.gradients, norm, max_norm);
        }
        Ok((losses, Numbers::Host { rate: update.learning_rate() }))
    }
}

/// A power of two that brings gradients of a mean over all numbers to about 1, so that float16 holds them.
pub fn loss_scale(model: &Composite, numbers: f64) -> f64 {
    match model.precision {
        Precision::Fp16 => numbers.max(1.0).log2().round().exp2(),
        _ => 1.0,
    }
}

/// The numbers that the losses of a batch are means over.
pub fn numbers_in(model: &Composite, batch: &Batch) -> f64 {
    let (steps, windows) = (batch.past.steps(), batch.past.batch());
    let numbers = if model.architecture.classes.is_some() { 1 } else { model.architecture.frame_size };
    (steps * windows * numbers) as f64
}

/// Refuse an update if one of its numbers is not finite, and name that number.
pub fn all_finite(losses: &Losses, norm: f64, step: i64) -> Result<(), Error> {
    let losses = losses.named().map(|(_, loss)| ("the loss", loss.mean()));
    match losses.chain([("the gradient's norm", norm)]).find(|(_, value)| !value.is_finite()) {
        Some((what, value)) => Err(Error::Diverged { what, value, step: step + 1 }),
        None => Ok(()),
    }
}
