//! The training loop, its optimizers and schedules.

mod deferred;
mod evaluate;
mod group;
pub mod optimizer;
mod schedule;
mod session;
mod settings;
mod update;

pub use evaluate::{evaluate, gradients};
pub use group::{Group, Part};
pub use optimizer::Moments;
pub use schedule::Schedule;
pub use session::{Observer, Plan, Report, Trainer, Until};
pub use settings::Training;
