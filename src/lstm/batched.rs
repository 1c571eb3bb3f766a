//! The batched backend: stacks of one shape side by side, such as both decoders, with one batched product per step for all of
//! them, and libtorch's fused cell. It runs on GPUs, and multiplies 16-bit numbers on any device.
//!
//! G stacks; each tensor has G as its first dimension. States, sums and gradients are in the stacks' own kind (float32);
//! factors are in that of the weights, which may have 16 bits. If no step waits for an output (the encoder), the inputs of a
//! layer are multiplied for all steps at once.

use tch::{Device, IndexOp, Kind, Tensor};

use super::backend::{self, Backend};
use super::reference::{self, Reference, peepholes_backward, write};
use super::{Back, Feed, Layer, Mode, Run, Stack, State, Steps, dropout_mask, flat, last_size};
use crate::libtorch::{fused_cell, fused_cell_backward};
use crate::stop;

pub(super) struct Batched;

/// What a forward pass leaves behind for one stack.
#[derive(Debug, Default)]
pub struct Trace {
    /// (T, B, D): what the bottom layer was fed; None without an input, and in evaluation.
    pub(super) input: Option<Tensor>,
    /// (T, B, H): h of the top layer at every step; None in evaluation.
    top: Option<Tensor>,
    /// (T, B, D): the readout, before any activation.
    pub(super) outputs: Option<Tensor>,
    /// The state after the last step.
    pub(super) last: Option<State>,
    /// Shared by all stacks of the pass; the first of them holds it.
    tape: Option<Tape>,
}

impl Trace {
    /// (T, B, H): h of the top layer at every step.
    pub(super) fn top(&self) -> Option<Tensor> {
        self.top.as_ref().map(Tensor::shallow_clone)
    }
}

impl Backend for Batched {
    type Trace = Trace;

    fn trace(trace: &mut backend::Trace) -> &mut Trace {
        if !matches!(trace, backend::Trace::Batched(_)) {
            *trace = backend::Trace::Batched(Trace::default());
        }
        let backend::Trace::Batched(own) = trace else { unreachable!("it was set above") };
        own
    }

    fn forward(mut runs: Vec<Run<'_, Trace>>, mode: &mut Mode<'_>) {
        forward(&mut runs, mode);
    }

    fn backward(mut backs: Vec<Back<'_, Trace>>) -> Vec<Option<State>> {
        backward(&mut backs)
    }

    /// Its own h may have 16 bits, so the reference makes the pass.
    fn traced(run: Run<'_, Trace>) -> Steps {
        let Run { stack, feed, initial, batch, valid, version, trace } = run;
        let mut own = reference::Trace::default();
        let steps = Reference::traced(Run { stack, feed, initial, batch, valid, version, trace: &mut own });
        *trace = Trace { outputs: own.outputs, last: own.last, ..Trace::default() };
        steps
    }
}

/// What a forward pass of G stacks leaves behind for the backward pass.
#[derive(Debug, Default)]
struct Tape {
    /// Bottom up.
    layers: Vec<LayerTape>,
    /// (G, T, B, D): what the bottom layer was fed.
    input: Option<Tensor>,
    /// Whether the first input was zero.
    zero_input: bool,
}

#[derive(Debug)]
struct LayerTape {
    /// (G, T + 1, B, H), the initial state first, in the kind that is multiplied.
    h: Tensor,
    /// T + 1 tensors (G, B, H), the initial state first.
    c: Vec<Tensor>,
    /// T tensors (G, B, 4H): i, f, g, o after their activations.
    gates: Vec<Tensor>,
    /// (G, T, B, H), as in `LayerTrace`.
    dropout: Option<Tensor>,
}

impl LayerTape {
    /// (G, T, B, H): h of every step as it goes up.
    fn upward(&self) -> Tensor {
        let h = self.h.narrow(1, 1, self.h.size()[1] - 1);
        match &self.dropout {
            Some(dropout) => (&h * dropout).to_kind(h.kind()),
            None => h,
        }
    }
}

/// A layer's weights of all stacks, in the kind of their products.
struct StackedWeights {
    /// (G, inputs, 4H)
    input: Option<Tensor>,
    /// (G, H, 4H)
    recurrent: Tensor,
    /// (G, 1, 4H): both biases.
    bias: Tensor,
    /// (G, 1, 3H)
    peepholes: Option<Tensor>,
}

impl StackedWeights {
    fn of(layers: &[&Layer]) -> Self {
        let each = |one: fn(&Layer) -> &Tensor| stacked_view(layers.iter().map(|layer| one(layer)));
        Self {
            input: stacked_views_if_all(layers.iter().map(|layer| layer.weight_ih.as_ref()))
                .map(|weight| weight.transpose(1, 2)),
            recurrent: each(|layer| &layer.weight_hh).transpose(1, 2),
            bias: (each(|layer| &layer.bias_ih) + each(|layer| &layer.bias_hh)).unsqueeze(1),
            peepholes: peepholes(layers),
        }
    }
}

/// (G, 1, 3H), if the layers have them.
fn peepholes(layers: &[&Layer]) -> Option<Tensor> {
    stacked_views_if_all(layers.iter().map(|layer| layer.weight_ch.as_ref())).map(|weight| weight.unsqueeze(1))
}

/// Tensors of one shape as one with G in front. Two of them lie in one flat tensor, so nothing is copied.
fn stacked_view<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> Tensor {
    let tensors: Vec<&Tensor> = tensors.collect();
    let [first, second] = tensors.as_slice() else { return tensors[0].unsqueeze(0) };
    let apart = (second.data_ptr() as usize).wrapping_sub(first.data_ptr() as usize) / first.kind().elt_size_in_bytes();
    let (mut size, mut stride) = (vec![2], vec![apart as i64]);
    size.extend(first.size());
    stride.extend(first.stride());
    first.as_strided(size, stride, None)
}

/// The same, if all stacks have such a tensor.
fn stacked_views_if_all<'a>(tensors: impl Iterator<Item = Option<&'a Tensor>>) -> Option<Tensor> {
    tensors.collect::<Option<Vec<_>>>().map(|all| stacked_view(all.into_iter()))
}

/// Tensors of one shape as one with G in front; several are copied.
fn stacked(tensors: &[Tensor]) -> Tensor {
    match tensors {
        [one] => one.unsqueeze(0),
        all => Tensor::stack(all, 0),
    }
}

/// a b, (G, m, k) by (G, k, n), in the kind of states: of 16-bit numbers the exact products are added up in float32.
fn product(a: &Tensor, b: &Tensor) -> Tensor {
    match a.kind() {
        Kind::Half | Kind::BFloat16 if a.device() == Device::Cpu => {
            a.to_kind(Kind::Float).matmul(&b.to_kind(Kind::Float))
        }
        Kind::Half | Kind::BFloat16 => a.bmm_dtype(b, Kind::Float),
        _ => a.bmm(b),
    }
}

/// a b, (m, k) by (k, n), into `to`.
fn product_into(to: &Tensor, a: &Tensor, b: &Tensor) {
    match a.kind() {
        Kind::Half | Kind::BFloat16 if a.device() == Device::Cpu => {
            write(to, &a.to_kind(Kind::Float).matmul(&b.to_kind(Kind::Float)));
        }
        Kind::Half | Kind::BFloat16 => drop(a.mm_dtype_out(to, b, Kind::Float)),
        _ => drop(a.mm_out(to, b)),
    }
}

/// (G, T, B, ...) by (G, ..., n), for all steps at once: (G, T, B, n).
fn product_over_time(x: &Tensor, weight: &Tensor) -> Tensor {
    let size = x.size();
    product(&x.reshape([size[0], size[1] * size[2], size[3]]), weight).view([
        size[0],
        size[1],
        size[2],
        last_size(weight),
    ])
}

fn fuses(c: &Tensor, peepholes: Option<&Tensor>) -> bool {
    c.device().is_cuda() && peepholes.is_none()
}

/// Activated gates (G, B, 4H), h and c (G, B, H), from both parts of the gates' sums and c before.
fn cell(input: &Tensor, recurrent: &Tensor, c: &Tensor, peepholes: Option<&Tensor>) -> (Tensor, Tensor, Tensor) {
    if !fuses(c, peepholes) {
        return reference::cell(&(input + recurrent), c, peepholes);
    }
    let [h, next, gates] = fused_cell(&flat(input), &flat(recurrent), &flat(c));
    (gates.view_as(recurrent), h.view_as(c), next.view_as(c))
}

/// As `reference::cell_backward`.
fn cell_backward(
    gates: &Tensor,
    c: [&Tensor; 2],
    peepholes: Option<&Tensor>,
    dh: &Tensor,
    dc: &Tensor,
) -> (Tensor, Tensor) {
    if !fuses(c[0], peepholes) {
        return reference::cell_backward(gates, c, peepholes, dh, dc);
    }
    let [d_gates, d_before] = fused_cell_backward(&flat(dh), &flat(dc), c.map(flat), &flat(gates));
    (d_gates.view_as(gates), d_before.view_as(dc))
}

/// Whether two runs can be batched.
fn alike(a: &Run<'_, Trace>, b: &Run<'_, Trace>) -> bool {
    let sizes = |stack: &Stack| -> Vec<Option<Vec<i64>>> {
        let readout = stack.readout.as_ref().map(|readout| readout.weight.size());
        stack.layers.iter().map(|layer| layer.weight_ih.as_ref().map(Tensor::size)).chain([readout]).collect()
    };
    let feeds = match (&a.feed, &b.feed) {
        (Feed::Output { truth: a, .. }, Feed::Output { truth: b, .. }) => a.is_some() == b.is_some(),
        (Feed::Frames(_), Feed::Frames(_)) | (Feed::Nothing(_), Feed::Nothing(_)) => true,
        _ => false,
    };
    feeds
        && a.feed.steps() == b.feed.steps()
        && a.batch == b.batch
        && a.initial.is_some() == b.initial.is_some()
        && a.valid.is_none()
        && b.valid.is_none()
        && sizes(a.stack) == sizes(b.stack)
}

fn forward(runs: &mut [Run<'_, Trace>], mode: &mut Mode<'_>) {
    match runs {
        [a, b] if alike(a, b) => group_forward(runs, mode),
        _ => runs.chunks_mut(1).for_each(|run| group_forward(run, mode)),
    }
}

fn group_forward(runs: &mut [Run<'_, Trace>], mode: &mut Mode<'_>) {
    let mut pass = Pass::start(runs, mode);
    let outputs = match runs[0].feed {
        Feed::Frames(_) => pass.layer_by_layer(runs),
        _ => pass.step_by_step(runs),
    };
    pass.leave(runs, outputs.as_ref());
}

/// A forward pass of G runs.
struct Pass<'a> {
    /// Bottom up.
    weights: Vec<StackedWeights>,
    /// (G, H, D) and (G, 1, D)
    readouts: Option<(Tensor, Tensor)>,
    tape: Tape,
    /// The number of steps that the tape's h holds; later ones overwrite the first.
    places: i64,
    /// Bottom up, (G, B, H).
    last_h: Vec<Tensor>,
    valid: Option<&'a Tensor>,
    train: bool,
    /// Of states, and of what is multiplied.
    options: (Kind, Device),
    kind: Kind,
}

impl<'a> Pass<'a> {
    fn start(runs: &[Run<'a, Trace>], mode: &mut Mode<'_>) -> Self {
        let first = &runs[0];
        let (steps, batch, hidden) = (first.feed.steps(), first.batch, first.stack.hidden_size());
        let (options, kind) = (first.stack.options(), first.stack.layers[0].weight_hh.kind());
        let (groups, depth) = (runs.len() as i64, first.stack.layers.len());
        let train = matches!(mode, Mode::Train { .. });
        let places = if train || matches!(first.feed, Feed::Frames(_)) { steps + 1 } else { 2 };
        // Masks are drawn run by run, as separate passes draw them.
        let size = [steps, batch, hidden];
        let mut masks = |_| (0..depth).map(|l| dropout_mask(mode, &size, l + 1 == depth, options)).collect();
        let masks: Vec<Vec<Option<Tensor>>> = runs.iter().map(&mut masks).collect();
        let initial = |l: usize, one: fn(&State) -> &Tensor| {
            let each = runs.iter().map(|run| run.initial.map(|state| one(state).i(l as i64)));
            each.collect::<Option<Vec<_>>>()
                .map_or_else(|| Tensor::zeros([groups, batch, hidden], options), |all| Tensor::stack(&all, 0))
        };
        let (mut tape, mut last_h) = (Tape::default(), Vec::new());
        for l in 0..depth {
            let h = Tensor::empty([groups, places, batch, hidden], (kind, options.1));
            let start = initial(l, |state| &state.h);
            h.select(1, 0).copy_(&start);
            last_h.push(start);
            let dropout = masks.iter().map(|of_run| of_run[l].as_ref()).collect::<Option<Vec<_>>>();
            let dropout = dropout.map(|masks| Tensor::stack(&masks, 0));
            tape.layers.push(LayerTape { h, c: vec![initial(l, |state| &state.c)], gates: Vec::new(), dropout });
        }
        let side = |l: usize| StackedWeights::of(&runs.iter().map(|run| &run.stack.layers[l]).collect::<Vec<_>>());
        let readouts = runs.iter().map(|run| run.stack.readout.as_ref()).collect::<Option<Vec<_>>>().map(|all| {
            let weight = stacked_view(all.iter().map(|readout| &readout.weight));
            let bias = stacked_view(all.iter().map(|readout| &readout.bias));
            (weight.transpose(1, 2), bias.unsqueeze(1))
        });
        let weights = (0..depth).map(side).collect();
        Self { weights, readouts, tape, places, last_h, valid: first.valid, train, options, kind }
    }

    /// One step of layer l, from the input's part of the gates' sums (G, B, 4H): h (G, B, H) as it is multiplied.
    fn step(&mut self, l: usize, t: i64, input: &Tensor) -> Tensor {
        // A GPU only queues this, and may be recording.
        if self.options.1 == Device::Cpu {
            stop::look();
        }
        let (layer, side) = (&mut self.tape.layers[l], &self.weights[l]);
        let recurrent = product(&layer.h.select(1, t % self.places), &side.recurrent);
        let before = layer.c.last().expect("the initial state is there");
        let (gates, mut h, mut c) = cell(input, &recurrent, before, side.peepholes.as_ref());
        if let Some(valid) = self.valid {
            h *= valid.i(t);
            c *= valid.i(t);
        }
        let multiplied = layer.h.select(1, (t + 1) % self.places);
        multiplied.shallow_clone().copy_(&h);
        self.last_h[l] = h;
        if self.train {
            layer.gates.push(gates);
        } else {
            layer.c.clear();
        }
        layer.c.push(c);
        multiplied
    }

    /// All steps of a layer, then those of the next, since all frames are given. The outputs (G, T, B, D).
    fn layer_by_layer(&mut self, runs: &[Run<'_, Trace>]) -> Option<Tensor> {
        let frames = runs.iter().filter_map(|run| match run.feed {
            Feed::Frames(frames) => Some(frames.to_kind(self.kind)),
            _ => None,
        });
        let mut x = stacked(&frames.collect::<Vec<_>>());
        self.tape.input = Some(x.shallow_clone());
        for l in 0..self.weights.len() {
            let side = &self.weights[l];
            let weight = side.input.as_ref().expect("a layer that is fed has input weights");
            let mut inputs = product_over_time(&x, weight);
            inputs += side.bias.unsqueeze(1);
            for t in 0..inputs.size()[1] {
                let _h = self.step(l, t, &inputs.select(1, t));
            }
            x = self.tape.layers[l].upward();
        }
        self.readouts.as_ref().map(|(weight, bias)| product_over_time(&x, weight) + bias.unsqueeze(1))
    }

    /// All layers of a step, then those of the next, since a step may wait for an output. The outputs (G, T, B, D).
    fn step_by_step(&mut self, runs: &[Run<'_, Trace>]) -> Option<Tensor> {
        let (steps, batch) = (runs[0].feed.steps(), runs[0].batch);
        let size = |width: i64| [runs.len() as i64, batch, width];
        let (mut activation, mut truths) = (None, Vec::new());
        for run in runs {
            if let Feed::Output { activation: of_run, truth, .. } = &run.feed {
                activation = Some(*of_run);
                truths.extend(truth.as_ref().map(|truth| (truth.frames, &truth.mask)));
            }
        }
        let truths = (!truths.is_empty()).then(|| {
            let (frames, masks): (Vec<_>, Vec<_>) = truths.into_iter().unzip();
            (Tensor::stack(&frames, 0), Tensor::stack(&masks, 0))
        });
        let fed = self.weights[0].input.as_ref().filter(|_| self.train).map(|weight| {
            let [groups, batch, width] = size(weight.size()[1]);
            let fed = Tensor::empty([groups, steps, batch, width], (self.kind, self.options.1));
            let _ = fed.narrow(1, 0, steps.min(1)).zero_();
            fed
        });
        // The gates' sums without an input, or with a zero frame.
        let biases: Vec<Tensor> =
            self.weights.iter().map(|side| side.bias.expand(size(last_size(&side.bias)), false).contiguous()).collect();
        let mut outputs: Vec<Tensor> = Vec::new();
        for t in 0..steps {
            let own = activation.zip(outputs.last()).map(|(activation, own)| activation.apply(own));
            let x = own.map(|own| match &truths {
                Some((frames, mask)) => own.where_self(&mask.select(1, t).eq(0.0), &frames.select(1, t)),
                None => own,
            });
            let mut below = x.map(|x| match &fed {
                Some(fed) => {
                    let place = fed.select(1, t);
                    place.shallow_clone().copy_(&x);
                    place
                }
                None => x.to_kind(self.kind),
            });
            for (l, bias) in biases.iter().enumerate() {
                let side = &self.weights[l];
                let input = match (&below, &side.input) {
                    (Some(below), Some(weight)) => product(below, weight) + &side.bias,
                    _ => bias.shallow_clone(),
                };
                let h = self.step(l, t, &input);
                below = Some(match &self.tape.layers[l].dropout {
                    Some(dropout) => (&h * dropout.select(1, t)).to_kind(self.kind),
                    None => h,
                });
            }
            if let (Some((weight, bias)), Some(top)) = (&self.readouts, &below) {
                outputs.push(product(top, weight) + bias);
            }
        }
        (self.tape.input, self.tape.zero_input) = (fed, true);
        self.readouts.as_ref().map(|(_, bias)| match outputs.as_slice() {
            [] => {
                let [groups, batch, width] = size(last_size(bias));
                Tensor::empty([groups, 0, batch, width], self.options)
            }
            outputs => Tensor::stack(outputs, 1),
        })
    }

    /// Give each run its part of the results, and the first one the tape.
    fn leave(self, runs: &mut [Run<'_, Trace>], outputs: Option<&Tensor>) {
        let Self { tape, train, .. } = self;
        let last_c: Vec<&Tensor> = tape.layers.iter().map(|layer| layer.c.last().expect("never empty")).collect();
        let [last_h, last_c] = [Tensor::stack(&self.last_h, 1), Tensor::stack(&last_c, 1)];
        let top = tape.layers.last().filter(|_| train).map(LayerTape::upward);
        for (g, run) in (0..).zip(&mut *runs) {
            let of_run = |tensor: &Tensor| tensor.select(0, g);
            *run.trace = Trace {
                input: tape.input.as_ref().filter(|_| train).map(of_run),
                top: top.as_ref().map(of_run),
                outputs: outputs.map(of_run),
                last: Some(State { h: of_run(&last_h), c: of_run(&last_c) }),
                tape: None,
            };
        }
        runs[0].trace.tape = Some(tape).filter(|_| train);
    }
}

/// The backward pass of the runs that went forward together.
fn backward(backs: &mut [Back<'_, Trace>]) -> Vec<Option<State>> {
    if backs.len() == 2 && backs[1].trace.tape.is_none() {
        return group_backward(backs);
    }
    backs.chunks_mut(1).flat_map(group_backward).collect()
}

fn group_backward(backs: &mut [Back<'_, Trace>]) -> Vec<Option<State>> {
    let tape = backs[0].trace.tape.take().expect("a training pass leaves its tape");
    let stack = backs[0].stack;
    let (options, kind) = (stack.options(), stack.layers[0].weight_hh.kind());
    let [groups, places, batch, hidden] = <[i64; 4]>::try_from(tape.layers[0].h.size()).expect("h is (G, T + 1, B, H)");
    let (steps, wants_initial) = (places - 1, backs[0].wants_initial);
    let every = |one: &dyn Fn(&Back<'_, Trace>) -> Option<Tensor>| {
        backs.iter().map(one).collect::<Option<Vec<_>>>().map(|all| stacked(&all))
    };

    // The readout: one product each, over all steps together.
    let mut above = None; // (G, T, B, H)
    let d_outputs = every(&|back| back.outputs.map(|outputs| outputs.to_kind(kind)));
    let weights = backs.iter().map(|back| back.stack.readout.as_ref().map(|readout| &readout.weight));
    if let (Some(d_outputs), Some(weights)) = (&d_outputs, stacked_views_if_all(weights)) {
        let top = tape.layers.last().expect("a stack has layers").upward();
        for (g, back) in (0..).zip(&*backs) {
            if let Some(gradient) = &back.gradients.readout {
                let d = flat(&d_outputs.select(0, g));
                product_into(&gradient.weight, &d.tr(), &flat(&top.select(0, g)));
                write(&gradient.bias, &d.sum_dim_intlist(0, false, options.0));
            }
        }
        above = Some(product_over_time(d_outputs, &weights));
    }

    let (mut initial_h, mut initial_c) = (Vec::new(), Vec::new());
    for l in (0..tape.layers.len()).rev() {
        let layers: Vec<&Layer> = backs.iter().map(|back| &back.stack.layers[l]).collect();
        let recurrent = stacked_view(layers.iter().map(|layer| &layer.weight_hh));
        let peepholes = peepholes(&layers);
        let layer = &tape.layers[l];
        let zeros = || Tensor::zeros([groups, batch, hidden], options);
        // Copies, as they are added to.
        let mut dh = every(&|back| back.last.map(|last| last.h.i(l as i64).copy())).unwrap_or_else(zeros);
        let mut dc = every(&|back| back.last.map(|last| last.c.i(l as i64).copy())).unwrap_or_else(zeros);
        let d_gates = Tensor::empty([groups, steps, batch, 4 * hidden], (kind, options.1));

        // Time backwards: the only product that must go step by step.
        for t in (0..steps).rev() {
            if options.1 == Device::Cpu {
                stop::look();
            }
            if let Some(above) = &above {
                dh += above.select(1, t);
            }
            if let Some(valid) = backs[0].valid {
                dh *= valid.i(t);
                dc *= valid.i(t);
            }
            let c = [&layer.c[t as usize], &layer.c[t as usize + 1]];
            let (d_sums, d_before) = cell_backward(&layer.gates[t as usize], c, peepholes.as_ref(), &dh, &dc);
            dc = d_before;
            let multiplied = d_gates.select(1, t);
            multiplied.shallow_clone().copy_(&d_sums);
            if t > 0 || wants_initial {
                dh = product(&multiplied, &recurrent);
            }
        }
        initial_h.push(dh);
        initial_c.push(dc);

        // Over all steps together.
        let input = match l {
            0 => tape.input.as_ref().map(Tensor::shallow_clone),
            _ => Some(tape.layers[l - 1].upward()),
        };
        // The zero frame that a decoder starts from adds nothing.
        let from = i64::from(l == 0 && tape.zero_input && steps > 0);
        for (g, back) in (0..).zip(&*backs) {
            let (gradient, d_each) = (&back.gradients.layers[l], d_gates.select(0, g));
            let d_all = flat(&d_each);
            product_into(&gradient.weight_hh, &d_all.tr(), &flat(&layer.h.select(0, g).narrow(0, 0, steps)));
            let d_bias = d_all.sum_dim_intlist(0, false, options.0);
            write(&gradient.bias_ih, &d_bias);
            write(&gradient.bias_hh, &d_bias);
            if let (Some(input), Some(d_weight)) = (&input, &gradient.weight_ih) {
                let later = |tensor: &Tensor| flat(&tensor.narrow(0, from, steps - from));
                product_into(d_weight, &later(&d_each).tr(), &later(&input.select(0, g)));
            }
            if let Some(d_weight) = &gradient.weight_ch {
                let c: Vec<Tensor> = layer.c.iter().map(|c| c.select(0, g)).collect();
                let [before, after] = [0, 1].map(|first| Tensor::cat(&c[first..first + steps as usize], 0));
                peepholes_backward(&d_all.to_kind(options.0), [&before, &after], d_weight);
            }
        }
        if l > 0 {
            let weights = stacked_view(layers.iter().filter_map(|layer| layer.weight_ih.as_ref()));
            let d_input = product_over_time(&d_gates, &weights);
            above = Some(match &tape.layers[l - 1].dropout {
                Some(dropout) => d_input * dropout,
                None => d_input,
            });
        }
    }
    initial_h.reverse();
    initial_c.reverse();
    let [h, c] = [Tensor::stack(&initial_h, 1), Tensor::stack(&initial_c, 1)];
    (0..groups).map(|g| wants_initial.then(|| State { h: h.select(0, g), c: c.select(0, g) })).collect()
}
