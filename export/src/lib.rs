//! Turns the published DeltaVLM weights into a bundle for the board.
//!
//! In: the files as they are published (`torch.save` archives and safetensors,
//! layered over one another). Out: a directory that [`deltavlm_bundle`] specifies,
//! with one ONNX graph per segment and weights that can be memory-mapped. One
//! graph builder serves every size and precision; dimensions come from the tensors.
//!
//! # Invariants
//! - Nothing that a weight file contains is executed: a pickle that names anything
//!   but tensors and plain values is refused by name.
//! - A tensor that the model does not need is never read, and memory stays bounded
//!   by a few row ranges per worker thread, whatever the model's size.
//! - A bundle directory appears complete or not at all.
//! - The same input gives the same bytes on every machine and thread count.

#![forbid(unsafe_code)]

pub mod array;
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
mod published;
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
