//! Backward passes, of the stacks that went forward together.

use tch::{Device, IndexOp, Tensor};

use super::{
    Trace, cell_backward, peepholes, product, product_into, product_over_time, stacked, stacked_view,
    stacked_views_if_all,
};
use crate::lstm::reference::{peepholes_backward, write};
use crate::lstm::{Back, Layer, State, flat};
use crate::stop;

/// The backward pass of the runs that went forward together.
pub(super) fn backward(backs: &mut [Back<'_, Trace>]) -> Vec<Option<State>> {
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
