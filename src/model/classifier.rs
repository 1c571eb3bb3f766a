//! The classifier's loss and probabilities: a softmax at every step, averaged over the steps.

use tch::{Device, Kind, Tensor};

use super::loss::Unread;

/// The mean over a sequence's steps of the cross entropy of a softmax on each, in nats, summed over the batch, and the
/// gradient of its mean over the batch at the logits (T, B, K); over `whole` windows, if these are a part of them.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor, valid: Option<&Tensor>, whole: Option<f64>) -> (Unread, Tensor) {
    let (steps, batch, _) = logits.size3().expect("logits are (T, B, K)");
    let share = share(logits, valid);
    let log_p = logits.log_softmax(-1, None);
    let labels = labels.view([1, batch, 1]).expand([steps, batch, 1], false);
    let sum = -(log_p.gather(2, &labels, false) * &share).sum(Some(Kind::Double));
    let mut d = log_p.exp();
    let _ = d.scatter_add_(2, &labels, &Tensor::full([steps, batch, 1], -1.0, (d.kind(), d.device())));
    (Unread { sum, count: batch as f64 }, d * share / whole.unwrap_or(batch as f64))
}

/// The classes' probabilities (B, K): those of every step, averaged over the steps.
pub fn probabilities(logits: &Tensor, valid: Option<&Tensor>) -> Tensor {
    mean_over_steps(&logits.softmax(-1, None), valid)
}

/// The mean of x (T, B, n) over each sequence's steps: (B, n).
pub fn mean_over_steps(x: &Tensor, valid: Option<&Tensor>) -> Tensor {
    let parts = x * share(x, valid);
    if parts.device() != Device::Cpu || parts.size()[0] == 0 {
        return parts.sum_dim_intlist(0, false, None);
    }
    // Step by step: the order in which libtorch adds depends on a sequence's place in the batch.
    let mut sum = parts.get(0).copy();
    for step in 1..parts.size()[0] {
        sum += parts.get(step);
    }
    sum
}

/// (T, B, 1): the part of each step in its sequence.
fn share(x: &Tensor, valid: Option<&Tensor>) -> Tensor {
    match valid {
        Some(valid) => valid / valid.sum_dim_intlist(0, true, None),
        None => Tensor::full([1, 1, 1], 1.0 / x.size()[0] as f64, (x.kind(), x.device())),
    }
}
