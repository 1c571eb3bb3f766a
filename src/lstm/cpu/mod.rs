//! The stack in float32 on the CPU, by kernels of our own.
//!
//! A batch's rows never meet, so each thread takes its share of them through the whole time loop, forward and then backward;
//! weights are packed once a pass into the order in which the tiles read them, and the cell is applied to the gates' sums
//! while they are in registers. What has no order in time is one product over all steps, shared out by tiles. Every number
//! is added up in an order that the shapes fix, so the same machine gives the same bits.

mod math;
mod pass;
mod product;
mod simd;

use std::cell::RefCell;
use std::ptr::null;

use tch::{Device, Kind, Tensor};

use self::pass::{Backward, Forward, ForwardFeed, ForwardLayer, ForwardReadout};
use self::product::{Matrix, Product, Share, pack, pack_panel, packed_size};
use self::simd::{COLUMNS, ISA, dispatch};
use super::{Activation, Back, Feed, Layer, LayerTrace, Mode, Run, Stack, State, Trace, dropout_mask};
use crate::libtorch::parallel;

/// Whether these kernels can do the work; the variable `BACKCAST_KERNELS=plain` leaves it to libtorch's operators.
pub fn applies(stack: &Stack) -> bool {
    use std::sync::LazyLock;
    static PLAIN: LazyLock<bool> =
        LazyLock::new(|| std::env::var("BACKCAST_KERNELS").is_ok_and(|word| word == "plain"));
    stack.options() == (Kind::Float, Device::Cpu) && !*PLAIN
}

/// A cache line of floats; buffers of these are aligned for every vector.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code, reason = "only its size and alignment matter")] [f32; 16]);

#[derive(Debug, Default)]
struct Buffer(Vec<Line>);

impl Buffer {
    /// Room for `floats`, with whatever stands in it.
    fn reserve(&mut self, floats: usize) -> *mut f32 {
        let lines = floats.div_ceil(16);
        if self.0.len() < lines {
            self.0.resize(lines, Line([0.0; 16]));
        }
        self.0.as_mut_ptr().cast()
    }
}

/// A thread's own buffer, kept from call to call.
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

/// What is shared between threads: pointers into buffers of which each thread writes its own part.
struct Shared<T>(T);

// SAFETY: kernels write disjoint rows (passes) or tiles (products), as their fields say.
#[allow(unsafe_code)]
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn get(&self) -> &T {
        &self.0
    }
}

/// Packed weights of a stack, kept between passes so that their memory is.
#[derive(Debug, Default)]
pub struct Packed {
    buffer: Buffer,
    /// Where each layer's backward panels start in the buffer, bottom up; empty in evaluation.
    recurrent: Vec<usize>,
    /// Whether the initial state was zero, and the first input.
    zero_start: bool,
    zero_input: bool,
}

/// A piece of packing, small enough to share out.
#[derive(Clone, Copy)]
enum Packing {
    /// The weights and biases of `LANES` units of a layer.
    Cells { layer: [*const f32; 4], inputs: usize, hidden: usize, block: usize, panel: *mut f32, bias: *mut f32 },
    /// Columns of a (k, n) matrix, from the panel that starts at `first`.
    Columns { b: Matrix, k: usize, n: usize, first: usize, to: *mut f32 },
}

impl Packing {
    #[allow(unsafe_code)]
    unsafe fn run(self, lanes: usize) {
        match self {
            // SAFETY: `panel` and `bias` have room for one block, the weights the shapes that `inputs` and `hidden` say.
            Self::Cells { layer: [weight_ih, weight_hh, bias_ih, bias_hh], inputs, hidden, block, panel, bias } => unsafe {
                let (unit, width) = (block * lanes, COLUMNS * lanes);
                let n = lanes.min(hidden - unit);
                for gate in 0..COLUMNS {
                    let row = gate * hidden + unit;
                    let to = panel.add(gate * lanes);
                    if inputs > 0 {
                        let b = Matrix::rows(weight_ih.add(row * inputs), inputs).transposed();
                        pack_panel(b, inputs, 0, n, (lanes, width), to);
                    }
                    let b = Matrix::rows(weight_hh.add(row * hidden), hidden).transposed();
                    pack_panel(b, hidden, 0, n, (lanes, width), to.add(inputs * width));
                    for lane in 0..lanes {
                        let sum = if lane < n { *bias_ih.add(row + lane) + *bias_hh.add(row + lane) } else { 0.0 };
                        *bias.add(gate * lanes + lane) = sum;
                    }
                }
            },
            // SAFETY: `to` has room for the panels of these columns.
            Self::Columns { b, k, n, first, to } => unsafe {
                let columns = (COLUMNS * lanes).min(n - first);
                pack(b.from(0, first), k, columns, lanes, to.add(k * first));
            },
        }
    }
}

fn threads() -> usize {
    usize::try_from(tch::get_num_threads()).unwrap_or(1).max(1)
}

fn pointer(tensor: &Tensor) -> *mut f32 {
    tensor.data_ptr().cast()
}

fn pointer_or_null(tensor: Option<&Tensor>) -> *mut f32 {
    tensor.map_or(std::ptr::null_mut(), pointer)
}

/// Everything about a forward pass but its rows.
struct Plan {
    steps: usize,
    batch: usize,
    hidden: usize,
    layers: Vec<ForwardLayer>,
    feed: ForwardFeed,
    readout: Option<ForwardReadout>,
    valid: *const f32,
    initial: (*const f32, *const f32),
    last: (*mut f32, *mut f32),
    /// Tensors that the pointers above look into and nobody else holds.
    _held: Vec<Tensor>,
}

pub fn forward(runs: &mut [Run<'_>], mode: &mut Mode<'_>) {
    let lanes = ISA.lanes();
    let mut packings = Vec::new();
    let plans: Vec<Plan> = runs.iter_mut().map(|run| plan(run, mode, lanes, &mut packings)).collect();
    let (plans, packings) = (Shared(plans), Shared(packings));

    let threads = threads();
    parallel(threads, |thread| {
        for packing in packings.get().iter().skip(thread).step_by(threads) {
            // SAFETY: `plan` made room for every piece.
            #[allow(unsafe_code)]
            unsafe {
                packing.run(lanes);
            }
        }
    });
    share_rows(
        plans.get().len(),
        |run| plans.get()[run].batch,
        threads,
        |run, _, first, rows| {
            let plan = &plans.get()[run];
            let &Plan { steps, batch, hidden, feed, readout, valid, initial, last, .. } = plan;
            let layers = &plan.layers;
            let kernel = Forward { steps, batch, hidden, first, rows, layers, feed, readout, valid, initial, last };
            // SAFETY: `plan` sized every buffer; rows of different shares are disjoint.
            #[allow(unsafe_code)]
            unsafe {
                dispatch(&kernel);
            }
        },
    );
}

/// Call `work(run, share, first, rows)` for all runs' rows, spread over the threads.
fn share_rows(
    runs: usize,
    batch: impl Fn(usize) -> usize + Sync,
    threads: usize,
    work: impl Fn(usize, usize, usize, usize) + Sync,
) {
    if (0..runs).any(|run| batch(run) < threads) {
        // Too few rows to share: each run to a thread.
        return parallel(runs, |run| work(run, 0, 0, batch(run)));
    }
    parallel(threads, |share| {
        for run in 0..runs {
            let (first, end) = (share * batch(run) / threads, (share + 1) * batch(run) / threads);
            work(run, share, first, end - first);
        }
    });
}

/// Size a run's trace and packed weights, and say what has to be packed.
fn plan(run: &mut Run<'_>, mode: &mut Mode<'_>, lanes: usize, packings: &mut Vec<Packing>) -> Plan {
    let (stack, options) = (run.stack, (Kind::Float, Device::Cpu));
    let (steps, batch, hidden) = (run.feed.steps(), run.batch, stack.hidden_size());
    let train = matches!(mode, Mode::Train { .. });
    let mut held = Vec::new();
    let mut hold = |tensor: &Tensor| {
        let tensor = tensor.contiguous();
        let at = pointer(&tensor);
        held.push(tensor);
        at
    };
    let Trace { input, layers: traces, outputs, last, packed } = &mut *run.trace;

    // The trace.
    let h_size = [steps + 1, batch, hidden];
    if !train {
        traces.clear();
    } else if traces.len() != stack.layers.len() || traces[0].h.size() != h_size || traces[0].h.kind() != Kind::Float {
        *traces = (stack.layers.iter())
            .map(|_| LayerTrace {
                h: Tensor::empty(h_size, options),
                c: Tensor::empty(h_size, options),
                gates: Tensor::empty([steps, batch, 4 * hidden], options),
                dropout: None,
            })
            .collect();
    }
    let top = stack.layers.len() - 1;
    for (l, trace) in traces.iter_mut().enumerate() {
        trace.dropout = dropout_mask(mode, &[steps, batch, hidden], l == top, options);
    }
    let state_size = [stack.layers.len() as i64, batch, hidden];
    if last.as_ref().is_none_or(|last| last.h.size() != state_size || last.h.kind() != Kind::Float) {
        let empty = || Tensor::empty(state_size, options);
        *last = Some(State { h: empty(), c: empty() });
    }

    // The feed, and the outputs that it may feed back.
    let size = stack.readout.as_ref().map_or(0, |readout| readout.bias.size()[0]);
    let frames = |n: i64| Tensor::empty([n, batch, size], options);
    let feed = match &run.feed {
        Feed::Frames(given) => {
            *input = train.then(|| given.contiguous());
            *outputs = (size > 0).then(|| frames(steps));
            ForwardFeed::Frames(hold(given))
        }
        Feed::Nothing(_) => {
            *input = None;
            *outputs = (size > 0).then(|| frames(steps));
            ForwardFeed::Nothing
        }
        Feed::Output { activation: Activation::Identity, truth: None, .. } => {
            // A zero frame before the outputs makes the inputs of them, one step late.
            let all = frames(steps + 1);
            let _ = all.select(0, 0).zero_();
            *input = train.then(|| all.narrow(0, 0, steps));
            *outputs = Some(all.narrow(0, 1, steps));
            ForwardFeed::Output
        }
        Feed::Output { activation, truth, .. } => {
            let ring = if train { steps } else { 2 };
            let buffer = frames(ring.max(1));
            let _ = buffer.select(0, 0).zero_();
            *outputs = Some(frames(steps));
            let (truth, mask) = match truth {
                Some(truth) => (hold(truth.frames).cast_const(), hold(&truth.mask).cast_const()),
                None => (null(), null()),
            };
            let at = hold(&buffer);
            *input = train.then(|| buffer.narrow(0, 0, steps));
            let sigmoid = *activation == Activation::Sigmoid;
            ForwardFeed::Mixed { buffer: at, ring: ring as usize, sigmoid, truth, mask }
        }
    };
    packed.zero_start = run.initial.is_none();
    packed.zero_input = matches!(feed, ForwardFeed::Output | ForwardFeed::Mixed { .. });

    // The packed weights: cells layer by layer, readout, and for training the recurrent weights once more.
    let (steps, batch, hidden) = (steps as usize, batch as usize, hidden as usize);
    let (blocks, width) = (hidden.div_ceil(lanes), COLUMNS * lanes);
    let inputs = |layer: &Layer| layer.weight_ih.as_ref().map_or(0, |weight| weight.size()[1] as usize);
    let cell_size = |layer: &Layer| blocks * width * (inputs(layer) + hidden + 1);
    let size = size as usize;
    let readout_size =
        if stack.readout.is_some() { packed_size(hidden, size, lanes) + size.next_multiple_of(16) } else { 0 };
    let recurrent_size = packed_size(4 * hidden, hidden, lanes).next_multiple_of(16);
    let forward_size: usize = stack.layers.iter().map(cell_size).sum::<usize>() + readout_size;
    let backward_size = if train { recurrent_size * stack.layers.len() } else { 0 };
    let base = packed.buffer.reserve(forward_size + backward_size);

    let mut at = base;
    let mut layers = Vec::new();
    for (l, layer) in stack.layers.iter().enumerate() {
        let inputs = inputs(layer);
        let bias = at.wrapping_add(blocks * width * (inputs + hidden));
        let weights = [
            pointer_or_null(layer.weight_ih.as_ref()),
            pointer(&layer.weight_hh),
            pointer(&layer.bias_ih),
            pointer(&layer.bias_hh),
        ];
        packings.extend((0..blocks).map(|block| Packing::Cells {
            layer: weights.map(<*mut f32>::cast_const),
            inputs,
            hidden,
            block,
            panel: at.wrapping_add(block * width * (inputs + hidden)),
            bias: bias.wrapping_add(block * width),
        }));
        let trace = traces.get(l);
        layers.push(ForwardLayer {
            inputs,
            panels: at,
            bias,
            h: pointer_or_null(trace.map(|trace| &trace.h)),
            c: pointer_or_null(trace.map(|trace| &trace.c)),
            gates: pointer_or_null(trace.map(|trace| &trace.gates)),
            dropout: pointer_or_null(trace.and_then(|trace| trace.dropout.as_ref())),
        });
        at = at.wrapping_add(cell_size(layer));
    }
    let readout = stack.readout.as_ref().zip(outputs.as_ref()).map(|(readout, outputs)| {
        let b = Matrix::rows(pointer(&readout.weight), hidden).transposed();
        packings.extend((0..size).step_by(width).map(|first| Packing::Columns {
            b,
            k: hidden,
            n: size,
            first,
            to: at,
        }));
        ForwardReadout { size, panels: at, bias: pointer(&readout.bias), outputs: pointer(outputs) }
    });
    packed.recurrent.clear();
    if train {
        for (l, layer) in stack.layers.iter().enumerate() {
            let offset = forward_size.next_multiple_of(16) + l * recurrent_size;
            packed.recurrent.push(offset);
            let b = Matrix::rows(pointer(&layer.weight_hh), hidden);
            let to = base.wrapping_add(offset);
            packings.extend((0..hidden).step_by(width).map(|first| Packing::Columns {
                b,
                k: 4 * hidden,
                n: hidden,
                first,
                to,
            }));
        }
    }

    let initial =
        run.initial.map_or((null(), null()), |state| (hold(&state.h).cast_const(), hold(&state.c).cast_const()));
    let valid = run.valid.map_or(null(), |valid| hold(valid).cast_const());
    let last = last.as_ref().expect("made above");
    let last = (pointer(&last.h), pointer(&last.c));
    Plan { steps, batch, hidden, layers, feed, readout, valid, initial, last, _held: held }
}

/// Share several products out among the threads.
fn products(products: &[Product]) {
    let threads = threads();
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

/// C (m, n) = A (m, k) B (k, n), C dense.
fn dense(a: Matrix, b: Matrix, c: &Tensor, [m, n, k]: [usize; 3]) -> Product {
    Product { a, b, c: pointer(c), c_row: n, c_column: 1, m, n, k, add: false }
}

pub fn backward(backs: &[Back<'_>]) -> Vec<Option<State>> {
    let threads = threads();
    let options = (Kind::Float, Device::Cpu);
    let shape = |back: &Back<'_>| {
        let (steps, batch, wide) = back.trace.layers[0].gates.size3().expect("gates are (T, B, 4H)");
        [steps as usize, batch as usize, wide as usize / 4]
    };
    let rows = |tensor: &Tensor, width: usize| Matrix::rows(pointer(tensor), width);

    // Through the readouts, over all steps together.
    let d_outputs: Vec<Option<Tensor>> = backs.iter().map(|back| back.outputs.map(Tensor::contiguous)).collect();
    let mut above: Vec<Option<Tensor>> = backs.iter().map(|back| back.hidden.map(Tensor::contiguous)).collect();
    let mut batch_of_products = Vec::new();
    for ((back, d_outputs), above) in backs.iter().zip(&d_outputs).zip(&mut above) {
        if let (Some(d_outputs), Some(readout)) = (d_outputs, &back.stack.readout) {
            let [steps, batch, hidden] = shape(back);
            let size = readout.bias.size()[0] as usize;
            let add = above.is_some();
            let d_top = above
                .as_ref()
                .map_or_else(|| Tensor::empty([steps as i64, batch as i64, hidden as i64], options), Tensor::copy);
            let product =
                dense(rows(d_outputs, size), rows(&readout.weight, hidden), &d_top, [steps * batch, hidden, size]);
            batch_of_products.push(Product { add, ..product });
            *above = Some(d_top);
        }
    }
    products(&batch_of_products);

    // Layer by layer from the top, time backwards.
    let initial: Vec<Option<State>> = (backs.iter())
        .map(|back| {
            let [_, batch, hidden] = shape(back);
            let layers = back.stack.layers.len() as i64;
            back.wants_initial.then(|| State::zeros(layers, batch as i64, hidden as i64, options))
        })
        .collect();
    let layers = backs.first().map_or(0, |back| back.stack.layers.len());
    let mut d_gates: Vec<Vec<Tensor>> = backs.iter().map(|_| Vec::new()).collect(); // top down
    for l in (0..layers).rev() {
        for (back, d_gates) in backs.iter().zip(&mut d_gates) {
            d_gates.push(Tensor::empty_like(&back.trace.layers[l].gates));
        }
        let d_bias: Vec<Tensor> =
            (backs.iter()).map(|back| Tensor::zeros([threads as i64, 4 * shape(back)[2] as i64], options)).collect();
        let valid: Vec<Option<Tensor>> = backs.iter().map(|back| back.valid.map(Tensor::contiguous)).collect();
        let kernels: Vec<Backward> = (backs.iter().enumerate())
            .map(|(run, back)| {
                let [steps, batch, hidden] = shape(back);
                let at = |state: &State| {
                    let offset = l * batch * hidden;
                    (pointer(&state.h).wrapping_add(offset), pointer(&state.c).wrapping_add(offset))
                };
                let (dh, dc) = back.last.map_or((null(), null()), |last| {
                    let (h, c) = at(last);
                    (h.cast_const(), c.cast_const())
                });
                let trace = &back.trace.layers[l];
                let packed = &back.trace.packed;
                Backward {
                    steps,
                    batch,
                    hidden,
                    first: 0,
                    rows: 0,
                    recurrent: packed.buffer.0.as_ptr().cast::<f32>().wrapping_add(packed.recurrent[l]),
                    c: pointer(&trace.c),
                    gates: pointer(&trace.gates),
                    above: pointer_or_null(above[run].as_ref()),
                    valid: pointer_or_null(valid[run].as_ref()),
                    last: (dh, dc),
                    d_gates: pointer(&d_gates[run][layers - 1 - l]),
                    initial: initial[run].as_ref().map_or((std::ptr::null_mut(), std::ptr::null_mut()), at),
                    d_bias: pointer(&d_bias[run]),
                }
            })
            .collect();
        let kernels = Shared(kernels);
        share_rows(
            backs.len(),
            |run| kernels.get()[run].batch,
            threads,
            |run, share, first, rows| {
                let whole = kernels.get()[run];
                let d_bias = whole.d_bias.wrapping_add(share * 4 * whole.hidden);
                // SAFETY: the trace and the tensors above have the shapes of the forward pass; rows of shares are disjoint.
                #[allow(unsafe_code)]
                unsafe {
                    dispatch(&Backward { first, rows, d_bias, ..whole });
                }
            },
        );
        for (back, d_bias) in backs.iter().zip(&d_bias) {
            let gradient = &back.gradients.layers[l];
            let sum = d_bias.sum_dim_intlist(0, false, None);
            gradient.bias_ih.shallow_clone().copy_(&sum);
            gradient.bias_hh.shallow_clone().copy_(&sum);
        }
        if l > 0 {
            let mut batch_of_products = Vec::new();
            for (run, back) in backs.iter().enumerate() {
                let [steps, batch, hidden] = shape(back);
                let below = Tensor::empty([steps as i64, batch as i64, hidden as i64], options);
                if let Some(weight_ih) = &back.stack.layers[l].weight_ih {
                    let a = rows(&d_gates[run][layers - 1 - l], 4 * hidden);
                    let sizes = [steps * batch, hidden, 4 * hidden];
                    batch_of_products.push(dense(a, rows(weight_ih, hidden), &below, sizes));
                }
                above[run] = Some(below);
            }
            products(&batch_of_products);
            for (back, above) in backs.iter().zip(&mut above) {
                if let (Some(dropout), Some(above)) = (&back.trace.layers[l - 1].dropout, above) {
                    *above *= dropout;
                }
            }
        }
    }

    // The weights' gradients, over all steps together.
    let mut batch_of_products = Vec::new();
    let mut held = Vec::new();
    for (run, back) in backs.iter().enumerate() {
        let [steps, batch, hidden] = shape(back);
        // Rows of zeros at the start add nothing.
        let over_time = |d: &Tensor, x: &Tensor, width: usize, to: &Tensor, skip: bool, d_width: usize| {
            let skip = if skip { batch.min(steps * batch) } else { 0 };
            let a = rows(d, d_width).from(skip, 0).transposed();
            dense(a, rows(x, width).from(skip, 0), to, [d_width, width, steps * batch - skip])
        };
        for l in 0..layers {
            let d = &d_gates[run][layers - 1 - l];
            let gradient = &back.gradients.layers[l];
            let packed = &back.trace.packed;
            let h = &back.trace.layers[l].h;
            batch_of_products.push(over_time(d, h, hidden, &gradient.weight_hh, packed.zero_start, 4 * hidden));
            if let Some(weight_ih) = &gradient.weight_ih {
                let input = match l {
                    0 => back.trace.input.as_ref().expect("a training pass keeps its input").contiguous(),
                    _ => back.trace.layers[l - 1].upward(),
                };
                let width = weight_ih.size()[1] as usize;
                let skip = l == 0 && packed.zero_input;
                batch_of_products.push(over_time(d, &input, width, weight_ih, skip, 4 * hidden));
                held.push(input);
            }
        }
        if let (Some(d_outputs), Some(gradient)) = (&d_outputs[run], &back.gradients.readout) {
            let size = gradient.bias.size()[0] as usize;
            let top = back.trace.layers[layers - 1].upward();
            batch_of_products.push(over_time(d_outputs, &top, hidden, &gradient.weight, false, size));
            held.push(top);
            gradient.bias.shallow_clone().copy_(&d_outputs.sum_dim_intlist([0i64, 1].as_slice(), false, None));
        }
    }
    products(&batch_of_products);
    initial
}
