//! What a model is (`Architecture`, saved with its weights) and how it is trained (`Training`, not).

use tch::{Device, Kind};

use crate::error::{Error, argument};
use crate::train::{Schedule, optimizer};

/// How many bits of their factors the products keep. Sums, states, losses and the optimizer are in float32 always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    Fp32,
    /// CUDA's rounding of float32 to 10 bits of mantissa.
    Tf32,
    Bf16,
    Fp16,
}

impl Precision {
    pub fn parse(word: &str, device: Device) -> Result<Self, Error> {
        match (word, device) {
            ("auto" | "fp32", Device::Cpu) | ("fp32", _) => Ok(Self::Fp32),
            ("auto" | "tf32", Device::Cuda(_)) => Ok(Self::Tf32),
            ("bf16", _) => Ok(Self::Bf16),
            ("fp16", _) => Ok(Self::Fp16),
            ("tf32", _) => {
                let got = "\"tf32\", which CUDA devices alone have";
                Err(argument("precision", "\"auto\", \"fp32\", \"bf16\" or \"fp16\" on the CPU", got))
            }
            (got, _) => {
                let expected = "\"auto\", \"fp32\", \"tf32\", \"bf16\" or \"fp16\"";
                Err(argument("precision", expected, format!("{got:?}")))
            }
        }
    }

    /// Of what is multiplied, where states are of `kind`.
    pub fn of_products(self, kind: Kind) -> Kind {
        match self {
            Self::Fp32 | Self::Tf32 => kind,
            Self::Bf16 => Kind::BFloat16,
            Self::Fp16 => Kind::Half,
        }
    }
}

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

impl Feedback {
    pub fn parse(word: &str) -> Result<Self, Error> {
        match word {
            "output" => Ok(Self::Output),
            "none" => Ok(Self::Nothing),
            "truth" => Ok(Self::Truth),
            "scheduled" => Ok(Self::Scheduled),
            got => Err(argument("feedback", "\"output\", \"none\", \"truth\" or \"scheduled\"", format!("{got:?}"))),
        }
    }
}

/// The loss of one decoder, a mean over valid numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Squared error of linear outputs (the seed's).
    Mse,
    /// Binary cross entropy of sigmoid outputs, in nats, computed from logits (the paper's).
    Bce,
}

impl Loss {
    pub fn parse(word: &str) -> Result<Self, Error> {
        match word {
            "mse" => Ok(Self::Mse),
            "bce" => Ok(Self::Bce),
            got => Err(argument("loss", "\"mse\" or \"bce\"", format!("{got:?}"))),
        }
    }
}

/// Which of the two decoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    Reconstruct,
    Predict,
}

impl Which {
    pub const ALL: [Self; 2] = [Self::Reconstruct, Self::Predict];

    pub fn name(self) -> &'static str {
        match self {
            Self::Reconstruct => "reconstruct",
            Self::Predict => "predict",
        }
    }

    pub fn parse(word: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|which| which.name() == word)
            .ok_or_else(|| argument("decoder", "\"reconstruct\" or \"predict\"", format!("{word:?}")))
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
    /// What each decoder is fed, by `Which`; a decoder that is not there has none.
    pub feedback: [Option<Feedback>; 2],
    pub loss: Loss,
    /// How many classes a softmax on the encoder's h tells apart at every step; none without one.
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

    /// The decoders that are there, in the words of `decoders`.
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
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Init {
    /// `false`: U(-1/sqrt(H), 1/sqrt(H)) for all, as PyTorch. `true`: U(-0.01, 0.01) and zero biases, as the paper's code
    /// (its peepholes: U(-0.1, 0.1)).
    pub paper: bool,
    /// b: `bias_ih` of the forget gate = b, `bias_hh` = 0.
    pub forget_bias: Option<f64>,
    pub seed: u64,
}

/// Everything that steers a training and leaves the shapes alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Training {
    pub batch_size: i64,
    /// The last update of the plan: schedules and scheduled feedback run over 0..end.
    pub end: i64,
    pub loss_weights: [f64; 2],
    pub dropout: f64,
    pub optimizer: optimizer::Rule,
    pub learning_rate: f64,
    pub weight_decay: f64,
    pub max_grad_norm: Option<f64>,
    pub schedule: Schedule,
    pub warmup: i64,
    /// Whether the softmax alone is trained, and the encoder left as it is.
    pub head_only: bool,
    /// Of the order of windows, dropout and scheduled feedback.
    pub seed: u64,
}

impl Training {
    pub fn check(&self) -> Result<(), Error> {
        at_least("batch_size", self.batch_size, 1)?;
        at_least("max_iter", self.end, 1)?;
        at_least("warmup", self.warmup, 0)?;
        if self.loss_weights.iter().any(|w| !w.is_finite() || *w < 0.0) || self.loss_weights == [0.0, 0.0] {
            let got = format!("{:?}", self.loss_weights);
            return Err(argument("loss_weights", "two finite numbers of at least 0, one of them above 0", got));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(argument("dropout", "at least 0 and below 1", self.dropout));
        }
        if !(self.learning_rate.is_finite() && self.learning_rate >= 0.0) {
            return Err(argument("learning_rate", "a finite number of at least 0", self.learning_rate));
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return Err(argument("weight_decay", "a finite number of at least 0", self.weight_decay));
        }
        match self.max_grad_norm {
            Some(norm) if norm.is_nan() || norm <= 0.0 => Err(argument("max_grad_norm", "None or above 0", norm)),
            _ => Ok(()),
        }
    }
}

fn at_least(name: &'static str, got: i64, least: i64) -> Result<(), Error> {
    if got < least { Err(argument(name, format!("at least {least}"), got)) } else { Ok(()) }
}
