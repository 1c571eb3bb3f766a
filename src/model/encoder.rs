//! The encoder: frames 1 ... T in, the state after the last of them out.

use tch::Tensor;

use crate::data::Frames;
use crate::lstm::{Back, Feed, Run, Stack, State, Trace};

/// The pass over `past`.
pub fn run<'a>(stack: &'a Stack, past: &'a Frames, trace: &'a mut Trace) -> Run<'a> {
    Run {
        stack,
        feed: Feed::Frames(&past.values),
        initial: None,
        batch: past.batch(),
        valid: past.valid.as_ref(),
        version: None,
        trace,
    }
}

/// The backward pass, from the gradients at the last state and at the logits of every step.
pub fn back<'a>(
    stack: &'a Stack,
    past: &'a Frames,
    trace: &'a mut Trace,
    last: Option<&'a State>,
    logits: Option<&'a Tensor>,
    gradients: &'a Stack,
) -> Back<'a> {
    Back { stack, trace, valid: past.valid.as_ref(), outputs: logits, last, gradients, wants_initial: false }
}
