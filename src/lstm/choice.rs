//! The choice of a backend.
//!
//! To add one: a module with a type that implements `Backend`, and here a variant of `Choice` and its word, a variant of
//! `Trace`, and a line in each macro.

use std::sync::LazyLock;

use tch::{Device, Kind, Tensor};

use super::backend::{Backend, Steps};
use super::batched::{self, Batched};
use super::cpu::{self, Cpu};
use super::reference::{self, Reference};
use super::{Back, Mode, Run, Stack, State};

/// Names a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    Reference,
    Batched,
    Cpu,
}

impl Choice {
    /// The words of `BACKCAST_KERNELS`. "plain" and "lockstep" are older names.
    const WORDS: [(&'static str, Self); 4] = [
        ("reference", Self::Reference),
        ("batched", Self::Batched),
        ("plain", Self::Reference),
        ("lockstep", Self::Batched),
    ];
}

/// The backend that the variable `BACKCAST_KERNELS` forces, for tests.
static FORCED: LazyLock<Option<Choice>> = LazyLock::new(|| {
    let given = std::env::var("BACKCAST_KERNELS").ok()?;
    Choice::WORDS.into_iter().find(|(word, _)| *word == given).map(|(_, choice)| choice)
});

impl Stack {
    /// Whether passes use the CPU kernels of this crate.
    pub fn own_kernels(&self) -> bool {
        self.backend() == Choice::Cpu
    }

    /// Whether passes only queue work on a device, and the host waits for none of it.
    pub fn is_asynchronous(&self) -> bool {
        self.backend() == Choice::Batched
    }

    fn backend(&self) -> Choice {
        let (kind, device) = self.options();
        let halved = self.layers[0].weight_hh.kind() != kind;
        match *FORCED {
            _ if halved => Choice::Batched,
            Some(forced) => forced,
            None if (kind, device) == (Kind::Float, Device::Cpu) => Choice::Cpu,
            None if device == Device::Cpu => Choice::Reference,
            None => Choice::Batched,
        }
    }
}

/// What a forward pass leaves behind, by backend.
#[derive(Debug, Default)]
pub enum Trace {
    /// Before the first pass.
    #[default]
    Empty,
    Reference(reference::Trace),
    Batched(batched::Trace),
    Cpu(cpu::Trace),
}

/// A backend's own trace in a `Trace`.
trait Own: Backend {
    /// The backend's trace; a new one in place of another backend's.
    fn own(trace: &mut Trace) -> &mut Self::Trace;
}

macro_rules! own {
    ($backend:ident) => {
        impl Own for $backend {
            fn own(trace: &mut Trace) -> &mut Self::Trace {
                if !matches!(trace, Trace::$backend(_)) {
                    *trace = Trace::$backend(Self::Trace::default());
                }
                let Trace::$backend(own) = trace else { unreachable!("it was set above") };
                own
            }
        }
    };
}

own!(Reference);
own!(Batched);
own!(Cpu);

/// `$call` with the type `B` of a backend.
macro_rules! dispatch {
    ($choice:expr, $call:expr) => {
        match $choice {
            Choice::Reference => {
                type B = Reference;
                $call
            }
            Choice::Batched => {
                type B = Batched;
                $call
            }
            Choice::Cpu => {
                type B = Cpu;
                $call
            }
        }
    };
}

/// A field or method of whichever trace exists, and what stands for it before the first pass.
macro_rules! of_trace {
    ($trace:expr, $inner:ident => $value:expr, $empty:expr) => {
        match $trace {
            Trace::Empty => $empty,
            Trace::Reference($inner) => $value,
            Trace::Batched($inner) => $value,
            Trace::Cpu($inner) => $value,
        }
    };
}

impl Trace {
    /// (T, B, D): the readout, before any activation.
    pub fn outputs(&self) -> Option<&Tensor> {
        of_trace!(self, trace => trace.outputs.as_ref(), None)
    }

    /// The state after the last step.
    pub fn last(&self) -> Option<&State> {
        of_trace!(self, trace => trace.last.as_ref(), None)
    }

    /// Move the state after the last step out of the trace.
    pub fn take_last(&mut self) -> Option<State> {
        of_trace!(self, trace => trace.last.take(), None)
    }

    /// (T, B, D): what the bottom layer was fed in a training pass, if it has an input.
    pub fn fed(&self) -> Option<&Tensor> {
        of_trace!(self, trace => trace.input.as_ref(), None)
    }

    /// (T, B, H): h of the top layer at every step of a training pass.
    pub fn top(&self) -> Option<Tensor> {
        of_trace!(self, trace => trace.top(), None)
    }
}

/// Make several independent forward passes.
pub fn forward(runs: Vec<Run<'_>>, mode: &mut Mode<'_>) {
    let Some(first) = runs.first() else { return };
    dispatch!(first.stack.backend(), B::forward(runs.into_iter().map(own_run::<B>).collect(), mode));
}

/// Make several independent backward passes; each returns the gradient at its initial state, if it was requested.
pub fn backward(backs: Vec<Back<'_>>) -> Vec<Option<State>> {
    let Some(first) = backs.first() else { return Vec::new() };
    dispatch!(first.stack.backend(), B::backward(backs.into_iter().map(own_back::<B>).collect()))
}

/// Make a forward pass and return h, c and the gates of all layers after every step.
pub fn traced(run: Run<'_>) -> Steps {
    dispatch!(run.stack.backend(), B::traced(own_run::<B>(run)))
}

fn own_run<B: Own>(run: Run<'_>) -> Run<'_, B::Trace> {
    let Run { stack, feed, initial, batch, valid, version, trace } = run;
    Run { stack, feed, initial, batch, valid, version, trace: B::own(trace) }
}

fn own_back<B: Own>(back: Back<'_>) -> Back<'_, B::Trace> {
    let Back { stack, trace, valid, outputs, last, gradients, wants_initial } = back;
    Back { stack, trace: B::own(trace), valid, outputs, last, gradients, wants_initial }
}

/// d = `scale` (outputs - target) where the mask (T, B, D) or (T, B, 1) is 1, 0 where it is 0, all (T, B, D); returns the
/// sum of squared differences there, one number in double precision.
pub fn squared_error(outputs: &Tensor, target: &Tensor, mask: Option<&Tensor>, scale: f64, d: &mut Tensor) -> Tensor {
    if (outputs.kind(), outputs.device()) == (Kind::Float, Device::Cpu) && *FORCED != Some(Choice::Reference) {
        return Tensor::from(cpu::squared_error(outputs, target, mask, scale, d));
    }
    reference::squared_error(outputs, target, mask, scale, d)
}
