//! The model: encoder, decoders, losses and classifier.

pub mod architecture;
mod classifier;
mod composite;
mod decoder;
mod encoder;
mod loss;
mod weights;

pub use architecture::{Architecture, Distribution, Feedback, Init, Loss, Which};
pub use composite::{Composite, Pass, Traces};
pub use loss::{Losses, Sum, Unread};
pub use weights::{Weights, check_shapes};
