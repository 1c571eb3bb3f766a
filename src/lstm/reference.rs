//! The reference backend: libtorch's operators, step by step. Faster backends are tested against it.

use tch::{IndexOp, Tensor};

use super::backend::{Backend, Steps};
use super::{
    Back, Feed, Layer, LayerTrace, Mode, Run, State, dropout_mask, flat, last_size, over_time, readout_backward,
    without_dropout,
};
use crate::stop;

pub(super) struct Reference;

/// What a forward pass leaves behind.
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
}

impl Trace {
    /// (T, B, H): h of the top layer at every step.
    pub(super) fn top(&self) -> Option<Tensor> {
        self.layers.last().map(LayerTrace::upward)
    }
}

impl Backend for Reference {
    type Trace = Trace;

    fn forward(runs: Vec<Run<'_, Trace>>, mode: &mut Mode<'_>) {
        for run in runs {
            forward(run, mode);
        }
    }

    fn backward(backs: Vec<Back<'_, Trace>>) -> Vec<Option<State>> {
        backs.iter().map(|back| Some(backward(back)).filter(|_| back.wants_initial)).collect()
    }

    fn traced(run: Run<'_, Trace>) -> Steps {
        let Run { stack, feed, initial, batch, valid, version, trace } = run;
        let run = Run { stack, feed, initial, batch, valid, version, trace: &mut *trace };
        without_dropout(|mode| forward(run, mode));
        over_time(&trace.layers)
    }
}

/// One step: activated gates (B, 4H), h (B, H), c (B, H).
fn step(layer: &Layer, x: Option<&Tensor>, h: &Tensor, c: &Tensor) -> (Tensor, Tensor, Tensor) {
    let mut sums = h.matmul(&layer.weight_hh.tr()) + &layer.bias_ih + &layer.bias_hh;
    if let (Some(x), Some(weight_ih)) = (x, &layer.weight_ih) {
        sums += x.matmul(&weight_ih.tr());
    }
    cell(&sums, c, layer.weight_ch.as_ref())
}

/// The cell: activated gates (..., 4H), h and c (..., H) from the gates' sums, c before, and peepholes (..., 3H).
pub(super) fn cell(sums: &Tensor, c: &Tensor, weight_ch: Option<&Tensor>) -> (Tensor, Tensor, Tensor) {
    let [mut i, mut f, g, mut o] = quarters(sums);
    if let Some([to_i, to_f, _]) = weight_ch.map(thirds) {
        i += c * to_i;
        f += c * to_f;
    }
    let (i, f, g) = (i.sigmoid(), f.sigmoid(), g.tanh());
    let c = &f * c + &i * &g;
    if let Some([_, _, to_o]) = weight_ch.map(thirds) {
        o += &c * to_o;
    }
    let o = o.sigmoid();
    let h = &o * c.tanh();
    (Tensor::cat(&[i, f, g, o], -1), h, c)
}

/// The backward pass through a cell: the gradients at the gates' sums and at c before, from its activated gates, c before and
/// after, peepholes, and the gradients at h and c after.
pub(super) fn cell_backward(
    gates: &Tensor,
    [before, after]: [&Tensor; 2],
    weight_ch: Option<&Tensor>,
    dh: &Tensor,
    dc: &Tensor,
) -> (Tensor, Tensor) {
    let [i, f, g, o] = quarters(gates);
    let tanh_c = after.tanh();
    let d_o = dh * &tanh_c * &o * (1.0 - &o);
    let mut dc = dc + dh * &o * (1.0 - &tanh_c * &tanh_c);
    if let Some([_, _, to_o]) = weight_ch.map(thirds) {
        dc += &d_o * to_o;
    }
    let d_i = &dc * &g * &i * (1.0 - &i);
    let d_f = &dc * before * &f * (1.0 - &f);
    let d_g = &dc * &i * (1.0 - &g * &g);
    dc *= f;
    if let Some([to_i, to_f, _]) = weight_ch.map(thirds) {
        dc += &d_i * to_i + &d_f * to_f;
    }
    (Tensor::cat(&[d_i, d_f, d_g, d_o], -1), dc)
}

/// The gradients of peepholes (3H), from those at all gates' sums (n, 4H) and c before and after (n, H).
pub(super) fn peepholes_backward(d_gates: &Tensor, [before, after]: [&Tensor; 2], gradient: &Tensor) {
    let [d_i, d_f, _, d_o] = quarters(d_gates);
    for (to, each) in thirds(gradient).iter().zip([d_i * before, d_f * before, d_o * after]) {
        write(to, &each.sum_dim_intlist(0, false, None));
    }
}

fn quarters(gates: &Tensor) -> [Tensor; 4] {
    let hidden = last_size(gates) / 4;
    [0, 1, 2, 3].map(|quarter| gates.narrow(-1, quarter * hidden, hidden))
}

/// A layer's peepholes, or their gradients, for i, f and o: (..., H) each.
fn thirds(weight_ch: &Tensor) -> [Tensor; 3] {
    let hidden = last_size(weight_ch) / 3;
    [0, 1, 2].map(|third| weight_ch.narrow(-1, third * hidden, hidden))
}

fn forward(run: Run<'_, Trace>, mode: &mut Mode<'_>) {
    let (stack, steps, options) = (run.stack, run.feed.steps(), run.stack.options());
    let (layers, batch, hidden) = (stack.layers.len() as i64, run.batch, stack.hidden_size());
    let zeros = State::zeros(layers, batch, hidden, options);
    let initial = run.initial.unwrap_or(&zeros);
    let train = matches!(mode, Mode::Train { .. });

    let trace = run.trace;
    trace.layers.clear();
    if train {
        for l in 0..layers {
            let empty = |steps, width| Tensor::empty([steps, batch, width], options);
            let dropout = dropout_mask(mode, &[steps, batch, hidden], l == layers - 1, options);
            let layer = LayerTrace {
                h: empty(steps + 1, hidden),
                c: empty(steps + 1, hidden),
                gates: empty(steps, 4 * hidden),
                dropout,
            };
            layer.h.i(0).copy_(&initial.h.i(l));
            layer.c.i(0).copy_(&initial.c.i(l));
            trace.layers.push(layer);
        }
    }

    let mut h: Vec<Tensor> = (0..layers).map(|l| initial.h.i(l)).collect();
    let mut c: Vec<Tensor> = (0..layers).map(|l| initial.c.i(l)).collect();
    let mut fed = Vec::new();
    let mut outputs: Vec<Tensor> = Vec::new();
    for t in 0..steps {
        stop::look();
        let mut x = input(&run.feed, t, &outputs, batch, stack);
        if let (true, Some(x)) = (train, &x) {
            fed.push(x.shallow_clone());
        }
        for (l, layer) in stack.layers.iter().enumerate() {
            let (gates, mut new_h, mut new_c) = step(layer, x.as_ref(), &h[l], &c[l]);
            if let Some(valid) = run.valid {
                new_h *= valid.i(t);
                new_c *= valid.i(t);
            }
            x = Some(new_h.shallow_clone());
            if train {
                let trace = &trace.layers[l];
                trace.gates.i(t).copy_(&gates);
                trace.h.i(t + 1).copy_(&new_h);
                trace.c.i(t + 1).copy_(&new_c);
                x = Some(match &trace.dropout {
                    Some(dropout) => &new_h * dropout.i(t),
                    None => new_h.shallow_clone(),
                });
            }
            (h[l], c[l]) = (new_h, new_c);
        }
        if let (Some(readout), Some(top)) = (&stack.readout, &x) {
            outputs.push(top.matmul(&readout.weight.tr()) + &readout.bias);
        }
    }

    let over_time = |steps: &[Tensor], width: i64| match steps {
        [] => Tensor::empty([0, batch, width], options),
        steps => Tensor::stack(steps, 0),
    };
    let input_size = stack.layers[0].weight_ih.as_ref().map(|weight| weight.size()[1]);
    trace.input = input_size.filter(|_| train).map(|width| over_time(&fed, width));
    trace.outputs = stack.readout.as_ref().map(|readout| over_time(&outputs, readout.bias.size()[0]));
    trace.last = Some(State { h: Tensor::stack(&h, 0), c: Tensor::stack(&c, 0) });
}

/// (B, D): the frame that step t is fed.
fn input(feed: &Feed<'_>, t: i64, outputs: &[Tensor], batch: i64, stack: &super::Stack) -> Option<Tensor> {
    match feed {
        Feed::Frames(frames) => Some(frames.i(t)),
        Feed::Nothing(_) => None,
        Feed::Output { activation, truth, .. } => Some(match (outputs.last(), truth) {
            (None, _) => {
                let width = stack.layers[0].weight_ih.as_ref().map_or(0, |w| w.size()[1]);
                Tensor::zeros([batch, width], stack.options())
            }
            (Some(own), None) => activation.apply(own),
            (Some(own), Some(truth)) => activation.apply(own).where_self(&truth.mask.i(t).eq(0.0), &truth.frames.i(t)),
        }),
    }
}

fn backward(back: &Back<'_, Trace>) -> State {
    let (stack, trace, gradients) = (back.stack, &*back.trace, back.gradients);
    let (layers, hidden) = (stack.layers.len() as i64, stack.hidden_size());
    let (steps, batch) = (trace.layers[0].gates.size()[0], trace.layers[0].gates.size()[1]);

    // The readout: one product each, over all steps together.
    let mut above = None; // (T, B, H)
    if let (Some(d_outputs), Some(readout), Some(gradient)) = (back.outputs, &stack.readout, &gradients.readout) {
        let top = trace.top().expect("a training pass keeps its trace");
        readout_backward(&top, d_outputs, gradient);
        above = Some(d_outputs.matmul(&readout.weight));
    }

    let initial = State::zeros(layers, batch, hidden, stack.options());
    for l in (0..layers).rev() {
        let (layer, trace_l, gradient) =
            (&stack.layers[l as usize], &trace.layers[l as usize], &gradients.layers[l as usize]);
        let mut dh = back.last.map_or_else(|| initial.h.i(l), |last| last.h.i(l));
        let mut dc = back.last.map_or_else(|| initial.c.i(l), |last| last.c.i(l));
        let d_gates = Tensor::empty_like(&trace_l.gates);

        // Time backwards: the only product that must go step by step.
        for t in (0..steps).rev() {
            stop::look();
            if let Some(above) = &above {
                dh = dh + above.i(t);
            }
            if let Some(valid) = back.valid {
                dh = dh * valid.i(t);
                dc = dc * valid.i(t);
            }
            let c = [&trace_l.c.i(t), &trace_l.c.i(t + 1)];
            let (d_sums, d_before) = cell_backward(&trace_l.gates.i(t), c, layer.weight_ch.as_ref(), &dh, &dc);
            dc = d_before;
            d_gates.i(t).copy_(&d_sums);
            dh = d_gates.i(t).matmul(&layer.weight_hh);
        }
        initial.h.i(l).copy_(&dh);
        initial.c.i(l).copy_(&dc);

        // Over all steps together.
        let d_all = flat(&d_gates);
        write(&gradient.weight_hh, &d_all.tr().matmul(&flat(&trace_l.h.narrow(0, 0, steps))));
        let d_bias = d_all.sum_dim_intlist(0, false, None);
        write(&gradient.bias_ih, &d_bias);
        write(&gradient.bias_hh, &d_bias);
        if let Some(d_weight) = &gradient.weight_ch {
            let [before, after] = [0, 1].map(|first| flat(&trace_l.c.narrow(0, first, steps)));
            peepholes_backward(&d_all, [&before, &after], d_weight);
        }
        let below = (l > 0).then(|| &trace.layers[l as usize - 1]);
        let input = below.map(LayerTrace::upward).or_else(|| trace.input.as_ref().map(Tensor::shallow_clone));
        if let (Some(input), Some(d_weight)) = (&input, &gradient.weight_ih) {
            write(d_weight, &d_all.tr().matmul(&flat(input)));
        }
        if let (Some(below), Some(weight_ih)) = (below, &layer.weight_ih) {
            let d_input = d_gates.matmul(weight_ih);
            above = Some(match &below.dropout {
                Some(dropout) => d_input * dropout,
                None => d_input,
            });
        }
    }
    initial
}

pub(super) fn write(to: &Tensor, from: &Tensor) {
    to.shallow_clone().copy_(from);
}

pub(super) fn squared_error(
    outputs: &Tensor,
    target: &Tensor,
    mask: Option<&Tensor>,
    scale: f64,
    d: &mut Tensor,
) -> Tensor {
    let difference = outputs - target;
    let difference = mask.map_or_else(|| difference.shallow_clone(), |mask| &difference * mask);
    d.copy_(&(&difference * scale));
    difference.square().sum(Some(tch::Kind::Double))
}
