//! The composite LSTM autoencoder of Srivastava, Mansimov and Salakhutdinov, "Unsupervised Learning of Video
//! Representations using LSTMs" (ICML 2015, arXiv 1502.04681): one encoder LSTM squeezes a sequence into a state, one
//! decoder rebuilds the past from it in reverse, another predicts the future.
//!
//! The modules, from low to high. Each may import those above it and none below; `make lint` checks that. In a folder the
//! files form no cycle.
//!
//! | module | purpose |
//! | --- | --- |
//! | `error` | one error per remedy |
//! | `words` | options that are chosen by a word: one table each |
//! | `libtorch` | what tch does not wrap |
//! | `stop` | Ctrl-C and refused memory in the middle of a computation |
//! | `threads` | the thread pool |
//! | `random` | seeded streams |
//! | `data` | where batches come from, and in which order |
//! | `lstm` | one stack of LSTM layers: forward -> trace, backward -> gradients; the backends |
//! | `model` | architecture, weights, encoder, decoders, losses: the composite model and its gradients |
//! | `train` | settings, the loop, the update, optimizers, schedules, evaluation |
//! | `py` | the interface to Python, which defines every parameter and default that users see |
//!
//! Letters, everywhere: B = batch, T = past, F = future, D = numbers in a frame, H = `hidden_size`, L = `num_layers`.
//! Arrays are time-major inside: (time, batch, features).

pub mod data;
pub mod error;
pub mod libtorch;
pub mod lstm;
pub mod model;
#[cfg(feature = "python")]
mod py;
pub mod random;
pub mod stop;
pub mod threads;
pub mod train;
pub mod words;
