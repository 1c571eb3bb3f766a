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
//! What is computed is said here; with which kernels is the affair of three rooms below. `plain` is libtorch's operators step
//! by step, on any device and in any floating kind: the reference, whose numbers every faster path must give. `cpu` is
//! kernels of our own, in float32. `lockstep` is libtorch's batched and fused operators, for GPUs and for 16-bit weights.

mod cpu;
mod lockstep;
mod plain;

use std::sync::LazyLock;

use rand_pcg::Pcg64Mcg;
use tch::{Device, Kind, Tensor};

use crate::random;

/// The weights of one layer, or the gradients with respect to them. Matrices may have 16 bits, vectors then have 32.
#[derive(Debug)]
pub struct Layer {
    /// (4H, inputs); none where the layer is fed nothing.
    pub weight_ih: Option<Tensor>,
    /// (4H, H)
    pub weight_hh: Tensor,
    /// (4H)
    pub bias_ih: Tensor,
    /// (4H)
    pub bias_hh: Tensor,
    /// (3H), from the cell to i, f and o; none without peepholes.
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

    /// Of states, losses and gradients.
    pub fn options(&self) -> (Kind, Device) {
        (self.layers[0].bias_hh.kind(), self.layers[0].bias_hh.device())
    }

    /// Whether passes are made by kernels of our own.
    pub fn own_kernels(&self) -> bool {
        self.room() == Room::Cpu
    }

    /// Whether passes only ask a device for their numbers, and nothing here waits for them.
    pub fn runs_ahead(&self) -> bool {
        self.room() == Room::Lockstep
    }

    fn room(&self) -> Room {
        let (kind, device) = self.options();
        let halved = self.layers[0].weight_hh.kind() != kind;
        match *WISH {
            _ if halved => Room::Lockstep,
            Some(wish) => wish,
            None if (kind, device) == (Kind::Float, Device::Cpu) => Room::Cpu,
            None if device == Device::Cpu => Room::Plain,
            None => Room::Lockstep,
        }
    }
}

/// Which room makes the passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Cpu,
    Plain,
    Lockstep,
}

/// The variable `BACKCAST_KERNELS` is for tests of the rooms: "plain" or "lockstep" leaves all work to it.
static WISH: LazyLock<Option<Room>> = LazyLock::new(|| match std::env::var("BACKCAST_KERNELS").ok()?.as_str() {
    "plain" => Some(Room::Plain),
    "lockstep" => Some(Room::Lockstep),
    _ => None,
});

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

/// How an output becomes an input: a decoder trained on logits is fed their sigmoid.
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
    /// Frames known beforehand, (T, B, D).
    Frames(&'a Tensor),
    /// Nothing, for so many steps.
    Nothing(i64),
    /// A zero frame, then the last output, gradient stopped; the truth instead where there is one and its mask says so.
    Output { steps: i64, activation: Activation, truth: Option<Truth<'a>> },
}

/// Frames that may stand in for a decoder's own outputs.
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

/// Whether a pass is for training: an argument of every pass, stored nowhere.
pub enum Mode<'a> {
    /// Keep the trace; drop units between layers.
    Train { dropout: f64, rng: &'a mut Pcg64Mcg },
    /// Keep outputs and last state alone.
    Eval,
}

/// What one pass leaves behind for the backward pass and the loss.
#[derive(Debug, Default)]
pub struct Trace {
    /// (T, B, D): what the bottom layer was fed; none where it was fed nothing, and in evaluation.
    pub input: Option<Tensor>,
    /// Bottom up; empty in evaluation.
    pub layers: Vec<LayerTrace>,
    /// (T, B, D): the readout, before any activation.
    pub outputs: Option<Tensor>,
    /// After the last step.
    pub last: Option<State>,
    workspace: cpu::Workspace,
    /// Of all stacks that went side by side, with the first of them.
    tape: Option<lockstep::Tape>,
}

impl Trace {
    /// T.
    pub fn steps(&self) -> i64 {
        self.layers.first().map_or(0, |layer| layer.gates.size()[0])
    }

    /// h, c and the gates of all layers after every step: (B, T, L, H), twice, and (B, T, L, 4H).
    pub fn over_time(&self) -> [Tensor; 3] {
        let after = |states: &Tensor| states.narrow(0, 1, self.steps());
        let all = |one: &dyn Fn(&LayerTrace) -> Tensor| {
            Tensor::stack(&self.layers.iter().map(one).collect::<Vec<_>>(), 2).transpose(0, 1)
        };
        [all(&|layer| after(&layer.h)), all(&|layer| after(&layer.c)), all(&|layer| layer.gates.shallow_clone())]
    }
}

/// One layer's part of the trace; c and the gates are in the tape instead, where stacks go side by side.
#[derive(Debug)]
pub struct LayerTrace {
    /// (T + 1, B, H), the initial state first.
    pub h: Tensor,
    /// (T + 1, B, H), the initial state first.
    pub c: Tensor,
    /// (T, B, 4H): i, f, g, o after their activations.
    pub gates: Tensor,
    /// (T, B, H): what h was multiplied with on its way up; none without dropout and in the top layer.
    pub dropout: Option<Tensor>,
}

impl LayerTrace {
    /// (T, B, H): h of every step as the layer above, or the readout, sees it.
    pub fn upward(&self) -> Tensor {
        let h = self.h.narrow(0, 1, self.h.size()[0] - 1);
        match &self.dropout {
            Some(dropout) => h * dropout,
            None => h,
        }
    }
}

/// One forward pass to be made.
pub struct Run<'a> {
    pub stack: &'a Stack,
    pub feed: Feed<'a>,
    /// None for zeros.
    pub initial: Option<&'a State>,
    /// B.
    pub batch: i64,
    /// (T, B, 1), 1 from each sequence's first step on; before it the state is held at zero.
    pub valid: Option<&'a Tensor>,
    /// Which numbers the weights have, where that is known: the trace keeps what was made of them for passes to come.
    pub version: Option<u64>,
    pub trace: &'a mut Trace,
}

/// One backward pass to be made. Gradients are written, not added.
pub struct Back<'a> {
    pub stack: &'a Stack,
    pub trace: &'a mut Trace,
    pub valid: Option<&'a Tensor>,
    /// (T, B, D): the loss's gradient at the outputs.
    pub outputs: Option<&'a Tensor>,
    /// (T, B, H): the loss's gradient at h of the top layer at every step.
    pub hidden: Option<&'a Tensor>,
    /// The loss's gradient at the last state.
    pub last: Option<&'a State>,
    pub gradients: &'a Stack,
    /// Whether the gradient at the initial state is wanted.
    pub wants_initial: bool,
}

/// Make several independent forward passes.
pub fn forward(runs: &mut [Run<'_>], mode: &mut Mode<'_>) {
    match runs.first().map(|run| run.stack.room()) {
        None => {}
        Some(Room::Cpu) => cpu::forward(runs, mode),
        Some(Room::Lockstep) => lockstep::forward(runs, mode),
        Some(Room::Plain) => runs.iter_mut().for_each(|run| plain::forward(run, mode)),
    }
}

/// Make a forward pass whose trace has all layers' states and gates.
pub fn forward_traced(run: &mut Run<'_>, mode: &mut Mode<'_>) {
    match run.stack.room() {
        Room::Cpu => cpu::forward(std::slice::from_mut(run), mode),
        Room::Lockstep | Room::Plain => plain::forward(run, mode),
    }
}

/// Make several independent backward passes; each gives the gradient at its initial state, where that is wanted.
pub fn backward(backs: &mut [Back<'_>]) -> Vec<Option<State>> {
    match backs.first().map(|back| back.stack.room()) {
        None => Vec::new(),
        Some(Room::Cpu) => cpu::backward(backs),
        Some(Room::Lockstep) => lockstep::backward(backs),
        Some(Room::Plain) => {
            backs.iter().map(|back| Some(plain::backward(back)).filter(|_| back.wants_initial)).collect()
        }
    }
}

/// (T, B, ...) as rows (T B, ...).
fn flat(x: &Tensor) -> Tensor {
    x.reshape([-1, last_size(x)])
}

fn last_size(x: &Tensor) -> i64 {
    *x.size().last().expect("not a scalar")
}

/// The readout's part of the backward pass alone: dW_fc = dOut' H_top, and its bias's.
pub fn readout_backward(trace: &Trace, d_outputs: &Tensor, gradient: &Readout) {
    let top = trace.layers.last().expect("a training pass keeps its trace").upward().to_kind(d_outputs.kind());
    gradient.weight.shallow_clone().copy_(&flat(d_outputs).tr().matmul(&flat(&top)));
    gradient.bias.shallow_clone().copy_(&flat(d_outputs).sum_dim_intlist(0, false, None));
}

/// d = `scale` (outputs - target) where the mask (T, B, D) or (T, B, 1) is 1, 0 where it is 0, all (T, B, D); returns the
/// sum of squared differences there, one number in double precision.
pub fn squared_error(outputs: &Tensor, target: &Tensor, mask: Option<&Tensor>, scale: f64, d: &mut Tensor) -> Tensor {
    if (outputs.kind(), outputs.device()) == (Kind::Float, Device::Cpu) && *WISH != Some(Room::Plain) {
        return Tensor::from(cpu::squared_error(outputs, target, mask, scale, d));
    }
    plain::squared_error(outputs, target, mask, scale, d)
}

/// The mask of inverted dropout for one layer, (T, B, H); none where nothing is to be dropped.
fn dropout_mask(mode: &mut Mode<'_>, shape: &[i64], top: bool, options: (Kind, Device)) -> Option<Tensor> {
    match mode {
        Mode::Train { dropout, rng } if *dropout > 0.0 && !top => {
            let keep = 1.0 - *dropout;
            Some(random::bernoulli(rng, shape, keep, 1.0 / keep, options))
        }
        _ => None,
    }
}
