//! One stack of LSTM layers: its weights, `forward` into a trace, `backward` into gradients.
//!
//! The cell is that of PyTorch's `nn.LSTM` (gate order i, f, g, o):
//!
//! ```text
//! gates_t = x_t W_ih' + b_ih + h_{t-1} W_hh' + b_hh      i, f, o = sigmoid, g = tanh
//! c_t = f c_{t-1} + i g
//! h_t = o tanh(c_t)
//! ```
//!
//! With peepholes, as in the paper's own code, `c_{t-1}` adds to the sums of i and f, and `c_t` to that of o, unit by unit.
//!
//! This module defines the computation. Three backends implement it. `reference` is libtorch's operators step by step, on any
//! device and in any floating kind; every faster backend must give its numbers. `cpu` is this crate's own kernels, in
//! float32. `batched` is libtorch's batched and fused operators, for GPUs and for 16-bit weights.

mod backend;
mod batched;
mod choice;
mod cpu;
mod reference;

use tch::{Device, Kind, Tensor};

pub use backend::Steps;
pub use choice::{Trace, backward, forward, squared_error, traced};

use crate::random::{Draws, Purpose, stream};

/// The weights of one layer, or the gradients with respect to them. Matrices may have 16 bits, vectors then have 32.
#[derive(Debug)]
pub struct Layer {
    /// (4H, inputs); None for a layer without an input.
    pub weight_ih: Option<Tensor>,
    /// (4H, H)
    pub weight_hh: Tensor,
    /// (4H)
    pub bias_ih: Tensor,
    /// (4H)
    pub bias_hh: Tensor,
    /// (3H), from the cell to i, f and o; None without peepholes.
    pub weight_ch: Option<Tensor>,
}

/// The linear readout of h of the top layer, a decoder's frames or a classifier's logits: outputs = h W' + b.
#[derive(Debug)]
pub struct Readout {
    /// (D, H)
    pub weight: Tensor,
    /// (D)
    pub bias: Tensor,
}

/// Layers from the bottom up, and a readout on top of them.
#[derive(Debug)]
pub struct Stack {
    pub layers: Vec<Layer>,
    pub readout: Option<Readout>,
}

impl Stack {
    /// H.
    pub fn hidden_size(&self) -> i64 {
        self.layers[0].weight_hh.size()[1]
    }

    /// The kind and device of states, losses and gradients.
    pub fn options(&self) -> (Kind, Device) {
        (self.layers[0].bias_hh.kind(), self.layers[0].bias_hh.device())
    }
}

/// (h, c) of every layer, or the gradient with respect to them.
#[derive(Debug)]
pub struct State {
    /// (L, B, H)
    pub h: Tensor,
    /// (L, B, H)
    pub c: Tensor,
}

impl State {
    pub fn zeros(layers: i64, batch: i64, hidden: i64, options: (Kind, Device)) -> Self {
        let zeros = || Tensor::zeros([layers, batch, hidden], options);
        Self { h: zeros(), c: zeros() }
    }
}

/// Turns an output into an input: a decoder trained on logits is fed their sigmoid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    Identity,
    Sigmoid,
}

impl Activation {
    pub fn apply(self, logits: &Tensor) -> Tensor {
        match self {
            Self::Identity => logits.shallow_clone(),
            Self::Sigmoid => logits.sigmoid(),
        }
    }
}

/// What the bottom layer is fed.
#[derive(Debug)]
pub enum Feed<'a> {
    /// Given frames, (T, B, D).
    Frames(&'a Tensor),
    /// Nothing, for this number of steps.
    Nothing(i64),
    /// A zero frame, then the last output, gradient stopped; the truth replaces it where the truth's mask is 1.
    Output { steps: i64, activation: Activation, truth: Option<Truth<'a>> },
}

/// Frames that may replace a decoder's own outputs.
#[derive(Debug)]
pub struct Truth<'a> {
    /// (T, B, D); the frame at step t is what step t - 1 had to emit.
    pub frames: &'a Tensor,
    /// (T, B, 1), 1 where the truth is fed and 0 where the own output is.
    pub mask: Tensor,
}

impl Feed<'_> {
    pub fn steps(&self) -> i64 {
        match self {
            Self::Frames(frames) => frames.size()[0],
            Self::Nothing(steps) | Self::Output { steps, .. } => *steps,
        }
    }
}

/// Whether a pass is for training. Every pass takes it as an argument; nothing stores it.
pub enum Mode<'a> {
    /// Keep the trace; drop units between layers.
    Train { dropout: f64, draws: &'a mut Draws },
    /// Keep only the outputs and the last state.
    Eval,
}

/// One layer's part of the trace of `reference` and `cpu`.
#[derive(Debug)]
struct LayerTrace {
    /// (T + 1, B, H), the initial state first.
    h: Tensor,
    /// (T + 1, B, H), the initial state first.
    c: Tensor,
    /// (T, B, 4H): i, f, g, o after their activations.
    gates: Tensor,
    /// (T, B, H): the factors of h on its way up; None without dropout and in the top layer.
    dropout: Option<Tensor>,
}

impl LayerTrace {
    /// (T, B, H): h of every step as the layer above, or the readout, sees it.
    fn upward(&self) -> Tensor {
        let h = self.h.narrow(0, 1, self.h.size()[0] - 1);
        match &self.dropout {
            Some(dropout) => h * dropout,
            None => h,
        }
    }
}

/// A forward pass to be made.
pub struct Run<'a, T = Trace> {
    pub stack: &'a Stack,
    pub feed: Feed<'a>,
    /// None for zeros.
    pub initial: Option<&'a State>,
    /// B.
    pub batch: i64,
    /// (T, B, 1), 1 from each sequence's first step on; before it the state is held at zero.
    pub valid: Option<&'a Tensor>,
    /// Changes when the weights change: the trace keeps what it derived from them for later passes of the same version.
    pub version: Option<u64>,
    pub trace: &'a mut T,
}

/// A backward pass to be made. Gradients are written, not added.
pub struct Back<'a, T = Trace> {
    pub stack: &'a Stack,
    pub trace: &'a mut T,
    pub valid: Option<&'a Tensor>,
    /// (T, B, D): the gradient of the loss at the outputs.
    pub outputs: Option<&'a Tensor>,
    /// The gradient of the loss at the last state.
    pub last: Option<&'a State>,
    pub gradients: &'a Stack,
    /// Whether to return the gradient at the initial state.
    pub wants_initial: bool,
}

/// h, c and the gates of all layers after every step.
fn over_time(layers: &[LayerTrace]) -> Steps {
    let after = |states: &Tensor| states.narrow(0, 1, states.size()[0] - 1);
    let all = |one: &dyn Fn(&LayerTrace) -> Tensor| {
        Tensor::stack(&layers.iter().map(one).collect::<Vec<_>>(), 2).transpose(0, 1)
    };
    [all(&|layer| after(&layer.h)), all(&|layer| after(&layer.c)), all(&|layer| layer.gates.shallow_clone())]
}

/// (T, B, ...) as rows (T B, ...).
fn flat(x: &Tensor) -> Tensor {
    x.reshape([-1, last_size(x)])
}

fn last_size(x: &Tensor) -> i64 {
    *x.size().last().expect("not a scalar")
}

/// Only the readout's part of the backward pass: dW_fc = dOut' H_top, and the gradient of its bias.
pub fn readout_backward(top: &Tensor, d_outputs: &Tensor, gradient: &Readout) {
    let top = top.to_kind(d_outputs.kind());
    gradient.weight.shallow_clone().copy_(&flat(d_outputs).tr().matmul(&flat(&top)));
    gradient.bias.shallow_clone().copy_(&flat(d_outputs).sum_dim_intlist(0, false, None));
}

/// A training pass without dropout, which keeps its trace and draws nothing.
pub fn without_dropout<R>(pass: impl FnOnce(&mut Mode<'_>) -> R) -> R {
    let draws = &mut Draws::new(stream(0, Purpose::Update, 0), None);
    pass(&mut Mode::Train { dropout: 0.0, draws })
}

/// The mask of inverted dropout for one layer, (T, B, H); None if nothing is dropped.
fn dropout_mask(mode: &mut Mode<'_>, shape: &[i64; 3], top: bool, options: (Kind, Device)) -> Option<Tensor> {
    match mode {
        Mode::Train { dropout, draws } if *dropout > 0.0 && !top => {
            let keep = 1.0 - *dropout;
            Some(draws.bernoulli(shape, keep, 1.0 / keep, options))
        }
        _ => None,
    }
}
