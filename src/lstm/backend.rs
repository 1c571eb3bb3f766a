//! What a backend does.

use tch::Tensor;

use super::{Back, Mode, Run, State};

/// Kernels for forward and backward passes. All backends give the numbers of `Reference`, up to rounding.
pub trait Backend {
    /// What a forward pass leaves behind for the backward pass and the loss.
    type Trace: Default;

    /// Make several independent forward passes.
    fn forward(runs: Vec<Run<'_, Self::Trace>>, mode: &mut Mode<'_>);

    /// Make several independent backward passes; each returns the gradient at its initial state, if it was requested.
    fn backward(backs: Vec<Back<'_, Self::Trace>>) -> Vec<Option<State>>;

    /// Make a forward pass and return h, c and the gates of all layers after every step.
    fn traced(run: Run<'_, Self::Trace>) -> Steps;
}

/// h, c and the gates of all layers after every step: (B, T, L, H), twice, and (B, T, L, 4H).
pub type Steps = [Tensor; 3];
