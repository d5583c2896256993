//! Small programs that use one crate of the project each; run one with
//! `cargo run --release -p deltavlm-examples --example NAME`.
//!
//! - `embed_runtime`: a pair of pictures and every answer about it, in ten lines.
//! - `link_in_memory`: two ends of a link in memory, with messages of the program's own.
//! - `custom_carrier`: a carrier written by hand under two nodes.

#![forbid(unsafe_code)]
