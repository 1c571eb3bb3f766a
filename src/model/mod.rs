//! The composite model: one encoder, two decoders, a weighted sum of their losses; or an encoder and a softmax over classes.

mod decoder;
mod encoder;
mod loss;
mod weights;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use rand_pcg::Pcg64Mcg;
use tch::{Device, IndexOp, Kind, Tensor};

pub use loss::{Sum, Unread};
pub use weights::Weights;

use crate::config::{Architecture, Feedback, Init, Precision, Which};
use crate::data::{Batch, Frames};
use crate::error::Error;
use crate::libtorch::Tf32;
use crate::lstm::{self, Back, Mode, Run, Stack, State, Trace};
use crate::random::{Purpose, stream};

/// The loss of each part; one that is not there has none.
#[derive(Debug, Clone, Copy)]
pub struct Losses<S = Sum> {
    /// By `Which`.
    pub decoders: [Option<S>; 2],
    pub classes: Option<S>,
}

impl<S> Default for Losses<S> {
    fn default() -> Self {
        Self { decoders: [None, None], classes: None }
    }
}

impl<S> Losses<S> {
    /// Those that are there, by name.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &S)> {
        let decoders = Which::ALL.map(|which| (which.name(), self.decoders[which as usize].as_ref()));
        decoders.into_iter().chain([("classify", self.classes.as_ref())]).filter_map(|(name, loss)| Some((name, loss?)))
    }

    pub fn is_empty(&self) -> bool {
        self.named().next().is_none()
    }

    /// Something else of each, in the order of `named`.
    pub fn map<R>(&self, mut one: impl FnMut(&S) -> R) -> Losses<R> {
        let decoders = self.decoders.each_ref().map(|loss| loss.as_ref().map(&mut one));
        Losses { decoders, classes: self.classes.as_ref().map(one) }
    }
}

impl Losses {
    pub fn add(&mut self, more: &Self) {
        let Self { decoders: [reconstruct, predict], classes } = self;
        let mores = more.decoders.iter().chain([&more.classes]);
        for (sum, more) in [reconstruct, predict, classes].into_iter().zip(mores) {
            if let Some(more) = more {
                sum.get_or_insert_with(Sum::default).add(*more);
            }
        }
    }
}

/// What a training pass needs beside the batch.
pub struct Pass<'a> {
    pub loss_weights: [f64; 2],
    /// What gradients are multiplied by, so that 16 bits hold them.
    pub scale: f64,
    pub dropout: f64,
    /// Of the truth, where the feedback is scheduled.
    pub probability: f64,
    /// Whether the encoder is left as it is, and gets no gradients.
    pub head_only: bool,
    pub rng: &'a mut Pcg64Mcg,
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
        self.decoders[which as usize].input.as_ref()
    }
}

/// The model of the paper's section 2.
#[derive(Debug)]
pub struct Composite {
    pub architecture: Architecture,
    pub precision: Precision,
    pub weights: Weights,
    /// The weights again, the matrices in 16 bits, where products are of 16 bits.
    halved: Option<Weights>,
    /// How often the weights had new numbers, and what is kept of the encoder's last pass.
    version: AtomicU64,
    kept: Mutex<Trace>,
}

impl Composite {
    pub fn new(architecture: Architecture, init: Init, device: Device, precision: Precision) -> Result<Self, Error> {
        architecture.check()?;
        let weights = Weights::draw(&architecture, init);
        let (version, kept) = (AtomicU64::default(), Mutex::default());
        let model = Self { architecture, precision: Precision::Fp32, weights, halved: None, version, kept };
        Ok(model.to((Kind::Float, device), precision))
    }

    /// The same model in another kind, on another device, with products of another precision.
    #[must_use]
    pub fn to(&self, options: (Kind, Device), precision: Precision) -> Self {
        let architecture = self.architecture.clone();
        let flat = self.weights.flat.to_device(options.1).to_kind(options.0).copy();
        let kind = precision.of_products(options.0);
        let halved = (kind != options.0).then(|| Weights::with_vectors(&architecture, flat.to_kind(kind), &flat));
        let (version, kept) = (AtomicU64::default(), Mutex::default());
        Self { weights: Weights::of(&architecture, flat), architecture, precision, halved, version, kept }
    }

    /// Take over `arrays`, all of them or none.
    pub fn assign(&self, arrays: &[(String, Tensor)]) -> Result<()> {
        self.weights.assign(arrays)?;
        self.weights_changed();
        Ok(())
    }

    /// To be told whenever `weights` have new numbers.
    pub fn weights_changed(&self) {
        self.version.fetch_add(1, Ordering::Relaxed);
        if let Some(halved) = &self.halved {
            halved.flat.shallow_clone().copy_(&self.weights.flat);
        }
    }

    /// The weights as they are multiplied.
    fn multiplied(&self) -> &Weights {
        self.halved.as_ref().unwrap_or(&self.weights)
    }

    /// The encoder as it is multiplied.
    pub fn encoder(&self) -> &Stack {
        &self.multiplied().encoder
    }

    /// While it lives, CUDA rounds as the precision says.
    #[must_use]
    pub fn rounding(&self) -> Option<Tf32> {
        self.options().1.is_cuda().then(|| Tf32::allow(self.precision == Precision::Tf32))
    }

    pub fn options(&self) -> (Kind, Device) {
        (self.weights.flat.kind(), self.weights.flat.device())
    }

    /// The decoder's feedback, or the error that says that there is no such decoder.
    pub fn feedback(&self, which: Which) -> Result<Feedback, Error> {
        let have = self.architecture.decoders();
        self.architecture.feedback[which as usize].ok_or(Error::NoDecoder { asked: which.name(), have })
    }

    /// One forward and one backward pass: the losses in training, and in `gradients` those of their weighted sum, to which
    /// the classes' is added, times the scale.
    pub fn gradients(
        &self,
        batch: &Batch,
        pass: &mut Pass<'_>,
        traces: &mut Traces,
        gradients: &Weights,
    ) -> Result<Losses<Unread>> {
        let (loss, weights) = (self.architecture.loss, self.multiplied());

        // The encoder squeezes the past into a state.
        let mut mode = Mode::Train { dropout: pass.dropout, rng: pass.rng };
        lstm::forward(&mut [encoder::run(&weights.encoder, &batch.past, &mut traces.encoder)], &mut mode);
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
                let Mode::Train { rng, .. } = &mut mode else { unreachable!("this is a training pass") };
                let (steps, truth) = (target.steps(), truths[w].as_ref());
                let feed = decoder::training_feed(feedback, loss, steps, truth, pass.probability, rng);
                let batch = batch.past.batch();
                runs.push(Run { stack, feed, initial: Some(state), batch, valid: None, version: None, trace });
            }
        }
        lstm::forward(&mut runs, &mut mode);
        drop(runs);

        // The losses, and their gradients at all outputs at once: feedback carries none.
        let mut losses = Losses::default();
        let d_logits = self.labels(batch)?.map(|labels| {
            let (loss, d) = loss::cross_entropy(logits(&traces.encoder), labels, batch.past.valid.as_ref());
            losses.classes = Some(loss);
            d * pass.scale
        });
        for (w, target) in targets.iter().enumerate() {
            if let (Some(target), Some(outputs)) = (target, &traces.decoders[w].outputs) {
                let d = &mut traces.d_outputs[w];
                if d.as_ref().is_none_or(|d| d.size() != outputs.size() || d.kind() != outputs.kind()) {
                    *d = Some(outputs.zeros_like());
                }
                losses.decoders[w] =
                    d.as_mut().map(|d| loss.backward(outputs, target, pass.scale * pass.loss_weights[w], d));
            }
        }

        // Back through the decoders; their gradients at the initial state add up and enter the encoder's last step.
        let Traces { encoder: encoder_trace, decoders, d_outputs } = traces;
        let mut backs = Vec::new();
        for (w, (trace, outputs)) in decoders.iter_mut().zip(&*d_outputs).enumerate() {
            if let (Some(stack), Some(gradients)) = (&weights.decoders[w], &gradients.decoders[w]) {
                let outputs = outputs.as_ref();
                backs.push(Back {
                    stack,
                    trace,
                    valid: None,
                    outputs,
                    hidden: None,
                    last: None,
                    gradients,
                    wants_initial: true,
                });
            }
        }
        let d_state = lstm::backward(&mut backs)
            .into_iter()
            .flatten()
            .reduce(|sum, one| State { h: sum.h + one.h, c: sum.c + one.c });
        let (stack, gradients) = (&weights.encoder, &gradients.encoder);
        match (&d_logits, &gradients.readout) {
            (Some(d_logits), Some(gradient)) if pass.head_only => {
                lstm::readout_backward(encoder_trace, d_logits, gradient);
            }
            _ => {
                let (last, logits) = (d_state.as_ref(), d_logits.as_ref());
                lstm::backward(&mut [encoder::back(stack, &batch.past, encoder_trace, last, logits, gradients)]);
            }
        }
        Ok(losses)
    }

    /// The losses as at inference: decoders are fed their own outputs or nothing.
    pub fn losses(&self, batch: &Batch) -> Result<Losses> {
        self.encode(&batch.past, |encoded| {
            let mut losses = Losses::default();
            if let Some(labels) = self.labels(batch)? {
                let (loss, _) = loss::cross_entropy(logits(encoded), labels, batch.past.valid.as_ref());
                losses.classes = Some(loss.read());
            }
            for (which, target) in Which::ALL.into_iter().zip(self.targets(batch)?) {
                if let Some(target) = target {
                    let outputs = self.outputs(which, last(encoded), target.steps())?;
                    losses.decoders[which as usize] = Some(self.architecture.loss.sum(&outputs, &target).read());
                }
            }
            Ok(losses)
        })
    }

    /// The state after the last past frame.
    pub fn state(&self, past: &Frames) -> State {
        self.encode(past, |encoded| encoded.last.take().expect("a forward pass leaves its last state"))
    }

    /// The classes' probabilities, averaged over the steps: (B, K).
    pub fn classify(&self, past: &Frames) -> Tensor {
        self.encode(past, |encoded| loss::probabilities(logits(encoded), past.valid.as_ref()))
    }

    /// What the encoder and the decoders that are there do, step by step, as at inference.
    pub fn trace(&self, past: &Frames, steps: [i64; 2]) -> Result<Vec<(&'static str, Trace)>> {
        // A training pass keeps its trace; without dropout it draws nothing.
        let rng = &mut stream(0, Purpose::Update, 0);
        let mode = &mut Mode::Train { dropout: 0.0, rng };
        let mut encoded = Trace::default();
        lstm::forward_traced(&mut encoder::run(&self.weights.encoder, past, &mut encoded), mode);
        let mut traces = Vec::new();
        for which in Which::ALL {
            if self.architecture.feedback[which as usize].is_some() {
                let mut trace = Trace::default();
                let steps = steps[which as usize];
                lstm::forward_traced(&mut self.run(&self.weights, which, last(&encoded), steps, &mut trace)?, mode);
                traces.push((which.name(), trace));
            }
        }
        traces.insert(0, ("encoder", encoded));
        Ok(traces)
    }

    /// The encoder's pass over `past`, handed to `use_it`; what was made of the weights is kept for the next.
    fn encode<R>(&self, past: &Frames, use_it: impl FnOnce(&mut Trace) -> R) -> R {
        let mut trace = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let version = Some(self.version.load(Ordering::Relaxed));
        let run = Run { version, ..encoder::run(self.encoder(), past, &mut trace) };
        lstm::forward(&mut [run], &mut Mode::Eval);
        use_it(&mut trace)
    }

    /// h of the top layer: (B, H).
    pub fn embedding(state: &State) -> Tensor {
        state.h.i(-1)
    }

    /// The mean of h of the top layer over each sequence's steps: (B, H).
    pub fn mean_embedding(&self, past: &Frames) -> Tensor {
        let rng = &mut stream(0, Purpose::Update, 0);
        let mut trace = Trace::default();
        // As in `trace`.
        let mode = &mut Mode::Train { dropout: 0.0, rng };
        lstm::forward(&mut [encoder::run(self.encoder(), past, &mut trace)], mode);
        let top = trace.layers.last().expect("a training pass keeps its trace").upward();
        loss::mean_over_steps(&top.to_kind(self.options().0), past.valid.as_ref())
    }

    /// `steps` frames from a state, in the order in which the decoder emits them: (steps, B, D).
    pub fn decode(&self, which: Which, state: &State, steps: i64) -> Result<Tensor> {
        Ok(self.architecture.loss.activation().apply(&self.outputs(which, state, steps)?))
    }

    fn outputs(&self, which: Which, state: &State, steps: i64) -> Result<Tensor> {
        let mut trace = Trace::default();
        lstm::forward(&mut [self.run(self.multiplied(), which, state, steps, &mut trace)?], &mut Mode::Eval);
        Ok(trace.outputs.take().expect("a decoder has a readout"))
    }

    /// A decoder's pass as at inference, to be made.
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

    /// The labels that the classes are learnt from, where there are classes.
    fn labels<'a>(&self, batch: &'a Batch) -> Result<Option<&'a Tensor>, Error> {
        let missing = || Error::Shape {
            name: "labels".into(),
            expected: "an array, as the model tells classes apart".into(),
            got: "None".into(),
        };
        self.architecture.classes.map(|_| batch.labels.as_ref().ok_or_else(missing)).transpose()
    }

    /// What each decoder that is there has to emit.
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
    trace.outputs.as_ref().expect("a model that tells classes apart has an encoder with a readout")
}

fn last(trace: &Trace) -> &State {
    trace.last.as_ref().expect("a forward pass leaves its last state")
}
