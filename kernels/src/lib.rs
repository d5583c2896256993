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
//! use deltavlm_kernels::{Bits, Epilogue, ThreadPool, matmul, quantize};
//!
//! let pool = ThreadPool::new(2)?;
//! let (n, k) = (3, 64);
//! let weights = quantize(Bits::Eight, n, k, &vec![0.25; n * k])?;
//! let x = vec![1.0; k];
//! let mut out = vec![0.0; n];
//! matmul(&pool, &x, &weights.view(), Epilogue::default(), &mut out)?;
//! assert_eq!(out, [16.0; 3]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(missing_docs, unsafe_op_in_unsafe_fn)]

mod aligned_buffer;
mod attention;
mod column_ptrs;
mod dense;
mod elementwise;
mod error;
mod gemm_f32;
mod isa;
mod kernel;
mod kv_cache;
mod layout;
mod math;
mod multiversion;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod neon;
mod portable;
mod quantize_activations;
mod quantize_weights;
mod quantized;
mod reference;
pub mod roofline;
mod scale_search;
mod shared_slice;
mod simd_f32;
mod task_grid;
mod thread_pool;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use attention::{AttentionBias, Heads, Queries, Rotary, attend};
pub use dense::{DenseMatrix, DenseValues, matmul_dense};
pub use elementwise::{Activation, GluKind, Norm, glu, normalize};
pub use error::{IsaError, ShapeError, ThreadPoolError};
pub use isa::{ISA_ENV_VAR, Isa};
pub use kv_cache::KvCache;
pub use layout::{BLOCK, Bits, QuantizedMatrix, Scales};
pub use quantize_activations::MIN_BLOCK_MAGNITUDE;
pub use quantize_weights::{OwnedMatrix, dequantize, quantize};
pub use quantized::{Epilogue, matmul};
pub use reference::matmul_f32;
pub use scale_search::quantize_mse;
pub use thread_pool::ThreadPool;
