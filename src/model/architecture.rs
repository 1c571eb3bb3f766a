//! What a model is: everything that fixes the shapes of its weights and the meaning of its outputs.

use crate::error::{Error, argument, at_least};
use crate::words::Words;

/// What a decoder is fed as input; step 1 always gets a zero frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feedback {
    /// Its own last output, gradient stopped.
    Output,
    /// Nothing, at any step: the paper's unconditional decoder. No input weights.
    Nothing,
    /// In training the true frame that the step before had to emit, else its own output: the paper's conditional decoder.
    Truth,
    /// As `Truth` with a probability that falls from 1 to 0 over the training, else as `Output`.
    Scheduled,
}

impl Words for Feedback {
    const NAME: &'static str = "feedback";
    const WORDS: &'static [(&'static str, Self)] =
        &[("output", Self::Output), ("none", Self::Nothing), ("truth", Self::Truth), ("scheduled", Self::Scheduled)];
}

/// The loss of one decoder, a mean over valid numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Squared error of linear outputs (the seed's).
    Mse,
    /// Binary cross entropy of sigmoid outputs, in nats, computed from logits (the paper's).
    Bce,
}

impl Words for Loss {
    const NAME: &'static str = "loss";
    const WORDS: &'static [(&'static str, Self)] = &[("mse", Self::Mse), ("bce", Self::Bce)];
}

/// Which of the two decoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    Reconstruct,
    Predict,
}

impl Words for Which {
    const NAME: &'static str = "decoder";
    const WORDS: &'static [(&'static str, Self)] = &[("reconstruct", Self::Reconstruct), ("predict", Self::Predict)];
}

impl Which {
    pub const ALL: [Self; 2] = [Self::Reconstruct, Self::Predict];

    pub fn name(self) -> &'static str {
        Self::WORDS[self as usize].0
    }
}

/// Everything that fixes the weights' shapes and what the outputs mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Architecture {
    /// D: numbers in a frame.
    pub frame_size: i64,
    /// H.
    pub hidden_size: i64,
    /// L.
    pub num_layers: i64,
    /// Whether gates see the cell too, as in the paper's own code.
    pub peepholes: bool,
    /// What each decoder is fed, by `Which`; None without such a decoder.
    pub feedback: [Option<Feedback>; 2],
    pub loss: Loss,
    /// The number of classes of a classifier: a softmax on the encoder's h at every step.
    pub classes: Option<i64>,
}

impl Architecture {
    pub fn check(&self) -> Result<(), Error> {
        at_least("frame_size", self.frame_size, 1)?;
        at_least("hidden_size", self.hidden_size, 1)?;
        at_least("num_layers", self.num_layers, 1)?;
        if let Some(classes) = self.classes {
            return at_least("classes", classes, 2);
        }
        if self.feedback == [None, None] {
            return Err(argument("decoders", "\"both\", \"reconstruct\" or \"predict\"", "none"));
        }
        Ok(())
    }

    /// Refuse what no machine holds, whose number of weights may not even be counted.
    pub fn check_size(&self) -> Result<(), Error> {
        let [frame, hidden, layers] = [self.frame_size, self.hidden_size, self.num_layers].map(|n| n as f64);
        let bytes = 16.0 * layers * hidden * hidden.max(frame);
        if bytes > 1e15 { Err(Error::Memory { bytes }) } else { Ok(()) }
    }

    /// The existing decoders, as the parameter `decoders` names them.
    pub fn decoders(&self) -> &'static str {
        match self.feedback {
            [Some(_), Some(_)] => "both",
            [Some(_), None] => "reconstruct",
            [None, Some(_)] => "predict",
            [None, None] => "none",
        }
    }
}

/// How the first weights are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// U(-1/sqrt(H), 1/sqrt(H)) for all, as PyTorch.
    Pytorch,
    /// U(-0.01, 0.01) and zero biases, as the paper's code (its peepholes: U(-0.1, 0.1)).
    Paper,
}

impl Words for Distribution {
    const NAME: &'static str = "init";
    const WORDS: &'static [(&'static str, Self)] = &[("pytorch", Self::Pytorch), ("paper", Self::Paper)];
}

/// The first weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Init {
    pub distribution: Distribution,
    /// b: `bias_ih` of the forget gate = b, `bias_hh` = 0.
    pub forget_bias: Option<f64>,
    pub seed: u64,
}
