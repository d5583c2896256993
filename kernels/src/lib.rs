//! Low-bit matrix multiplication for CPU boards.
//!
//! The weights of a language model are read once per generated word, and a
//! board has neither the memory nor the bandwidth for them in full precision.
//! This crate multiplies activations with weights of 4 or 8 bits where they
//! lie, in the layout of the ONNX operator `MatMulNBits`: typically in a
//! memory map of a bundle, which ONNX Runtime can read as well.
//!
//! What it must never do:
//!
//! * copy or repack weights beyond a piece that fits the cache;
//! * start a thread per call, or use threads that the caller did not give;
//! * let the result depend on the instruction set, the number of threads or
//!   the other rows in a call: [`matmul`] gives the same bits everywhere;
//! * turn an activation that is NaN or infinite into a finite output.
//!
//! ```
//! use deltavlm_kernels::{Bits, Epilogue, Pool, matmul, quantize};
//!
//! let pool = Pool::new(2)?;
//! let (n, k) = (3, 64);
//! let weights = quantize(Bits::Eight, n, k, &vec![0.25; n * k])?;
//! let x = vec![1.0; k];
//! let mut out = vec![0.0; n];
//! matmul(&pool, &x, &weights.view(), Epilogue::default(), &mut out)?;
//! assert_eq!(out, [16.0; 3]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(missing_docs, unsafe_op_in_unsafe_fn)]

#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod arm;
mod attention;
mod columns;
mod compiled;
mod dense;
mod disjoint;
mod error;
mod exact;
mod isa;
mod kernel;
mod key_values;
mod layout;
pub mod limits;
mod math;
mod matmul;
mod parts;
mod pool;
mod quantize;
mod scalar;
mod scratch;
mod search;
mod tile;
mod values;
mod vector;
mod weights;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use attention::{Bias, Heads, Queries, Rotary, attend};
pub use dense::{DenseMatrix, Values, matmul_dense};
pub use error::{IsaError, PoolError, ShapeError};
pub use exact::matmul_f32;
pub use isa::{ISA_VARIABLE, Isa};
pub use key_values::KeyValues;
pub use layout::{BLOCK, Bits, QuantizedMatrix, Scales};
pub use matmul::{Epilogue, matmul};
pub use pool::Pool;
pub use quantize::TINY;
pub use search::quantize_best;
pub use values::{Activation, Gate, Norm, gated, normalise};
pub use weights::{OwnedMatrix, dequantize, quantize};
