//! Matrix products.
//!
//! For row `m`, column `n` and block `b` of a quantised product let `d` be the
//! integer dot product of the 32 quantised activations and the 32 weights, and
//! `s` the activation's scale times the weight's. Then, with one rounding per
//! step,
//!
//! ```text
//! sum = 0;  for b in 0..K/32: sum = fma(d, s, sum);  out = (sum + bias) + residual
//! ```
//!
//! `d` is at most 32 * 127 * 128 in magnitude, so it is exact both as a 32-bit
//! integer and in single precision. Every microkernel does exactly these steps
//! in this order, for its own number of columns side by side: results depend
//! neither on the instruction set, nor on the number of threads, nor on which
//! other rows are in the same call.
//!
//! From the entry point down: [`quantized`] (or [`dense`]) splits the output
//! into tasks by [`task_grid`]; [`driver`] runs a task with the functions that
//! [`dispatch`] has for the instruction set: [`pack`] and [`tile_i8`] for many
//! rows, [`gemv`] for a few; [`epilogue`] writes the result.

pub(crate) mod dense;
pub(crate) mod dispatch;
pub(crate) mod driver;
pub(crate) mod epilogue;
pub(crate) mod gemv;
pub(crate) mod pack;
pub(crate) mod quantized;
pub(crate) mod task_grid;
pub(crate) mod tile_f32;
pub(crate) mod tile_i8;
