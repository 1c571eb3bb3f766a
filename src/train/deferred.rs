//! Asynchronous updates: work is queued on the device and results are read back periodically.
//!
//! A flag on the device skips every update from the first one on that is not finite, so the weights are those of the
//! updates before it, as with `Immediate`. On a GPU an update can be recorded as a graph and replayed by one call, which helps
//! small models: their launches cost more than their work. The variable `BACKCAST_GRAPH=1` turns that on; it is off by
//! default because it has never run on a GPU.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::Result;
use tch::{Device, Kind, Tensor};

use super::optimizer::{Numbers, OnDevice};
use super::settings::Training;
use super::update::{Computed, Readback, Update, all_finite};
use crate::data::{Batch, Frames, Progress};
use crate::error::Error;
use crate::libtorch::{Entered, Graph, Stream};
use crate::model::{Composite, Feedback, Losses, Sum, Traces};

/// The longest time that updates stay unread.
const UNREAD: Duration = Duration::from_millis(100);
/// Updates of one kind before they are recorded: by then everything that is made at the first use exists.
const WARM: usize = 3;

static RECORDS: LazyLock<bool> = LazyLock::new(|| std::env::var("BACKCAST_GRAPH").is_ok_and(|word| word == "1"));

/// The queue of updates that were not read back yet.
#[derive(Debug)]
pub struct Deferred {
    queue: Queue,
    pending: Vec<Pending>,
    last_read: Instant,
    stream: Option<Stream>,
    recorded: Option<Recorded>,
    /// The kind of the last updates, and their number in a row.
    warm: (Option<Key>, usize),
}

/// What only the device knows.
#[derive(Debug)]
struct Queue {
    numbers: OnDevice,
    /// The number of updates made since the last readback.
    made: Tensor,
}

/// A queued update.
#[derive(Debug)]
struct Pending {
    before: Progress,
    results: Results,
}

/// The results of an update, on the device.
#[derive(Debug)]
struct Results {
    /// (1 + losses) in double precision: the gradient's norm, and the sum of each loss.
    numbers: Tensor,
    /// The number of terms in each loss.
    counts: Losses<f64>,
}

/// An update that was read back.
#[derive(Debug)]
pub struct Read {
    pub before: Progress,
    pub losses: Losses,
    norm: f64,
}

impl Read {
    /// The reason why it was skipped.
    pub fn refusal(&self) -> Result<(), Error> {
        all_finite(&self.losses, self.norm, self.before.step)
    }
}

/// A recorded update, its inputs and its results.
#[derive(Debug)]
struct Recorded {
    key: Key,
    batch: Batch,
    results: Results,
    graph: Graph,
}

/// What two updates must have in common for the recording of one to replay as the other.
#[derive(Debug, Clone, PartialEq)]
struct Key {
    sizes: Vec<Vec<i64>>,
    /// The addresses of weights, gradients and moments.
    addresses: Vec<usize>,
    /// All settings except those that change from update to update.
    training: Training,
}

impl Key {
    /// None for an update that cannot be recorded: it draws random numbers, or the host waits for a count.
    /// One of several processes' updates is not recorded either.
    fn of(update: &Update<'_>, batch: &Batch) -> Option<Self> {
        let Update { model, training, gradients, part, whole, .. } = update;
        let sides = [Some(&batch.past), batch.future.as_ref()];
        let masked = sides.into_iter().flatten().any(|side| side.mask().is_some());
        let draws = training.dropout > 0.0 || model.architecture.feedback.contains(&Some(Feedback::Scheduled));
        if draws || masked || whole.is_some() {
            return None;
        }
        let labels = batch.labels.as_ref().map(Tensor::size);
        let flats = [&model.weights.flat, &gradients.flat, &part.moments.first, &part.moments.second];
        Some(Self {
            sizes: sides.into_iter().flatten().map(|side| side.values.size()).chain(labels).collect(),
            addresses: flats.iter().map(|flat| flat.data_ptr() as usize).collect(),
            training: Training { end: 0, learning_rate: 0.0, warmup: 0, seed: 0, ..(*training).clone() },
        })
    }
}

/// Leaves everything to the device: a non-finite update sets a flag there, and the results wait to be read.
impl Readback for Queue {
    type Seen = Results;

    fn observe(&mut self, update: &Update<'_>, computed: Computed<'_>) -> Result<(Results, Numbers<'_>)> {
        let Computed { losses, gradients, scale } = computed;
        let norm = gradients.norm() / scale;
        let mut results = vec![norm.to_kind(Kind::Double)];
        results.extend(losses.named().map(|(_, loss)| loss.sum.shallow_clone()));
        let results = Tensor::stack(&results, 0);
        // Clipping divides by the ratio of the norm to its maximum.
        let divisor = match update.training.max_grad_norm {
            Some(most) => Some(((norm + 1e-6) / most).clamp_min(1.0) * scale),
            None => (scale > 1.0).then(|| norm.full_like(scale)),
        };
        let skip = &mut self.numbers.skip;
        let all = results.sum(None).isfinite();
        skip.copy_(&skip.maximum(&all.logical_not().to_kind(Kind::Float)));
        self.made += 1.0 - &self.numbers.skip;
        let results = Results { numbers: results, counts: losses.map(|loss| loss.count) };
        Ok((results, Numbers::Device { numbers: &self.numbers, scale: divisor }))
    }
}

impl Deferred {
    pub fn new(model: &Composite) -> Self {
        let zero = || Tensor::zeros([], (Kind::Float, model.options().1));
        let queue = Queue { numbers: OnDevice { steps: zero(), rate: zero(), skip: zero() }, made: zero() };
        let (pending, last_read) = (Vec::new(), Instant::now());
        Self { queue, pending, last_read, stream: None, recorded: None, warm: (None, 0) }
    }

    /// Work on a stream of our own while the result lives, if updates are to be recorded.
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

    /// Clear what a training that ended in an error may have left.
    pub fn forget(&mut self) {
        self.pending.clear();
        for number in [&mut self.queue.made, &mut self.queue.numbers.skip] {
            let _ = number.zero_();
        }
    }

    /// Whether it is time for a readback.
    pub fn is_due(&self) -> bool {
        self.last_read.elapsed() >= UNREAD
    }

    /// Queue an update.
    pub fn update(&mut self, update: &Update<'_>, batch: Option<&Batch>, traces: &mut Traces) -> Result<()> {
        let _ = self.queue.numbers.steps.fill_(update.part.moments.steps as f64);
        let _ = self.queue.numbers.rate.fill_(update.learning_rate());
        let alike = self.stream.as_ref().and(batch).and_then(|batch| Some((Key::of(update, batch)?, batch)));
        let results = match alike {
            None => update.make(batch, traces, &mut self.queue)?,
            Some((key, batch)) => {
                if self.recorded.as_ref().is_some_and(|recorded| recorded.key == key) {
                    self.warm = (None, 0);
                } else if self.is_warm(&key) {
                    self.record(key.clone(), update, batch, traces);
                }
                match self.recorded.as_ref().filter(|recorded| recorded.key == key) {
                    Some(recorded) => recorded.replay(batch)?,
                    None => update.make(Some(batch), traces, &mut self.queue)?,
                }
            }
        };
        self.pending.push(Pending { before: update.progress, results });
        Ok(())
    }

    /// Whether enough updates of this kind came in a row.
    fn is_warm(&mut self, key: &Key) -> bool {
        match &mut self.warm {
            (Some(last), times) if last == key => *times += 1,
            warm => *warm = (Some(key.clone()), 1),
        }
        self.warm.1 > WARM
    }

    /// Record such an update. If that fails, updates are queued one by one from then on.
    fn record(&mut self, key: Key, update: &Update<'_>, batch: &Batch, traces: &mut Traces) {
        self.recorded = None;
        let copy = |frames: &Frames| Frames { values: frames.values.copy(), valid: None, known: None };
        let batch = Batch {
            past: copy(&batch.past),
            future: batch.future.as_ref().map(copy),
            labels: batch.labels.as_ref().map(Tensor::copy),
        };
        // A recording has memory of its own and must not use what was made before.
        *traces = Traces::default();
        match Graph::record(|| update.make(Some(&batch), &mut Traces::default(), &mut self.queue)) {
            Ok((graph, results)) => self.recorded = Some(Recorded { key, batch, results, graph }),
            Err(_) => self.stream = None,
        }
    }

    /// The pending updates, and how many of them were made; waits for the device.
    pub fn read(&mut self) -> (Vec<Read>, usize) {
        self.last_read = Instant::now();
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return (Vec::new(), 0);
        }
        let numbers: Vec<&Tensor> = pending.iter().map(|update| &update.results.numbers).collect();
        let numbers = Tensor::stack(&numbers, 0).to_device(Device::Cpu);
        // One may have failed on its way to them.
        let made = (self.queue.made.double_value(&[]) as usize).min(pending.len());
        self.forget();
        let read = |(row, update): (i64, Pending)| {
            let mut numbers = (0..).map(|column| numbers.double_value(&[row, column]));
            let mut next = || numbers.next().expect("it has no end");
            let norm = next();
            let losses = update.results.counts.map(|&count| Sum { sum: next(), count });
            Read { before: update.before, losses, norm }
        };
        ((0..).zip(pending).map(read).collect(), made)
    }
}

impl Recorded {
    /// Queue the update once more, with these windows.
    fn replay(&self, batch: &Batch) -> Result<Results> {
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
        // The next replay overwrites these results.
        Ok(Results { numbers: self.results.numbers.copy(), counts: self.results.counts })
    }
}
