//! Measured work: what the product does, timed side by side with peers in one run.
//!
//! Each bench is a program of its own that prints a table:
//!
//! - `cargo bench -p deltavlm-benches --bench pair_to_alert`: two picture files to the
//!   content of an alert on the nano bundle, on tract and, where `ORT_DYLIB_PATH`
//!   names its library, on ONNX Runtime;
//! - `cargo bench -p deltavlm-kernels`: the low-bit matrix products against the
//!   machine's own limits.
//!
//! `docs/performance.md` keeps the figures. Nothing here asserts a time: a slow
//! machine is not a wrong program.

#![forbid(unsafe_code)]
