//! The CPU backend: this crate's own kernels, in float32.
//!
//! Rows of a batch are independent, so each thread takes its share of them through the whole time loop, forward and then
//! backward. Weights are packed once a pass into the order in which the tiles read them, and the cell is applied to the
//! gates' sums while they are in registers. What does not depend on the order of time is one product over all steps, shared
//! out by tiles. The shapes fix the order of every sum, so the same machine gives the same bits on any
//! number of threads.

mod backward;
mod blocks;
mod error;
mod forward;
mod math;
mod pass;
mod product;
mod simd;

use std::cell::RefCell;

use tch::{Device, Kind, Tensor};

use self::blocks::{Product, Share};
use self::error::SquaredError;
use self::simd::dispatch;
use super::backend::{Backend, Steps};
use super::{Back, LayerTrace, Mode, Run, State, over_time, without_dropout};
use crate::stop;
use crate::threads::{parallel, threads};

/// A cache line of floats; buffers of these are aligned for every vector.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code, reason = "only its size and alignment matter")] [f32; 16]);

#[derive(Debug, Default)]
struct Buffer(Vec<Line>);

impl Buffer {
    /// Memory for `floats`, uninitialized for the caller.
    fn reserve(&mut self, floats: usize) -> *mut f32 {
        /// Lines that are filled from one look at Ctrl-C to the next.
        const PIECE: usize = 1 << 20;
        let lines = floats.div_ceil(16);
        if self.0.len() < lines {
            let more = lines - self.0.len();
            stop::reserve(&mut self.0, more);
            while self.0.len() < lines {
                stop::look();
                self.0.resize(lines.min(self.0.len() + PIECE), Line([0.0; 16]));
            }
        }
        self.0.as_mut_ptr().cast()
    }
}

/// A buffer of this thread, kept from call to call.
struct Scratch(Buffer);

thread_local!(static SCRATCH: RefCell<Buffer> = const { RefCell::new(Buffer(Vec::new())) });

impl Scratch {
    fn take() -> Self {
        Self(SCRATCH.take())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        SCRATCH.replace(std::mem::take(&mut self.0));
    }
}

/// Shared between threads: pointers into buffers of which each thread writes its own part.
struct Shared<T>(T);

// SAFETY: kernels write disjoint rows (passes) or tiles (products), as their fields say.
#[allow(unsafe_code)]
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn get(&self) -> &T {
        &self.0
    }
}

pub(super) struct Cpu;

/// What a forward pass leaves behind. It is kept from one pass to the next, so that a step allocates nothing.
#[derive(Debug, Default)]
pub struct Trace {
    /// (T, B, D): what the bottom layer was fed; None without an input, and in evaluation.
    pub(super) input: Option<Tensor>,
    /// Bottom up; empty in evaluation.
    layers: Vec<LayerTrace>,
    /// (T, B, D): the readout, before any activation.
    pub(super) outputs: Option<Tensor>,
    /// The state after the last step.
    pub(super) last: Option<State>,
    workspace: Workspace,
}

impl Trace {
    /// (T, B, H): h of the top layer at every step.
    pub(super) fn top(&self) -> Option<Tensor> {
        self.layers.last().map(LayerTrace::upward)
    }
}

impl Backend for Cpu {
    type Trace = Trace;

    fn forward(mut runs: Vec<Run<'_, Trace>>, mode: &mut Mode<'_>) {
        forward::forward(&mut runs, mode);
    }

    fn backward(mut backs: Vec<Back<'_, Trace>>) -> Vec<Option<State>> {
        backward::backward(&mut backs)
    }

    fn traced(mut run: Run<'_, Trace>) -> Steps {
        without_dropout(|mode| forward::forward(std::slice::from_mut(&mut run), mode));
        over_time(&run.trace.layers)
    }
}

/// Packed weights, and the buffers of a pass.
#[derive(Debug, Default)]
struct Workspace {
    /// Packed weights: the cells', bottom up, the readout's, and, in training, the recurrent ones of the backward pass.
    cells: Vec<Buffer>,
    /// Identifies the numbers that are packed.
    version: Option<u64>,
    readout: Buffer,
    recurrent: Vec<Buffer>,
    /// Whether the initial state was zero, and the first input.
    zero_start: bool,
    zero_input: bool,
    /// A zero frame and the outputs (T + 1, B, D), or only the outputs (T, B, D).
    outputs: Option<Tensor>,
    /// What was fed back (T, B, D), unless that is the outputs.
    fed: Option<Tensor>,
    /// (T, B, 4H) for each layer, top down.
    d_gates: Vec<Option<Tensor>>,
    /// (T, B, H): the gradient at h of the present layer.
    above: Option<Tensor>,
}

/// The tensor in `slot`, replaced unless it has this size.
fn reuse(slot: &mut Option<Tensor>, size: [i64; 3]) -> Tensor {
    let tensor = slot.take().filter(|tensor| tensor.size() == size);
    slot.insert(tensor.unwrap_or_else(|| Tensor::empty(size, (Kind::Float, Device::Cpu)))).shallow_clone()
}

fn pointer(tensor: &Tensor) -> *mut f32 {
    tensor.data_ptr().cast()
}

fn pointer_or_null(tensor: Option<&Tensor>) -> *mut f32 {
    tensor.map_or(std::ptr::null_mut(), pointer)
}

/// Call `work(run, share, first, rows)` for all runs' rows, spread over the threads.
fn share_rows(
    runs: usize,
    batch: impl Fn(usize) -> usize + Sync,
    threads: usize,
    work: impl Fn(usize, usize, usize, usize) + Sync,
) {
    if (0..runs).any(|run| batch(run) < threads) {
        // Too few rows to share: each run gets a thread.
        return parallel(runs, |run| work(run, 0, 0, batch(run)));
    }
    parallel(threads, |share| {
        for run in 0..runs {
            let (first, end) = (share * batch(run) / threads, (share + 1) * batch(run) / threads);
            work(run, share, first, end - first);
        }
    });
}

/// Share several products out among the threads.
fn multiply(products: &[Product]) {
    let threads = threads(products.iter().map(|product| product.m * product.n * product.k).sum());
    let products = Shared(products);
    parallel(threads, |part| {
        for &product in *products.get() {
            // SAFETY: the callers below sized A, B and C; parts of a product are disjoint.
            #[allow(unsafe_code)]
            unsafe {
                dispatch(&Share { product, part, parts: threads });
            }
        }
    });
}

/// See `super::squared_error`.
pub fn squared_error(outputs: &Tensor, target: &Tensor, mask: Option<&Tensor>, scale: f64, d: &mut Tensor) -> f64 {
    /// Rows whose squares are added up together, whatever the number of threads.
    const PART: usize = 64;
    let (outputs, target, mask) = (outputs.contiguous(), target.contiguous(), mask.map(Tensor::contiguous));
    let (steps, batch, size) = outputs.size3().expect("outputs are (T, B, D)");
    let rows = (steps * batch) as usize;
    let threads = threads(rows * size as usize * 8);
    let parts = rows.div_ceil(PART);
    let mut sums = vec![0.0; parts];
    let whole = Shared(SquaredError {
        outputs: pointer(&outputs),
        target: pointer(&target),
        mask: pointer_or_null(mask.as_ref()),
        of_numbers: mask.as_ref().is_some_and(|mask| mask.size()[2] == size),
        d: pointer(d),
        scale: scale as f32,
        size: size as usize,
        first: 0,
        end: 0,
        sum: sums.as_mut_ptr(),
    });
    parallel(threads, |share| {
        let whole = *whole.get();
        for part in share * parts / threads..(share + 1) * parts / threads {
            let (first, end) = (part * PART, rows.min((part + 1) * PART));
            // SAFETY: the tensors are dense and of one shape; each part has its own rows and its own sum.
            #[allow(unsafe_code)]
            unsafe {
                dispatch(&SquaredError { first, end, sum: whole.sum.add(part), ..whole });
            }
        }
    });
    sums.iter().sum()
}
