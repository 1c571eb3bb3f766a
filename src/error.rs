//! What can go wrong, one variant per remedy. `src/py/` maps each to its exception.

/// An error the user can act on. Everything else is a bug and stays a plain `anyhow` error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{name} must be {expected}, got {got}")]
    Argument { name: &'static str, expected: String, got: String },

    #[error("{name} must be {expected}, got {got}")]
    Shape { name: String, expected: String, got: String },

    #[error("{name} must hold {expected}, got {got}")]
    Data { name: String, expected: String, got: String },

    #[error("the model has no {asked} decoder (decoders={have:?}); fit one with decoders={asked:?} or \"both\"")]
    NoDecoder { asked: &'static str, have: &'static str },

    #[error("device must be {expected}, got {got}")]
    Device { expected: String, got: String },

    #[error("there is not enough memory: {:.2} GB more were asked for", bytes / 1e9)]
    Memory { bytes: f64 },

    #[error(
        "{what} became {value} at update {step}; the weights are those of the last finite update. Try a smaller \
         learning_rate, scaled numbers (scale=\"standard\" or \"minmax\") without outliers, or max_grad_norm=1.0 if it is None"
    )]
    Diverged { what: &'static str, value: f64, step: i64 },

    #[error("{why}")]
    Elsewhere { why: String },

    #[error("process {rank} of the group failed: {why}")]
    Peer { rank: usize, why: String },

    #[error("another process of the group is gone: {why}")]
    Gone { why: String },

    #[error("a process of the group was stopped")]
    Stopped,

    #[error("this model is in use by another thread; give each thread its own copy (copy.deepcopy)")]
    Busy,
}

/// Shorthand for the most frequent refusal: `name` must be `expected`, got `got`.
pub fn argument(name: &'static str, expected: impl Into<String>, got: impl ToString) -> Error {
    Error::Argument { name, expected: expected.into(), got: got.to_string() }
}

/// Refuse a whole number below `least`.
pub fn at_least(name: &'static str, got: i64, least: i64) -> Result<(), Error> {
    if got < least { Err(argument(name, format!("at least {least}"), got)) } else { Ok(()) }
}
