//! Measured work: what the product does, timed side by side with peers in one run.
//!
//! Each bench is a program of its own that prints a table:
//!
//! - `cargo bench -p deltavlm-benches --bench full_shapes`: the published model's
//!   shapes on this project's kernels, ONNX Runtime, PyTorch, llama.cpp and plain
//!   tract, each with its share of the machine's limit; `README.md` says how its
//!   bundles are made;
//! - `cargo bench -p deltavlm-benches --bench pair_to_alert`: two picture files to the
//!   content of an alert on the nano bundle, on tract and, where `ORT_DYLIB_PATH`
//!   names its library, on ONNX Runtime;
//! - `cargo bench -p deltavlm-kernels`: the matrix products against the machine's own
//!   limits.
//!
//! `docs/performance.md` keeps the figures. Nothing here asserts a time: a slow
//! machine is not a wrong program.

#![forbid(unsafe_code)]

pub mod nano;
pub mod peers;
pub mod work;

use std::time::Instant;

/// What goes wrong in a bench ends it.
pub type Failure = Box<dyn std::error::Error>;

/// Milliseconds since then.
pub fn milliseconds(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e3
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
