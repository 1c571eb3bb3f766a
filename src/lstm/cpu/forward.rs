//! Forward passes: traces sized, weights packed, rows shared out.

use std::ptr::null;

use tch::{Device, Kind, Tensor};

use super::pass::{Forward, ForwardFeed, ForwardLayer, ForwardReadout};
use super::product::{Matrix, pack, pack_panel, packed_size};
use super::simd::{COLUMNS, ISA, dispatch};
use super::{Shared, pointer, pointer_or_null, reuse, share_rows, threads};
use crate::libtorch::parallel;
use crate::lstm::{Activation, Feed, Layer, LayerTrace, Mode, Run, State, Trace, dropout_mask};

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

impl Plan {
    /// Multiplications of one row in one layer's cells.
    fn cell_work(&self, layer: &ForwardLayer) -> usize {
        4 * self.hidden * (layer.inputs + self.hidden)
    }
}

pub fn forward(runs: &mut [Run<'_>], mode: &mut Mode<'_>) {
    let lanes = ISA.lanes();
    let mut packings = Vec::new();
    let plans: Vec<Plan> = runs.iter_mut().map(|run| plan(run, mode, lanes, &mut packings)).collect();
    let (plans, packings) = (Shared(plans), Shared(packings));

    let work =
        |plan: &Plan| plan.steps * plan.batch * plan.layers.iter().map(|layer| plan.cell_work(layer)).sum::<usize>();
    let threads = threads(plans.get().iter().map(work).sum());
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
    let Trace { input, layers: traces, outputs, last, workspace } = &mut *run.trace;

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
    let feed = match &run.feed {
        Feed::Output { activation: Activation::Identity, truth: None, .. } => {
            // A zero frame before the outputs makes the inputs of them, one step late.
            let all = reuse(&mut workspace.outputs, [steps + 1, batch, size]);
            let _ = all.select(0, 0).zero_();
            *input = train.then(|| all.narrow(0, 0, steps));
            *outputs = Some(all.narrow(0, 1, steps));
            ForwardFeed::Output
        }
        other => {
            *outputs = (size > 0).then(|| reuse(&mut workspace.outputs, [steps, batch, size]));
            match other {
                Feed::Frames(given) => {
                    *input = train.then(|| given.contiguous());
                    ForwardFeed::Frames(hold(given))
                }
                Feed::Nothing(_) => {
                    *input = None;
                    ForwardFeed::Nothing
                }
                Feed::Output { activation, truth, .. } => {
                    let ring = if train { steps } else { 2 };
                    let fed = reuse(&mut workspace.fed, [ring.max(1), batch, size]);
                    let _ = fed.select(0, 0).zero_();
                    *input = train.then(|| fed.narrow(0, 0, steps));
                    let (truth, mask) = match truth {
                        Some(truth) => (hold(truth.frames).cast_const(), hold(&truth.mask).cast_const()),
                        None => (null(), null()),
                    };
                    let sigmoid = *activation == Activation::Sigmoid;
                    ForwardFeed::Mixed { buffer: pointer(&fed), ring: ring as usize, sigmoid, truth, mask }
                }
            }
        }
    };
    workspace.zero_start = run.initial.is_none();
    workspace.zero_input = matches!(feed, ForwardFeed::Output | ForwardFeed::Mixed { .. });

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
    let base = workspace.packed.reserve(forward_size + backward_size);

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
    workspace.recurrent.clear();
    if train {
        for (l, layer) in stack.layers.iter().enumerate() {
            let offset = forward_size.next_multiple_of(16) + l * recurrent_size;
            workspace.recurrent.push(offset);
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
