//! The composite model: one encoder, two decoders, a weighted sum of their losses; or an encoder and a softmax over classes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use tch::{Device, IndexOp, Kind, Tensor};

use super::architecture::{Architecture, Feedback, Init, Which};
use super::loss::{self, Losses, Unread};
use super::weights::Weights;
use super::{classifier, decoder, encoder};
use crate::data::{Batch, Frames};
use crate::error::Error;
use crate::libtorch::{Precision, Tf32};
use crate::lstm::{self, Back, Mode, Run, Stack, State, Steps, Trace};
use crate::random::Draws;
use crate::stop;

/// What a training pass needs besides the batch.
pub struct Pass<'a> {
    pub loss_weights: [f64; 2],
    /// The factor of the gradients, so that 16 bits hold them.
    pub scale: f64,
    pub dropout: f64,
    /// The probability of the truth in scheduled feedback.
    pub probability: f64,
    /// Whether the encoder stays fixed and gets no gradients.
    pub head_only: bool,
    pub draws: &'a mut Draws,
    /// What each loss is a mean over, if the batch is a part of a whole one.
    pub whole: Option<Losses<f64>>,
    /// Called when the decoders' gradients are complete, before the encoder's backward pass.
    pub decoders_done: &'a dyn Fn(),
}

/// Traces of the encoder and of the decoders, kept from one update to the next.
#[derive(Debug, Default)]
pub struct Traces {
    encoder: Trace,
    decoders: [Trace; 2],
    d_outputs: [Option<Tensor>; 2],
}

impl Traces {
    /// (T, B, D): what a decoder was fed in the last training pass.
    pub fn fed(&self, which: Which) -> Option<&Tensor> {
        self.decoders[which as usize].fed()
    }
}

/// The model of the paper's section 2.
#[derive(Debug)]
pub struct Composite {
    pub architecture: Architecture,
    pub precision: Precision,
    pub weights: Weights,
    /// A copy of the weights with matrices in 16 bits, if products have 16 bits.
    halved: Option<Weights>,
    /// Counts the changes of the weights; and the trace of the encoder's last pass.
    version: AtomicU64,
    kept: Mutex<Trace>,
}

impl Composite {
    pub fn new(architecture: Architecture, init: Init, device: Device, precision: Precision) -> Result<Self, Error> {
        architecture.check()?;
        architecture.check_size()?;
        let weights = Weights::draw(&architecture, init);
        Ok(Self::of(architecture, weights.flat.to_device(device), precision))
    }

    /// The same with zeros for weights, for those of a file: nothing is drawn.
    pub fn zeros(architecture: Architecture, device: Device, precision: Precision) -> Result<Self, Error> {
        architecture.check()?;
        architecture.check_size()?;
        let weights = Weights::zeros(&architecture, (Kind::Float, Device::Cpu));
        Ok(Self::of(architecture, weights.flat.to_device(device), precision))
    }

    /// A model with the weights in `flat`.
    fn of(architecture: Architecture, flat: Tensor, precision: Precision) -> Self {
        let kind = precision.of_products(flat.kind());
        let halved = (kind != flat.kind()).then(|| Weights::with_vectors(&architecture, flat.to_kind(kind), &flat));
        let (version, kept) = (AtomicU64::default(), Mutex::default());
        Self { weights: Weights::of(&architecture, flat), architecture, precision, halved, version, kept }
    }

    /// The same model in another kind, on another device, with products of another precision.
    #[must_use]
    pub fn to(&self, options: (Kind, Device), precision: Precision) -> Self {
        let flat = &self.weights.flat;
        let flat =
            if options == self.options() { stop::copy(flat) } else { flat.to_device(options.1).to_kind(options.0) };
        Self::of(self.architecture.clone(), flat, precision)
    }

    /// Assign `arrays`, all of them or none.
    pub fn assign(&self, arrays: &[(String, Tensor)]) -> Result<()> {
        self.weights.assign(arrays)?;
        self.weights_changed();
        Ok(())
    }

    /// Must be called whenever the numbers in `weights` change.
    pub fn weights_changed(&self) {
        self.version.fetch_add(1, Ordering::Relaxed);
        if let Some(halved) = &self.halved {
            halved.flat.shallow_clone().copy_(&self.weights.flat);
        }
    }

    /// The weights in the kind of the products.
    fn multiplied(&self) -> &Weights {
        self.halved.as_ref().unwrap_or(&self.weights)
    }

    /// The encoder in the kind of the products.
    pub fn encoder(&self) -> &Stack {
        &self.multiplied().encoder
    }

    /// While the result lives, CUDA rounds to the model's precision.
    #[must_use]
    pub fn rounding(&self) -> Option<Tf32> {
        self.options().1.is_cuda().then(|| Tf32::allow(self.precision == Precision::Tf32))
    }

    pub fn options(&self) -> (Kind, Device) {
        (self.weights.flat.kind(), self.weights.flat.device())
    }

    /// The decoder's feedback, or an error if the model has no such decoder.
    pub fn feedback(&self, which: Which) -> Result<Feedback, Error> {
        let have = self.architecture.decoders();
        self.architecture.feedback[which as usize].ok_or(Error::NoDecoder { asked: which.name(), have })
    }

    /// One forward and one backward pass. Returns the losses in training, and writes to `gradients` those of the weighted sum
    /// of the decoders' losses plus the classifier's, times the scale.
    pub fn gradients(
        &self,
        batch: &Batch,
        pass: &mut Pass<'_>,
        traces: &mut Traces,
        gradients: &Weights,
    ) -> Result<Losses<Unread>> {
        let (loss, weights) = (self.architecture.loss, self.multiplied());

        // The encoder squeezes the past into a state.
        let mut mode = Mode::Train { dropout: pass.dropout, draws: pass.draws };
        lstm::forward(vec![encoder::run(&weights.encoder, &batch.past, &mut traces.encoder)], &mut mode);
        let state = last(&traces.encoder);

        // Both decoders start from it.
        let targets = self.targets(batch)?;
        let truths = [0, 1].map(|w| decoder::truth(self.architecture.feedback[w]?, targets[w].as_ref()?));
        let [reconstruct, predict] = &mut traces.decoders;
        let mut runs = Vec::new();
        for (which, trace) in [(Which::Reconstruct, reconstruct), (Which::Predict, predict)] {
            let w = which as usize;
            if let (Some(stack), Some(target), Some(feedback)) =
                (&weights.decoders[w], &targets[w], self.architecture.feedback[w])
            {
                let Mode::Train { draws, .. } = &mut mode else { unreachable!("this is a training pass") };
                let (steps, truth) = (target.steps(), truths[w].as_ref());
                let feed = decoder::training_feed(feedback, loss, steps, truth, pass.probability, draws);
                let batch = batch.past.batch();
                runs.push(Run { stack, feed, initial: Some(state), batch, valid: None, version: None, trace });
            }
        }
        lstm::forward(runs, &mut mode);

        // The losses, and their gradients at all outputs at once: feedback carries none.
        let mut losses = Losses::default();
        let d_logits = self.labels(batch)?.map(|labels| {
            let whole = pass.whole.and_then(|whole| whole.classes);
            let (loss, d) =
                classifier::cross_entropy(logits(&traces.encoder), labels, batch.past.valid.as_ref(), whole);
            losses.classes = Some(loss);
            d * pass.scale
        });
        for (w, target) in targets.iter().enumerate() {
            if let (Some(target), Some(outputs)) = (target, traces.decoders[w].outputs()) {
                let d = &mut traces.d_outputs[w];
                if d.as_ref().is_none_or(|d| d.size() != outputs.size() || d.kind() != outputs.kind()) {
                    *d = Some(outputs.zeros_like());
                }
                let (weight, whole) =
                    (pass.scale * pass.loss_weights[w], pass.whole.and_then(|whole| whole.decoders[w]));
                losses.decoders[w] = d.as_mut().map(|d| loss.backward(outputs, target, weight, whole, d));
            }
        }

        // Back through the decoders; their gradients at the initial state add up and enter the encoder's last step.
        let Traces { encoder: encoder_trace, decoders, d_outputs } = traces;
        let mut backs = Vec::new();
        for (w, (trace, outputs)) in decoders.iter_mut().zip(&*d_outputs).enumerate() {
            if let (Some(stack), Some(gradients)) = (&weights.decoders[w], &gradients.decoders[w]) {
                let outputs = outputs.as_ref();
                backs.push(Back { stack, trace, valid: None, outputs, last: None, gradients, wants_initial: true });
            }
        }
        let d_state =
            lstm::backward(backs).into_iter().flatten().reduce(|sum, one| State { h: sum.h + one.h, c: sum.c + one.c });
        (pass.decoders_done)();
        let (stack, gradients) = (&weights.encoder, &gradients.encoder);
        match (&d_logits, &gradients.readout) {
            (Some(d_logits), Some(gradient)) if pass.head_only => {
                let top = encoder_trace.top().expect("a training pass keeps its trace");
                lstm::readout_backward(&top, d_logits, gradient);
            }
            _ => {
                let (last, logits) = (d_state.as_ref(), d_logits.as_ref());
                lstm::backward(vec![encoder::back(stack, &batch.past, encoder_trace, last, logits, gradients)]);
            }
        }
        Ok(losses)
    }

    /// What each loss is a mean over: the valid numbers of its target, or the windows. None is a batch without windows.
    pub fn counts(&self, batch: Option<&Batch>) -> Losses<f64> {
        let sides = [batch.map(|batch| &batch.past), batch.and_then(|batch| batch.future.as_ref())];
        let count = |side: Option<&Frames>| side.map_or(0.0, loss::count);
        let windows = batch.map_or(0, |batch| batch.past.batch());
        Losses {
            decoders: [0, 1].map(|w| self.architecture.feedback[w].map(|_| count(sides[w]))),
            classes: self.architecture.classes.map(|_| windows as f64),
        }
    }

    /// The losses as at inference: decoders are fed their own outputs or nothing.
    pub fn losses(&self, batch: &Batch) -> Result<Losses> {
        self.encode(&batch.past, |encoded| {
            let mut losses = Losses::default();
            if let Some(labels) = self.labels(batch)? {
                let (loss, _) = classifier::cross_entropy(logits(encoded), labels, batch.past.valid.as_ref(), None);
                losses.classes = Some(loss.read());
            }
            losses.decoders =
                self.compare(batch, encoded, |outputs, target| self.architecture.loss.sum(outputs, target).read())?;
            Ok(losses)
        })
    }

    /// The mean loss of each window, by decoder: (B).
    pub fn losses_of_windows(&self, batch: &Batch) -> Result<[Option<Tensor>; 2]> {
        self.encode(&batch.past, |encoded| {
            self.compare(batch, encoded, |outputs, target| self.architecture.loss.of_windows(outputs, target))
        })
    }

    /// Compare the outputs of each decoder as at inference, before their activation, with what it must emit.
    fn compare<R>(
        &self,
        batch: &Batch,
        encoded: &Trace,
        mut one: impl FnMut(&Tensor, &Frames) -> R,
    ) -> Result<[Option<R>; 2]> {
        let mut found = [None, None];
        for (which, target) in Which::ALL.into_iter().zip(self.targets(batch)?) {
            if let Some(target) = target {
                found[which as usize] = Some(one(&self.outputs(which, last(encoded), target.steps())?, &target));
            }
        }
        Ok(found)
    }

    /// The state after the last past frame.
    pub fn state(&self, past: &Frames) -> State {
        self.encode(past, |encoded| encoded.take_last().expect("a forward pass leaves its last state"))
    }

    /// The classes' probabilities, averaged over the steps: (B, K).
    pub fn classify(&self, past: &Frames) -> Tensor {
        self.encode(past, |encoded| classifier::probabilities(logits(encoded), past.valid.as_ref()))
    }

    /// h, c and the gates of the encoder and of each decoder after every step, as at inference.
    pub fn trace(&self, past: &Frames, steps: [i64; 2]) -> Result<Vec<(&'static str, Steps)>> {
        let mut encoded = Trace::default();
        let mut parts = vec![("encoder", lstm::traced(encoder::run(&self.weights.encoder, past, &mut encoded)))];
        for which in Which::ALL {
            if self.architecture.feedback[which as usize].is_some() {
                let (steps, mut trace) = (steps[which as usize], Trace::default());
                let run = self.run(&self.weights, which, last(&encoded), steps, &mut trace)?;
                parts.push((which.name(), lstm::traced(run)));
            }
        }
        Ok(parts)
    }

    /// Encode `past` and hand the trace to `use_it`. The trace is kept, since it holds the packed weights.
    fn encode<R>(&self, past: &Frames, use_it: impl FnOnce(&mut Trace) -> R) -> R {
        let mut trace = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let version = Some(self.version.load(Ordering::Relaxed));
        let run = Run { version, ..encoder::run(self.encoder(), past, &mut trace) };
        lstm::forward(vec![run], &mut Mode::Eval);
        use_it(&mut trace)
    }

    /// h of the top layer: (B, H).
    pub fn embedding(state: &State) -> Tensor {
        state.h.i(-1)
    }

    /// The mean of h of the top layer over each sequence's steps: (B, H).
    pub fn mean_embedding(&self, past: &Frames) -> Tensor {
        let mut trace = Trace::default();
        lstm::without_dropout(|mode| lstm::forward(vec![encoder::run(self.encoder(), past, &mut trace)], mode));
        let top = trace.top().expect("a training pass keeps its trace");
        classifier::mean_over_steps(&top.to_kind(self.options().0), past.valid.as_ref())
    }

    /// `steps` frames from a state, in the order in which the decoder emits them: (steps, B, D).
    pub fn decode(&self, which: Which, state: &State, steps: i64) -> Result<Tensor> {
        Ok(self.architecture.loss.activation().apply(&self.outputs(which, state, steps)?))
    }

    fn outputs(&self, which: Which, state: &State, steps: i64) -> Result<Tensor> {
        let mut trace = Trace::default();
        lstm::forward(vec![self.run(self.multiplied(), which, state, steps, &mut trace)?], &mut Mode::Eval);
        Ok(trace.outputs().expect("a decoder has a readout").shallow_clone())
    }

    /// A decoder's pass as at inference.
    fn run<'a>(
        &self,
        weights: &'a Weights,
        which: Which,
        state: &'a State,
        steps: i64,
        trace: &'a mut Trace,
    ) -> Result<Run<'a>> {
        let feed = decoder::feed(self.feedback(which)?, self.architecture.loss, steps);
        let stack = weights.decoders[which as usize].as_ref().expect("a decoder with feedback has weights");
        Ok(Run { stack, feed, initial: Some(state), batch: state.h.size()[1], valid: None, version: None, trace })
    }

    /// The labels, if the model is a classifier.
    fn labels<'a>(&self, batch: &'a Batch) -> Result<Option<&'a Tensor>, Error> {
        let missing = || Error::Shape {
            name: "labels".into(),
            expected: "an array, as the model is a classifier".into(),
            got: "None".into(),
        };
        self.architecture.classes.map(|_| batch.labels.as_ref().ok_or_else(missing)).transpose()
    }

    /// What each existing decoder must emit.
    fn targets(&self, batch: &Batch) -> Result<[Option<Frames>; 2]> {
        let mut targets = [None, None];
        for which in Which::ALL {
            if self.architecture.feedback[which as usize].is_some() {
                let missing = || Error::Shape {
                    name: "future".into(),
                    expected: "an array, as the model has a predict decoder".into(),
                    got: "None".into(),
                };
                targets[which as usize] = Some(decoder::target(which, batch).ok_or_else(missing)?);
            }
        }
        Ok(targets)
    }
}

/// (T, B, K)
fn logits(trace: &Trace) -> &Tensor {
    trace.outputs().expect("a classifier's encoder has a readout")
}

fn last(trace: &Trace) -> &State {
    trace.last().expect("a forward pass leaves its last state")
}
