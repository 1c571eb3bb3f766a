//! Tests of the engine from Rust, in one binary. What Python can reach is tested from there, in tests/python.

mod data;
mod lstm;
mod order;
mod schedule;

// What these do is not to be had from outside, and their tests are with them.
#[allow(dead_code, reason = "only their tests are wanted here")]
#[path = "../../src/libtorch/dispatch.rs"]
mod dispatch;
#[allow(dead_code, reason = "only their tests are wanted here")]
#[path = "../../src/libtorch/graph.rs"]
mod graph;
#[allow(dead_code, reason = "only their tests are wanted here")]
#[path = "../../src/libtorch/tf32.rs"]
mod tf32;
