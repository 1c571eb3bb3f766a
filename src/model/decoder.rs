//! A decoder: the encoder's state in, frames out, one after another: T, T-1, ... 1 or T+1 ... T+F.

use tch::Tensor;

use super::architecture::{Feedback, Loss, Which};
use crate::data::{Batch, Frames};
use crate::lstm::{Feed, Truth};
use crate::random::Draws;

/// The frames that a decoder must emit, in the order in which it emits them.
pub fn target(which: Which, batch: &Batch) -> Option<Frames> {
    match which {
        Which::Reconstruct => Some(batch.past.reversed()),
        Which::Predict => batch.future.as_ref().map(|future| Frames {
            values: future.values.shallow_clone(),
            valid: future.valid.as_ref().map(Tensor::shallow_clone),
            known: future.known.as_ref().map(Tensor::shallow_clone),
        }),
    }
}

/// What replaces a decoder's own outputs in training, if its feedback uses the truth: a zero frame, then the target one step
/// late.
pub fn truth(feedback: Feedback, target: &Frames) -> Option<Tensor> {
    if !matches!(feedback, Feedback::Truth | Feedback::Scheduled) {
        return None;
    }
    let late = target.values.roll([1], [0]);
    if target.steps() > 0 {
        let _ = late.select(0, 0).zero_();
    }
    Some(late)
}

/// The feed in training. `probability` is that of the truth in scheduled feedback.
pub fn training_feed<'a>(
    feedback: Feedback,
    loss: Loss,
    steps: i64,
    truth: Option<&'a Tensor>,
    probability: f64,
    draws: &mut Draws,
) -> Feed<'a> {
    match (feedback, truth) {
        (Feedback::Truth, Some(truth)) => Feed::Frames(truth),
        (Feedback::Scheduled, Some(truth)) => {
            let size = [steps, truth.size()[1], 1];
            let mask = draws.bernoulli(&size, probability, 1.0, (truth.kind(), truth.device()));
            Feed::Output { steps, activation: loss.activation(), truth: Some(Truth { frames: truth, mask }) }
        }
        _ => feed(feedback, loss, steps),
    }
}

/// The feed at inference: own outputs, or nothing.
pub fn feed(feedback: Feedback, loss: Loss, steps: i64) -> Feed<'static> {
    match feedback {
        Feedback::Nothing => Feed::Nothing(steps),
        _ => Feed::Output { steps, activation: loss.activation(), truth: None },
    }
}
