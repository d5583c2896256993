//! Small programs that use one crate of the project each; run one with
//! `cargo run --release -p deltavlm-examples --example NAME`.
//!
//! - `embed_runtime`: a pair of pictures and every answer about it, in ten lines.

#![forbid(unsafe_code)]
