//! Forward passes: size the traces, pack the weights, share the rows out.

use std::ptr::null;

use tch::{Device, Kind, Tensor};

use super::blocks::Product;
use super::pass::{Forward, ForwardFeed, ForwardLayer, ForwardReadout};
use super::product::{Matrix, pack, pack_panel, packed_size};
use super::simd::{COLUMNS, ISA, dispatch};
use super::{Buffer, Shared, Trace, multiply, pointer, pointer_or_null, reuse, share_rows};
use crate::lstm::{Activation, Feed, Layer, LayerTrace, Mode, Run, State, dropout_mask};
use crate::stop::Meter;
use crate::threads::{parallel, threads};

/// A piece of packing, small enough to share out.
#[derive(Clone, Copy)]
enum Packing {
    /// The weights and biases of `LANES` units of a layer; `folded` is the readout's bias seen through the input weights,
    /// or null.
    Cells {
        layer: [*const f32; 4],
        folded: *const f32,
        inputs: usize,
        hidden: usize,
        block: usize,
        panel: *mut f32,
        first_bias: *mut f32,
        bias: *mut f32,
    },
    /// Columns of a (k, n) matrix, from the panel that starts at `first`.
    Columns { b: Matrix, k: usize, n: usize, first: usize, to: *mut f32 },
}

impl Packing {
    /// About what a piece costs, in multiplications: numbers are read and written in different orders.
    fn work(self, lanes: usize) -> usize {
        let rows = match self {
            Self::Cells { inputs, hidden, .. } => inputs + hidden,
            Self::Columns { k, .. } => k,
        };
        8 * COLUMNS * lanes * rows
    }

    #[allow(unsafe_code)]
    unsafe fn run(self, lanes: usize) {
        match self {
            // SAFETY: `panel` and `bias` have room for one block, the weights the shapes that `inputs` and `hidden` say.
            Self::Cells {
                layer: [weight_ih, weight_hh, bias_ih, bias_hh],
                folded,
                inputs,
                hidden,
                block,
                panel,
                first_bias,
                bias,
            } => unsafe {
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
                        let exists = lane < n;
                        let sum = if exists { *bias_ih.add(row + lane) + *bias_hh.add(row + lane) } else { 0.0 };
                        let more = if exists && !folded.is_null() { *folded.add(row + lane) } else { 0.0 };
                        *first_bias.add(gate * lanes + lane) = sum;
                        *bias.add(gate * lanes + lane) = sum + more;
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

/// Everything about a forward pass except its rows.
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
    _held: Held,
}

impl Plan {
    /// Multiplications of one row in one layer's cells.
    fn cell_work(&self, layer: &ForwardLayer) -> usize {
        4 * self.hidden * (layer.inputs + self.hidden)
    }
}

pub fn forward(runs: &mut [Run<'_, Trace>], mode: &mut Mode<'_>) {
    let lanes = ISA.lanes();
    let mut packings = Vec::new();
    let plans: Vec<Plan> = runs.iter_mut().map(|run| plan(run, mode, lanes, &mut packings)).collect();
    let (plans, packings) = (Shared(plans), Shared(packings));

    let work =
        |plan: &Plan| plan.steps * plan.batch * plan.layers.iter().map(|layer| plan.cell_work(layer)).sum::<usize>();
    let threads = threads(plans.get().iter().map(work).sum());
    parallel(threads, |thread| {
        let mut meter = Meter::default();
        for packing in packings.get().iter().skip(thread).step_by(threads) {
            // SAFETY: `plan` made room for every piece.
            #[allow(unsafe_code)]
            unsafe {
                packing.run(lanes);
            }
            meter.add(packing.work(lanes));
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
    for run in runs {
        run.trace.workspace.version = run.version;
    }
}

/// Size a run's trace and workspace, and list what must be packed.
fn plan(run: &mut Run<'_, Trace>, mode: &mut Mode<'_>, lanes: usize, packings: &mut Vec<Packing>) -> Plan {
    let stack = run.stack;
    let (steps, batch, hidden) = (run.feed.steps(), run.batch, stack.hidden_size());
    let train = matches!(mode, Mode::Train { .. });
    let fold = Fold::of(run);
    let mut held = Held(Vec::new());
    size_trace(run.trace, [stack.layers.len() as i64, steps, batch, hidden], mode);
    let feed = size_feed(run, train, fold.is_some(), &mut held);

    let Trace { layers: traces, outputs, last, workspace, .. } = &mut *run.trace;
    workspace.zero_start = run.initial.is_none();
    workspace.zero_input = matches!(run.feed, Feed::Output { .. });
    let hidden = hidden as usize;
    workspace.cells.resize_with(stack.layers.len(), Buffer::default);
    let (others, kept) = (packings.len(), run.version.is_some() && workspace.version == run.version);
    // Not valid until all is packed: memory may run out before that.
    workspace.version = None;
    let layers = (stack.layers.iter().enumerate())
        .map(|(l, layer)| {
            let fold = fold.as_ref().filter(|_| l == 0);
            pack_cells(layer, fold, hidden, traces.get(l), &mut workspace.cells[l], lanes, packings)
        })
        .collect();
    let readout = stack.readout.as_ref().zip(outputs.as_ref()).map(|(readout, outputs)| {
        let size = readout.bias.size()[0] as usize;
        let weight = Matrix::rows(pointer(&readout.weight), hidden).transposed();
        let panels = pack_columns(weight, hidden, size, &mut workspace.readout, lanes, packings);
        ForwardReadout { size, panels, bias: pointer(&readout.bias), outputs: pointer(outputs) }
    });
    if train {
        // Once more for the backward pass.
        workspace.recurrent.resize_with(stack.layers.len(), Buffer::default);
        for (layer, buffer) in stack.layers.iter().zip(&mut workspace.recurrent) {
            let weight = Matrix::rows(pointer(&layer.weight_hh), hidden);
            pack_columns(weight, 4 * hidden, hidden, buffer, lanes, packings);
        }
    }

    if kept {
        packings.truncate(others);
    }

    let initial = run.initial.map_or((null(), null()), |state| (held.hold(&state.h), held.hold(&state.c)));
    let valid = run.valid.map_or(null(), |valid| held.hold(valid));
    let last = last.as_ref().map(|last| (pointer(&last.h), pointer(&last.c))).expect("sized above");
    if let Some(Fold { weight, bias }) = fold {
        held.0.extend([weight, bias]);
    }
    let (steps, batch) = (steps as usize, batch as usize);
    Plan { steps, batch, hidden, layers, feed, readout, valid, initial, last, _held: held }
}

/// Keeps the tensors alive that a plan's pointers point into.
struct Held(Vec<Tensor>);

impl Held {
    fn hold(&mut self, tensor: &Tensor) -> *const f32 {
        let tensor = tensor.contiguous();
        let at = pointer(&tensor);
        self.0.push(tensor);
        at
    }
}

/// Linear outputs that are fed back are multiplied by the input weights at once: x_t W_ih' = h_{t-1} (W_ih W_fc)' +
/// (W_ih b_fc)', which takes fewer multiplications for large frames.
struct Fold {
    /// W_ih W_fc, (4H, H)
    weight: Tensor,
    /// W_ih b_fc, (4H)
    bias: Tensor,
}

impl Fold {
    /// None if it is impossible or slower.
    fn of(run: &Run<'_, Trace>) -> Option<Self> {
        let Feed::Output { steps, activation: Activation::Identity, truth: None } = run.feed else { return None };
        let (readout, weight_ih) = (run.stack.readout.as_ref()?, run.stack.layers[0].weight_ih.as_ref()?);
        let (size, hidden) = (readout.bias.size()[0], run.stack.hidden_size());
        // Multiplications saved over all steps, against those of making the product, by the row of 4H.
        if (steps - 1) * run.batch * (size - hidden) <= hidden * size {
            return None;
        }
        let weight = Tensor::empty([4 * hidden, hidden], (Kind::Float, Device::Cpu));
        let (m, n, k) = (4 * hidden as usize, hidden as usize, size as usize);
        let (a, b) = (Matrix::rows(pointer(weight_ih), k), Matrix::rows(pointer(&readout.weight), n));
        multiply(&[Product { a, b, c: pointer(&weight), c_row: n, c_column: 1, m, n, k, add: false }]);
        Some(Self { weight, bias: weight_ih.mv(&readout.bias) })
    }
}

/// Allocate what a pass leaves behind; tensors of the right size are reused.
fn size_trace(trace: &mut Trace, [layers, steps, batch, hidden]: [i64; 4], mode: &mut Mode<'_>) {
    let options = (Kind::Float, Device::Cpu);
    let empty = |size: [i64; 3]| Tensor::empty(size, options);
    let fits = |tensor: &Tensor, size: [i64; 3]| tensor.size() == size && tensor.kind() == Kind::Float;

    let h_size = [steps + 1, batch, hidden];
    if matches!(mode, Mode::Eval) {
        trace.layers.clear();
    } else if trace.layers.len() != layers as usize || !fits(&trace.layers[0].h, h_size) {
        let gates = [steps, batch, 4 * hidden];
        let layer = || LayerTrace { h: empty(h_size), c: empty(h_size), gates: empty(gates), dropout: None };
        trace.layers = (0..layers).map(|_| layer()).collect();
    }
    for (l, layer) in trace.layers.iter_mut().enumerate() {
        let top = l == layers as usize - 1;
        layer.dropout = dropout_mask(mode, &[steps, batch, hidden], top, options);
    }
    let size = [layers, batch, hidden];
    if trace.last.as_ref().is_none_or(|last| !fits(&last.h, size)) {
        trace.last = Some(State { h: empty(size), c: empty(size) });
    }
}

/// Allocate the outputs and the fed frames, and return where the bottom layer finds its input.
fn size_feed(run: &mut Run<'_, Trace>, train: bool, folded: bool, held: &mut Held) -> ForwardFeed {
    let (steps, batch) = (run.feed.steps(), run.batch);
    let size = run.stack.readout.as_ref().map(|readout| readout.bias.size()[0]);
    let Trace { input, outputs, workspace, .. } = &mut *run.trace;
    *input = None;
    if let (Feed::Output { activation: Activation::Identity, truth: None, .. }, Some(size)) = (&run.feed, size) {
        // A zero frame before the outputs makes the inputs of them, one step late.
        let all = reuse(&mut workspace.outputs, [steps + 1, batch, size]);
        let _ = all.select(0, 0).zero_();
        *input = train.then(|| all.narrow(0, 0, steps));
        *outputs = Some(all.narrow(0, 1, steps));
        return if folded { ForwardFeed::Folded } else { ForwardFeed::Output };
    }
    *outputs = size.map(|size| reuse(&mut workspace.outputs, [steps, batch, size]));
    match &run.feed {
        Feed::Frames(frames) => {
            *input = train.then(|| frames.contiguous());
            ForwardFeed::Frames(held.hold(frames))
        }
        Feed::Nothing(_) => ForwardFeed::Nothing,
        Feed::Output { activation, truth, .. } => {
            let ring = if train { steps.max(1) } else { 2 };
            let fed = reuse(&mut workspace.fed, [ring, batch, size.unwrap_or(0)]);
            let _ = fed.select(0, 0).zero_();
            *input = train.then(|| fed.narrow(0, 0, steps));
            let (truth, mask) =
                truth.as_ref().map_or((null(), null()), |truth| (held.hold(truth.frames), held.hold(&truth.mask)));
            let sigmoid = *activation == Activation::Sigmoid;
            ForwardFeed::Mixed { buffer: pointer(&fed), ring: ring as usize, sigmoid, truth, mask }
        }
    }
}

/// Allocate one layer's packed weights, and list the pieces to pack.
fn pack_cells(
    layer: &Layer,
    fold: Option<&Fold>,
    hidden: usize,
    trace: Option<&LayerTrace>,
    buffer: &mut Buffer,
    lanes: usize,
    packings: &mut Vec<Packing>,
) -> ForwardLayer {
    let weight_ih = fold.map(|fold| &fold.weight).or(layer.weight_ih.as_ref());
    let inputs = weight_ih.map_or(0, |weight| weight.size()[1] as usize);
    let (blocks, width) = (hidden.div_ceil(lanes), COLUMNS * lanes);
    let panel_size = width * (inputs + hidden);
    let panels = buffer.reserve(blocks * (panel_size + 2 * width));
    let first_bias = panels.wrapping_add(blocks * panel_size);
    let bias = first_bias.wrapping_add(blocks * width);
    let weights =
        [pointer_or_null(weight_ih), pointer(&layer.weight_hh), pointer(&layer.bias_ih), pointer(&layer.bias_hh)];
    packings.extend((0..blocks).map(|block| Packing::Cells {
        layer: weights.map(<*mut f32>::cast_const),
        folded: pointer_or_null(fold.map(|fold| &fold.bias)),
        inputs,
        hidden,
        block,
        panel: panels.wrapping_add(block * panel_size),
        first_bias: first_bias.wrapping_add(block * width),
        bias: bias.wrapping_add(block * width),
    }));
    ForwardLayer {
        inputs,
        panels,
        first_bias,
        bias,
        peepholes: pointer_or_null(layer.weight_ch.as_ref()),
        h: pointer_or_null(trace.map(|trace| &trace.h)),
        c: pointer_or_null(trace.map(|trace| &trace.c)),
        gates: pointer_or_null(trace.map(|trace| &trace.gates)),
        dropout: pointer_or_null(trace.and_then(|trace| trace.dropout.as_ref())),
    }
}

/// Allocate the panels of a (k, n) matrix, and list the pieces to pack.
fn pack_columns(
    b: Matrix,
    k: usize,
    n: usize,
    buffer: &mut Buffer,
    lanes: usize,
    packings: &mut Vec<Packing>,
) -> *const f32 {
    let to = buffer.reserve(packed_size(k, n, lanes));
    packings.extend((0..n).step_by(COLUMNS * lanes).map(|first| Packing::Columns { b, k, n, first, to }));
    to
}
