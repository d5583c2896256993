//! What can go wrong with an export, each error naming the file and the remedy.

use std::path::{Path, PathBuf};

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file in question.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not a weight file at all.
    #[error("{}: {problem}", path.display())]
    NotWeights {
        /// The file in question.
        path: PathBuf,
        /// What it is instead, and the remedy.
        problem: String,
    },
    /// A weight file ends early or contradicts itself.
    #[error("{}: damaged: {problem}; download or copy the file again", path.display())]
    Damaged {
        /// The file in question.
        path: PathBuf,
        /// The contradiction.
        problem: String,
    },
    /// A pickle asks for more than tensors need. Nothing of it was executed.
    #[error("{}: refused: its pickle {problem}; a weight file needs only tensors and plain values, so do not trust this file", path.display())]
    Refused {
        /// The file in question.
        path: PathBuf,
        /// The opcode or global, by name.
        problem: String,
    },
    /// No layer supplies a tensor.
    #[error("no file supplies `{key}`; expected in {expected}")]
    MissingKey {
        /// The DeltaVLM name of the tensor.
        key: String,
        /// The file that should hold it, and under which key.
        expected: String,
    },
    /// A tensor has another shape than its neighbours imply.
    #[error("{}: `{key}` has shape {found:?} where {expected:?} is expected{why}", path.display())]
    Shape {
        /// The file that supplies the tensor.
        path: PathBuf,
        /// Its key.
        key: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that the model needs.
        expected: Vec<usize>,
        /// Where the expectation comes from.
        why: String,
    },
    /// A tensor cannot be used.
    #[error("{}: `{key}`: {problem}", path.display())]
    Tensor {
        /// The file that supplies the tensor.
        path: PathBuf,
        /// Its key.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The mask branch has tensors that the published layout does not have.
    #[error("{}: the mask branch has tensors that the published one has not: `{keys}`; docs/bundle-format.md lists its layout, and without `mask_decoder.*` in the checkpoint the bundle is built without it", path.display())]
    MaskForm {
        /// The checkpoint.
        path: PathBuf,
        /// The keys in question.
        keys: String,
    },
    /// A configuration file says something impossible.
    #[error("{}: {problem}", path.display())]
    Config {
        /// The file in question.
        path: PathBuf,
        /// The field, what is wrong, and the remedy.
        problem: String,
    },
    /// The command line asks for something impossible.
    #[error("{0}")]
    Usage(String),
    /// The disk cannot hold the result.
    #[error("{}: {needed} bytes are needed and {free} are free; free some space or choose another --out", path.display())]
    DiskFull {
        /// The output directory.
        path: PathBuf,
        /// Bytes that the result takes.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// A bundle is wrong; see the cause.
    #[error(transparent)]
    Bundle(#[from] deltavlm_bundle::Error),
    /// An engine failed on a segment.
    #[error("{segment} in {engine}: {problem}")]
    Engine {
        /// The segment.
        segment: String,
        /// The engine.
        engine: String,
        /// What it said.
        problem: String,
    },
    /// A check found something wrong; the report says what.
    #[error("{0}")]
    CheckFailed(String),
}

/// The result of an export step.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Wraps a system error with the file that it is about.
    pub fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn damaged(path: &Path, problem: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }

    pub(crate) fn config(path: &Path, problem: impl Into<String>) -> Self {
        Self::Config {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }
}
