//! Error types.

use crate::simd::isa::IsaError;

/// The sizes of a request do not fit each other: the caller's mistake.
///
/// Every check happens before the first output is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// A dimension that must be at least one is zero.
    #[error("{what} is zero")]
    Zero {
        /// The dimension's name.
        what: &'static str,
    },
    /// The inner dimension is no multiple of the block size.
    #[error("inner dimension {k} is not a multiple of {block}")]
    NotWholeBlocks {
        /// The inner dimension.
        k: usize,
        /// The block size.
        block: usize,
    },
    /// A buffer has another length than its shape asks for.
    #[error("{what} has {actual} elements, its shape needs {expected}")]
    Length {
        /// The buffer's name.
        what: &'static str,
        /// The length that the shape needs.
        expected: usize,
        /// The length that it has.
        actual: usize,
    },
    /// The number of elements does not fit the address space.
    #[error("the shape is larger than the address space")]
    Overflow,
}

/// A thread pool could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ThreadPoolError {
    /// A pool needs at least the caller's own thread.
    #[error("a pool needs at least one thread")]
    NoThreads,
    /// The environment asks for an instruction set that cannot be used.
    #[error(transparent)]
    Isa(#[from] IsaError),
    /// The operating system refused a thread.
    #[error("could not start a worker thread")]
    Spawn(#[source] std::io::Error),
}
