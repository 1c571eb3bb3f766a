//! Tests of the engine from Rust, in one binary. What Python can reach is tested from there, in tests/python; what cannot be
//! reached from outside is tested beside its code.

mod data;
mod lstm;
mod order;
mod schedule;
