//! Every error of the command, and the flag that mends it.

use std::path::PathBuf;

use deltavlm_imaging::{ImageError, ImageFault};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// Of the runtime.
    #[error(transparent)]
    Runtime(#[from] deltavlm_runtime::Error),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file in question.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of annotations or answers is malformed.
    #[error("{}: {problem}", path.display())]
    Malformed {
        /// The file in question.
        path: PathBuf,
        /// Where and why, and the remedy.
        problem: String,
    },
    /// A mask was asked of a bundle that has none.
    #[error(
        "{model} has no mask branch; leave out `--mask`, or build it from a checkpoint with `mask_decoder.*`"
    )]
    NoMask {
        /// The bundle's id.
        model: String,
    },
}

impl From<ImageError> for CliError {
    fn from(error: ImageError) -> Self {
        Self::Runtime(error.into())
    }
}

impl CliError {
    /// The flags by which the user can mend this.
    pub fn flags(&self) -> Option<&'static str> {
        match self {
            Self::Runtime(deltavlm_runtime::Error::Image(ImageError::Unusable {
                fault, ..
            })) => match fault {
                ImageFault::TooManyPixels { .. } => Some("`--max-pixels`"),
                ImageFault::TooManyBytes { .. } => Some("`--max-bytes`"),
                _ => None,
            },
            _ => None,
        }
    }
}
