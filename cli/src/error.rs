//! Every error of the command, and the flag that mends it.

use std::path::PathBuf;

use deltavlm_imaging::{ImageError, ImageFault};
use deltavlm_runtime::{EngineError, Error, LibraryError, MemoryRemedy};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// Of the runtime.
    #[error(transparent)]
    Runtime(#[from] Error),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file in question.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A frame cannot be surveyed.
    #[error(transparent)]
    Frame(#[from] deltavlm_frame::FrameError),
    /// An elevation model cannot be used.
    #[error(transparent)]
    Dem(#[from] deltavlm_imaging::place::DemError),
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
        let Self::Runtime(error) = self else {
            return None;
        };
        match error {
            Error::Image(ImageError::Unusable { fault, .. }) => match fault {
                ImageFault::TooManyPixels { .. } => Some("`--max-pixels`"),
                ImageFault::TooManyBytes { .. } => Some("`--max-bytes`"),
                _ => None,
            },
            Error::Engine { source, .. } => match source {
                EngineError::Library(error) => library_flags(error),
                EngineError::NotBuilt { .. } => Some("`--engine`"),
                EngineError::NoProvider { .. } => Some("`--provider`, `--engine tract`"),
                _ => None,
            },
            Error::Memory { remedy, .. } => match remedy {
                MemoryRemedy::UseTract => Some("`--engine tract`"),
                MemoryRemedy::QuantizeWeights | MemoryRemedy::FourBits => {
                    Some("`dvlm-export build --precision`")
                }
                _ => None,
            },
            _ => None,
        }
    }
}

fn library_flags(error: &LibraryError) -> Option<&'static str> {
    match error {
        LibraryError::NotThere { .. } | LibraryError::NotInDirectory { .. } => {
            Some("`--ort-library`")
        }
        LibraryError::NotFound => Some("`--ort-library`, `--engine tract`"),
        LibraryError::Hangs { .. } | LibraryError::Refused { .. } => Some("`--engine tract`"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_names_its_flag() {
        let fault = ImageFault::TooManyPixels {
            width: 40,
            height: 30,
            limit: 1000,
        };
        let name = "x.png".to_owned();
        let error = CliError::from(ImageError::Unusable { name, fault });
        assert_eq!(error.flags(), Some("`--max-pixels`"));
        assert!(!error.to_string().contains("--"), "{error}");
    }

    #[test]
    fn an_absent_library_names_both_ways_out() {
        let source = EngineError::Library(LibraryError::NotFound);
        let engine = "ort";
        let error = CliError::from(Error::Engine { engine, source });
        assert_eq!(error.flags(), Some("`--ort-library`, `--engine tract`"));
        assert!(!error.to_string().contains("--"), "{error}");
    }
}
