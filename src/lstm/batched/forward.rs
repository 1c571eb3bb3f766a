//! Forward passes, of two stacks at once if they are alike.

use tch::{Device, IndexOp, Kind, Tensor};

use super::{LayerTape, StackedWeights, Tape, Trace, cell, product, product_over_time, stacked, stacked_view};
use crate::lstm::{Feed, Mode, Run, Stack, State, dropout_mask, last_size};
use crate::stop;

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

pub(super) fn forward(runs: &mut [Run<'_, Trace>], mode: &mut Mode<'_>) {
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
        let before = layer.c.last().expect("it starts with the initial state");
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
