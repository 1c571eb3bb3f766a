//! Where batches come from, and in which order.
//!
//! `Windows` borrows the user's arrays, in any numeric kind and with any strides (a memory map reads as an array does), and
//! gathers a batch at a time: rows chosen, converted to the model's kind, scaled, put on its device, time first. NaN is a
//! missing number. A GPU receives the user's own numbers, which often are smaller (bytes), and converts them; an array that
//! fits into its memory is placed there once. `Source` is what a training reads: windows, or a stream of batches.

mod column;
mod frames;
mod gather;
mod order;
mod source;
mod windows;

pub use column::{Column, Lazy, Scale, Sequences};
pub use frames::{Align, Batch, Conversion, Frames};
pub use order::{Order, Share};
pub use source::{Progress, Source, Stream};
pub use windows::{Windows, in_order};
