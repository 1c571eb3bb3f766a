//! The batched backend: stacks of one shape side by side, such as both decoders, with one batched product per step for all of
//! them, and libtorch's fused cell. It runs on GPUs, and multiplies 16-bit numbers on any device.
//!
//! G stacks; each tensor has G as its first dimension. States, sums and gradients are in the stacks' own kind (float32);
//! factors are in that of the weights, which may have 16 bits. If no step waits for an output (the encoder), the inputs of a
//! layer are multiplied for all steps at once.

mod backward;
mod forward;

use tch::{Device, Kind, Tensor};

use super::backend::{Backend, Steps};
use super::reference::{self, Reference, write};
use super::{Back, Layer, Mode, Run, State, flat, last_size};
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

    fn forward(mut runs: Vec<Run<'_, Trace>>, mode: &mut Mode<'_>) {
        forward::forward(&mut runs, mode);
    }

    fn backward(mut backs: Vec<Back<'_, Trace>>) -> Vec<Option<State>> {
        backward::backward(&mut backs)
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
            let (groups, rows, columns) = (a.size()[0], a.size()[1], last_size(b));
            let to = Tensor::empty([groups, rows, columns], (Kind::Float, Device::Cpu));
            by_rows(&to, a, b);
            to
        }
        Kind::Half | Kind::BFloat16 => a.bmm_dtype(b, Kind::Float),
        _ => a.bmm(b),
    }
}

/// a b, (m, k) by (k, n), into `to`.
fn product_into(to: &Tensor, a: &Tensor, b: &Tensor) {
    match a.kind() {
        Kind::Half | Kind::BFloat16 if a.device() == Device::Cpu => by_rows(to, a, b),
        Kind::Half | Kind::BFloat16 => drop(a.mm_dtype_out(to, b, Kind::Float)),
        _ => drop(a.mm_out(to, b)),
    }
}

/// a b in float32 into `to`, some rows at a time: all at once may take seconds, in which Ctrl-C waits.
fn by_rows(to: &Tensor, a: &Tensor, b: &Tensor) {
    /// Multiplications in a piece.
    const WORK: i64 = 1 << 31;
    let (b, dim) = (b.to_kind(Kind::Float), a.dim() as i64 - 2);
    let rows = a.size()[dim as usize];
    let piece = (WORK / (a.numel() as i64 / rows.max(1) * last_size(&b)).max(1)).max(1);
    for first in (0..rows).step_by(piece as usize) {
        stop::look();
        let some = |all: &Tensor| all.narrow(dim, first, piece.min(rows - first));
        write(&some(to), &some(a).to_kind(Kind::Float).matmul(&b));
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
