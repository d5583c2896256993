//! Low-bit matrix multiplication for CPU boards.
//!
//! The weights of a language model are read once per generated word, and a
//! board has neither the memory nor the bandwidth for them in full precision.
//! This crate multiplies activations with weights of 4 or 8 bits where they
//! lie, in the layout of the ONNX operator `MatMulNBits`: typically in a
//! memory map of a bundle, which ONNX Runtime can read as well.
//!
//! # Invariants
//!
//! The crate must never:
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

mod activations;
mod aligned_buffer;
mod attention;
mod elementwise;
mod error;
mod gemm;
mod heads;
mod kv_cache;
mod layout;
mod math;
mod quantize_activations;
mod quantize_weights;
mod reference;
pub mod roofline;
mod scale_search;
mod shared_slice;
mod simd;
mod thread_pool;

pub use activations::MIN_BLOCK_MAGNITUDE;
pub use attention::{AttentionBias, Queries, attend};
pub use elementwise::{Activation, GluKind, Norm, glu, normalize};
pub use error::{ShapeError, ThreadPoolError};
pub use gemm::dense::{DenseMatrix, DenseValues, matmul_dense};
pub use gemm::epilogue::Epilogue;
pub use gemm::quantized::matmul;
pub use heads::{Heads, Rotary};
pub use kv_cache::KvCache;
pub use layout::{BLOCK, Bits, QuantizedMatrix, Scales};
pub use quantize_weights::{OwnedMatrix, dequantize, quantize};
pub use reference::matmul_f32;
pub use scale_search::quantize_mse;
pub use simd::isa::{ISA_ENV_VAR, Isa, IsaError};
pub use thread_pool::ThreadPool;
