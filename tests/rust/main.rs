//! Tests of the engine from Rust, in one binary. What Python can reach is tested from there, in tests/python.

mod checkpoint;
mod lstm;
mod order;
mod schedule;
