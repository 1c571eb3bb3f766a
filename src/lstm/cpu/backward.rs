//! Backward passes: through the readouts, through time layer by layer, into the weights' gradients.

use std::ptr::{null, null_mut};

use tch::{Device, Kind, Tensor};

use super::blocks::Product;
use super::pass::{Backward, ColumnSums};
use super::product::Matrix;
use super::simd::dispatch;
use super::{Shared, Trace, multiply, pointer, pointer_or_null, reuse, share_rows};
use crate::lstm::{Back, State};
use crate::threads::{parallel, threads};

/// A backward pass in progress.
struct Pass<'a, 'b> {
    back: &'a mut Back<'b, Trace>,
    steps: usize,
    batch: usize,
    hidden: usize,
    valid: Option<Tensor>,
    /// (T, B, D)
    d_outputs: Option<Tensor>,
    /// (T, B, H): the gradient at h of the layer that comes next.
    above: Option<Tensor>,
    /// (T, B, 4H), by layer.
    d_gates: Vec<Tensor>,
    initial: Option<State>,
}

pub fn backward(backs: &mut [Back<'_, Trace>]) -> Vec<Option<State>> {
    let layers = backs.first().map_or(0, |back| back.stack.layers.len());
    let mut passes: Vec<Pass<'_, '_>> = backs.iter_mut().map(Pass::new).collect();

    multiply(&passes.iter_mut().filter_map(Pass::through_readout).collect::<Vec<_>>());
    for l in (0..layers).rev() {
        through_time(&passes, l);
        if l > 0 {
            multiply(&passes.iter_mut().map(|pass| pass.through_layer(l)).collect::<Vec<_>>());
            for pass in &mut passes {
                pass.through_dropout(l - 1);
            }
        }
    }
    // Over all steps together.
    let mut held = Vec::new();
    multiply(&passes.iter().flat_map(|pass| pass.weights(&mut held)).collect::<Vec<_>>());
    add_up(&passes.iter().flat_map(Pass::sums).collect::<Vec<_>>());
    for pass in &passes {
        for gradient in &pass.back.gradients.layers {
            gradient.bias_hh.shallow_clone().copy_(&gradient.bias_ih);
        }
    }
    passes.into_iter().map(|pass| pass.initial).collect()
}

/// Rows of `width` numbers, dense.
fn rows(tensor: &Tensor, width: usize) -> Matrix {
    Matrix::rows(pointer(tensor), width)
}

/// C (m, n) = A (m, k) B (k, n), C dense.
fn dense(a: Matrix, b: Matrix, c: &Tensor, [m, n, k]: [usize; 3]) -> Product {
    Product { a, b, c: pointer(c), c_row: n, c_column: 1, m, n, k, add: false }
}

impl<'a, 'b> Pass<'a, 'b> {
    fn new(back: &'a mut Back<'b, Trace>) -> Self {
        let (steps, batch, wide) = back.trace.layers[0].gates.size3().expect("gates are (T, B, 4H)");
        let layers = back.stack.layers.len();
        let slots = &mut back.trace.workspace.d_gates;
        slots.resize_with(layers, || None);
        let d_gates = slots.iter_mut().map(|slot| reuse(slot, [steps, batch, wide])).collect();
        let options = (Kind::Float, Device::Cpu);
        Self {
            steps: steps as usize,
            batch: batch as usize,
            hidden: wide as usize / 4,
            valid: back.valid.map(Tensor::contiguous),
            d_outputs: back.outputs.map(Tensor::contiguous),
            above: None,
            d_gates,
            initial: back.wants_initial.then(|| State::zeros(layers as i64, batch, wide / 4, options)),
            back,
        }
    }

    fn state_size(&self) -> [i64; 3] {
        [self.steps as i64, self.batch as i64, self.hidden as i64]
    }

    /// dH_top = dOut W_fc
    fn through_readout(&mut self) -> Option<Product> {
        let (d_outputs, readout) = (self.d_outputs.as_ref()?, self.back.stack.readout.as_ref()?);
        let size = readout.bias.size()[0] as usize;
        let size_above = self.state_size();
        let above = self.above.insert(reuse(&mut self.back.trace.workspace.above, size_above));
        let sizes = [self.steps * self.batch, self.hidden, size];
        Some(dense(rows(d_outputs, size), rows(&readout.weight, self.hidden), above, sizes))
    }

    /// dX = dgates W_ih
    fn through_layer(&mut self, l: usize) -> Product {
        let size = self.state_size();
        let below = reuse(&mut self.back.trace.workspace.above, size);
        let weight_ih = self.back.stack.layers[l].weight_ih.as_ref().expect("a layer above another is fed by it");
        let (a, b) = (rows(&self.d_gates[l], 4 * self.hidden), rows(weight_ih, self.hidden));
        let product = dense(a, b, &below, [self.steps * self.batch, self.hidden, 4 * self.hidden]);
        self.above = Some(below);
        product
    }

    fn through_dropout(&mut self, l: usize) {
        if let (Some(dropout), Some(above)) = (&self.back.trace.layers[l].dropout, &mut self.above) {
            *above *= dropout;
        }
    }

    /// dW_hh = dgates' H, dW_ih = dgates' X, dW_fc = dOut' H_top.
    fn weights(&self, held: &mut Vec<Tensor>) -> Vec<Product> {
        let Self { back, steps, batch, hidden, .. } = self;
        let (trace, layers) = (&back.trace, back.stack.layers.len());
        // `skip` leaves out the first step, whose rows of X are zero.
        let over_time = |d: &Tensor, d_width: usize, x: &Tensor, to: &Tensor, skip: bool| {
            let width = to.size()[1] as usize;
            let skip = if skip { (*batch).min(steps * batch) } else { 0 };
            let a = rows(d, d_width).from(skip, 0).transposed();
            dense(a, rows(x, width).from(skip, 0), to, [d_width, width, steps * batch - skip])
        };
        let mut products = Vec::new();
        for (l, (d_gates, gradient)) in self.d_gates.iter().zip(&back.gradients.layers).enumerate() {
            let workspace = &trace.workspace;
            products.push(over_time(
                d_gates,
                4 * hidden,
                &trace.layers[l].h,
                &gradient.weight_hh,
                workspace.zero_start,
            ));
            if let Some(weight_ih) = &gradient.weight_ih {
                let input = match l {
                    0 => trace.input.as_ref().expect("a training pass keeps its input").contiguous(),
                    _ => trace.layers[l - 1].upward(),
                };
                products.push(over_time(d_gates, 4 * hidden, &input, weight_ih, l == 0 && workspace.zero_input));
                held.push(input);
            }
        }
        if let (Some(d_outputs), Some(gradient)) = (&self.d_outputs, &back.gradients.readout) {
            let top = trace.layers[layers - 1].upward();
            products.push(over_time(d_outputs, gradient.bias.size()[0] as usize, &top, &gradient.weight, false));
            held.push(top);
        }
        products
    }

    /// The gradients of biases and peepholes, which are sums over all steps and rows.
    fn sums(&self) -> Vec<ColumnSums> {
        let Self { back, hidden, .. } = self;
        let rows = self.steps * self.batch;
        let sums = |d: &Tensor, d_row: usize, to: &Tensor| ColumnSums {
            rows,
            first: 0,
            end: to.numel(),
            d: pointer(d),
            d_row,
            x: null(),
            x_row: *hidden,
            to: pointer(to),
        };
        let mut all = Vec::new();
        for ((d_gates, gradient), trace) in self.d_gates.iter().zip(&back.gradients.layers).zip(&back.trace.layers) {
            all.push(sums(d_gates, 4 * hidden, &gradient.bias_ih));
            if let Some(weight_ch) = &gradient.weight_ch {
                // di and df meet the cell before the step, do the one after it.
                let (before, after) = (pointer(&trace.c), pointer(&trace.c).wrapping_add(self.batch * hidden));
                for (peephole, (gate, c)) in [(0, before), (1, before), (3, after)].into_iter().enumerate() {
                    let whole = sums(d_gates, 4 * hidden, weight_ch);
                    let (d, to) = (whole.d.wrapping_add(gate * hidden), whole.to.wrapping_add(peephole * hidden));
                    all.push(ColumnSums { end: *hidden, d, x: c, to, ..whole });
                }
            }
        }
        if let (Some(d_outputs), Some(gradient)) = (&self.d_outputs, &back.gradients.readout) {
            all.push(sums(d_outputs, gradient.bias.numel(), &gradient.bias));
        }
        all
    }

    /// The kernel of layer l, for no rows yet.
    fn kernel(&self, l: usize) -> Backward {
        let offset = l * self.batch * self.hidden;
        let at = |state: &State| (pointer(&state.h).wrapping_add(offset), pointer(&state.c).wrapping_add(offset));
        let (last_h, last_c) = self.back.last.map_or((null_mut(), null_mut()), at);
        let (trace, workspace) = (&self.back.trace.layers[l], &self.back.trace.workspace);
        Backward {
            steps: self.steps,
            batch: self.batch,
            hidden: self.hidden,
            first: 0,
            rows: 0,
            recurrent: workspace.recurrent[l].0.as_ptr().cast(),
            peepholes: pointer_or_null(self.back.stack.layers[l].weight_ch.as_ref()),
            c: pointer(&trace.c),
            gates: pointer(&trace.gates),
            above: self.above.as_ref().map_or(null(), |above| pointer(above).cast_const()),
            valid: pointer_or_null(self.valid.as_ref()),
            last: (last_h, last_c),
            d_gates: pointer(&self.d_gates[l]),
            initial: self.initial.as_ref().map_or((null_mut(), null_mut()), at),
        }
    }
}

/// Layer l of every pass, time backwards.
fn through_time(passes: &[Pass<'_, '_>], l: usize) {
    let threads = threads(passes.iter().map(|pass| pass.steps * pass.batch * 4 * pass.hidden * pass.hidden).sum());
    let kernels = Shared(passes.iter().map(|pass| pass.kernel(l)).collect::<Vec<_>>());
    let batch = |run: usize| kernels.get()[run].batch;
    share_rows(passes.len(), batch, threads, |run, _, first, rows| {
        // SAFETY: the trace and the pass's tensors have the shapes of the forward pass; rows of shares are disjoint.
        #[allow(unsafe_code)]
        unsafe {
            dispatch(&Backward { first, rows, ..kernels.get()[run] });
        }
    });
}

/// Share sums out among the threads, by columns.
fn add_up(sums: &[ColumnSums]) {
    /// A cache line of columns, which no two threads write into.
    const UNIT: usize = 16;
    let threads = threads(sums.iter().map(|sum| sum.rows * sum.end).sum());
    let sums = Shared(sums);
    parallel(threads, |part| {
        for whole in *sums.get() {
            let units = whole.end.div_ceil(UNIT);
            let at = |part: usize| (part * units / threads * UNIT).min(whole.end);
            // SAFETY: the callers sized d, x and the sums; parts are disjoint.
            #[allow(unsafe_code)]
            unsafe {
                dispatch(&ColumnSums { first: at(part), end: at(part + 1), ..*whole });
            }
        }
    });
}
