//! Updates that are asked for ahead of what is known of them: the device is never waited for, but read now and then.
//!
//! A flag on the device leaves out every update from the first on that is not finite, so that the weights are those of the
//! updates before it, as where each update is waited for. On a GPU an update can be recorded as a graph and asked for by one
//! call, which is what small models need: their launches cost more than their work. The variable `BACKCAST_GRAPH=1` turns
//! that on; it was never run on a GPU, and is off until it has been.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::Result;
use tch::{Device, Kind, Tensor};

use super::optimizer::{self, Numbers, OnDevice, Step};
use super::{Moments, Progress, all_finite};
use crate::config::{Feedback, Training};
use crate::data::{Batch, Frames};
use crate::error::Error;
use crate::libtorch::{Entered, Graph, Stream};
use crate::model::{Composite, Losses, Pass, Sum, Traces, Weights};

/// How long updates may go unread.
const UNREAD: Duration = Duration::from_millis(100);
/// Updates of one kind before they are recorded: by then all that is made at the first use is there.
const WARM: usize = 3;

static RECORDS: LazyLock<bool> = LazyLock::new(|| std::env::var("BACKCAST_GRAPH").is_ok_and(|word| word == "1"));

/// What is on the device alone.
#[derive(Debug)]
pub struct Ahead {
    numbers: OnDevice,
    /// How many updates were made since they were last read.
    made: Tensor,
    unread: Vec<Asked>,
    last_read: Instant,
    stream: Option<Stream>,
    recorded: Option<Recorded>,
    /// The kind of the last updates, and how many there were in a row.
    warm: (Option<Key>, usize),
}

/// An update that was asked for.
#[derive(Debug)]
struct Asked {
    before: Progress,
    told: Told,
}

/// What a device tells of an update.
#[derive(Debug)]
struct Told {
    /// (1 + losses) in double precision: the gradient's norm, and the sum of each loss that is there.
    numbers: Tensor,
    /// How many numbers each loss is of.
    counts: Losses<f64>,
}

/// An update that was asked for, as it went.
#[derive(Debug)]
pub struct Update {
    pub before: Progress,
    pub losses: Losses,
    norm: f64,
}

impl Update {
    /// Why it was not made.
    pub fn why(&self) -> Result<(), Error> {
        all_finite(&self.losses, self.norm, self.before.step)
    }
}

/// The weights that an update is of, by their place in the flat tensor, and their moments.
#[derive(Debug)]
pub struct Part {
    pub first: i64,
    pub size: i64,
    pub moments: Moments,
}

/// What an update is made of, beside its batch.
#[derive(Debug)]
pub struct Plan<'a> {
    pub model: &'a Composite,
    pub training: &'a Training,
    pub gradients: &'a Weights,
    pub part: Part,
}

/// A recorded update, and what it reads and tells.
#[derive(Debug)]
struct Recorded {
    key: Key,
    batch: Batch,
    told: Told,
    graph: Graph,
}

/// What has to be the same for a recorded update to be the one that is asked for.
#[derive(Debug, Clone, PartialEq)]
struct Key {
    sizes: Vec<Vec<i64>>,
    /// Where weights, gradients and moments lie.
    places: Vec<usize>,
    /// All but what changes from update to update.
    training: Training,
}

impl Key {
    /// None where an update cannot be recorded: where it draws, or waits for a count of what is there.
    fn of(plan: &Plan<'_>, batch: &Batch) -> Option<Self> {
        let Plan { model, training, gradients, part } = plan;
        let sides = [Some(&batch.past), batch.future.as_ref()];
        let whole = sides.into_iter().flatten().all(|side| side.mask().is_none());
        let draws = training.dropout > 0.0 || model.architecture.feedback.contains(&Some(Feedback::Scheduled));
        if draws || !whole {
            return None;
        }
        let labels = batch.labels.as_ref().map(Tensor::size);
        let flats = [&model.weights.flat, &gradients.flat, &part.moments.first, &part.moments.second];
        Some(Self {
            sizes: sides.into_iter().flatten().map(|side| side.values.size()).chain(labels).collect(),
            places: flats.iter().map(|flat| flat.data_ptr() as usize).collect(),
            training: Training { end: 0, learning_rate: 0.0, warmup: 0, seed: 0, ..(*training).clone() },
        })
    }
}

impl Ahead {
    pub fn new(model: &Composite) -> Self {
        let zero = || Tensor::zeros([], (Kind::Float, model.options().1));
        let numbers = OnDevice { steps: zero(), rate: zero(), skip: zero() };
        let (unread, last_read) = (Vec::new(), Instant::now());
        Self { numbers, made: zero(), unread, last_read, stream: None, recorded: None, warm: (None, 0) }
    }

    /// Where updates are recorded, work on a stream of our own while the result lives.
    pub fn enter(&mut self, device: Device) -> Option<Entered> {
        if !*RECORDS || !device.is_cuda() {
            return None;
        }
        if self.stream.is_none() {
            self.stream = Stream::new(device).ok();
        }
        self.stream.as_ref()?.enter().ok()
    }

    /// Whether updates are recorded.
    pub fn records(&self) -> bool {
        self.recorded.is_some()
    }

    /// Forget what a training that ended in an error may have left.
    pub fn forget(&mut self) {
        self.unread.clear();
        for numbers in [&mut self.made, &mut self.numbers.skip] {
            let _ = numbers.zero_();
        }
    }

    pub fn is_due(&self) -> bool {
        self.last_read.elapsed() >= UNREAD
    }

    /// Ask for an update.
    pub fn update(
        &mut self,
        plan: &Plan<'_>,
        batch: &Batch,
        pass: &mut Pass<'_>,
        rate: f64,
        traces: &mut Traces,
        before: Progress,
    ) -> Result<()> {
        let _ = self.numbers.steps.fill_(plan.part.moments.steps as f64);
        let _ = self.numbers.rate.fill_(rate);
        let told = match self.stream.as_ref().and_then(|_| Key::of(plan, batch)) {
            None => self.ask(plan, batch, pass, traces)?,
            Some(key) => {
                if self.recorded.as_ref().is_some_and(|recorded| recorded.key == key) {
                    self.warm = (None, 0);
                } else if self.is_warm(&key) {
                    self.record(key.clone(), plan, batch, pass, traces);
                }
                match self.recorded.as_ref().filter(|recorded| recorded.key == key) {
                    Some(recorded) => recorded.ask(batch)?,
                    None => self.ask(plan, batch, pass, traces)?,
                }
            }
        };
        self.unread.push(Asked { before, told });
        Ok(())
    }

    /// Whether updates of this kind came often enough.
    fn is_warm(&mut self, key: &Key) -> bool {
        match &mut self.warm {
            (Some(last), times) if last == key => *times += 1,
            warm => *warm = (Some(key.clone()), 1),
        }
        self.warm.1 > WARM
    }

    /// Have the device make the update, unless it or one before it is not finite.
    fn ask(&mut self, plan: &Plan<'_>, batch: &Batch, pass: &mut Pass<'_>, traces: &mut Traces) -> Result<Told> {
        let Plan { model, training, gradients, part } = plan;
        let losses = model.gradients(batch, pass, traces, gradients)?;
        let [mut weights, gradients] =
            [&model.weights.flat, &gradients.flat].map(|flat| flat.narrow(0, part.first, part.size));
        let norm = gradients.norm() / pass.scale;
        let mut numbers = vec![norm.to_kind(Kind::Double)];
        numbers.extend(losses.named().map(|(_, loss)| loss.sum.shallow_clone()));
        let numbers = Tensor::stack(&numbers, 0);
        // Clipping divides by what the norm is above its most.
        let scale = match training.max_grad_norm {
            Some(most) => Some(((norm + 1e-6) / most).clamp_min(1.0) * pass.scale),
            None => (pass.scale > 1.0).then(|| norm.full_like(pass.scale)),
        };
        let skip = &mut self.numbers.skip;
        let all = numbers.sum(None).isfinite();
        skip.copy_(&skip.maximum(&all.logical_not().to_kind(Kind::Float)));
        let there = Numbers::There { numbers: &self.numbers, scale: scale.as_ref() };
        let step = Step { weight_decay: training.weight_decay, numbers: there };
        optimizer::update(training.optimizer, &mut weights, &gradients, &part.moments, step)?;
        model.weights_changed();
        self.made += 1.0 - &self.numbers.skip;
        Ok(Told { numbers, counts: losses.map(|loss| loss.count) })
    }

    /// Record such an update; where that fails, updates are asked for as before, and never recorded.
    fn record(&mut self, key: Key, plan: &Plan<'_>, batch: &Batch, pass: &mut Pass<'_>, traces: &mut Traces) {
        self.recorded = None;
        let copy = |frames: &Frames| Frames { values: frames.values.copy(), valid: None, known: None };
        let batch = Batch {
            past: copy(&batch.past),
            future: batch.future.as_ref().map(copy),
            labels: batch.labels.as_ref().map(Tensor::copy),
        };
        // All that is made in a recording is in its own memory, so it must not meet what was made before.
        *traces = Traces::default();
        match Graph::record(|| self.ask(plan, &batch, pass, &mut Traces::default())) {
            Ok((graph, told)) => self.recorded = Some(Recorded { key, batch, told, graph }),
            Err(_) => self.stream = None,
        }
    }

    /// The updates that were not read yet, and how many of them were made; waits for them.
    pub fn read(&mut self) -> (Vec<Update>, usize) {
        self.last_read = Instant::now();
        let asked = std::mem::take(&mut self.unread);
        if asked.is_empty() {
            return (Vec::new(), 0);
        }
        let numbers: Vec<&Tensor> = asked.iter().map(|asked| &asked.told.numbers).collect();
        let numbers = Tensor::stack(&numbers, 0).to_device(Device::Cpu);
        let made = self.made.double_value(&[]) as usize;
        self.forget();
        let update = |(row, asked): (i64, Asked)| {
            let mut numbers = (0..).map(|column| numbers.double_value(&[row, column]));
            let mut next = || numbers.next().expect("it has no end");
            let norm = next();
            let losses = asked.told.counts.map(|&count| Sum { sum: next(), count });
            Update { before: asked.before, losses, norm }
        };
        ((0..).zip(asked).map(update).collect(), made)
    }
}

impl Recorded {
    /// Ask for the update once more, with these windows.
    fn ask(&self, batch: &Batch) -> Result<Told> {
        let pairs = [
            (Some(&self.batch.past.values), Some(&batch.past.values)),
            (self.batch.future.as_ref().map(|f| &f.values), batch.future.as_ref().map(|f| &f.values)),
            (self.batch.labels.as_ref(), batch.labels.as_ref()),
        ];
        for (to, from) in pairs {
            if let (Some(to), Some(from)) = (to, from) {
                to.shallow_clone().copy_(from);
            }
        }
        self.graph.replay()?;
        // The next replay writes anew what this one told.
        Ok(Told { numbers: self.told.numbers.copy(), counts: self.told.counts })
    }
}
