//! Turns the published DeltaVLM weights into a bundle for the board.
//!
//! In: the files as they are published (`torch.save` archives and safetensors,
//! layered over one another). Out: a directory that [`deltavlm_bundle`] specifies,
//! with one ONNX graph per segment and weights that can be memory-mapped. One
//! graph builder serves every size and precision; dimensions come from the tensors.
//!
//! What this crate must never do:
//! - execute anything that a weight file contains;
//! - read a tensor that it does not need, or hold more than a few runs of rows in memory;
//! - leave a directory that looks like a bundle and is none;
//! - let the same input give other bytes on another machine.

#![forbid(unsafe_code)]

pub mod build;
mod calibrate;
pub mod cli;
pub mod config;
mod error;
pub mod fidelity;
mod grammar;
pub mod graph;
pub mod interpret;
mod llm_config;
pub mod matrix;
pub mod network;
pub mod onnx;
mod parallel_file;
mod position_embedding;
pub mod progress;
pub mod random;
pub mod sample_images;
pub mod source;
mod staging_dir;
pub mod synth;
mod tensor_ops;
#[cfg(feature = "verify")]
pub mod verify;
pub mod weights_layout;
mod weights_writer;

pub use error::{Error, Result};
