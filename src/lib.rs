//! The composite LSTM autoencoder of Srivastava, Mansimov and Salakhutdinov, "Unsupervised Learning of Video
//! Representations using LSTMs" (ICML 2015, arXiv 1502.04681): one encoder LSTM squeezes a sequence into a state, one
//! decoder rebuilds the past from it in reverse, another predicts the future.
//!
//! The rooms, each of which may use those above it and none below:
//!
//! | room | what belongs there |
//! | --- | --- |
//! | `error`, `config` | one error a remedy; what a model is and how it is trained |
//! | `libtorch` | what tch does not wrap; with the CPU kernels, the only `unsafe` code |
//! | `random` | seeded streams |
//! | `lstm` | one stack of LSTM layers: forward -> trace, backward -> gradients |
//! | `data` | where batches come from, and in which order |
//! | `model` | encoder, decoders, loss: the composite model and its gradients |
//! | `train` | the loop, optimizers, schedules, evaluation |
//! | `checkpoint` | safetensors files, written whole or not at all |
//! | `py` | the door to Python, which owns every word and default that the user meets |
//!
//! Letters, everywhere: B = batch, T = past, F = future, D = numbers in a frame, H = `hidden_size`, L = `num_layers`.
//! Arrays are time-major inside: (time, batch, features).

pub mod checkpoint;
pub mod config;
pub mod data;
pub mod error;
pub mod libtorch;
pub mod lstm;
pub mod model;
#[cfg(feature = "python")]
mod py;
pub mod random;
pub mod train;
