//! Why the on-board program cannot start or go on.

use deltavlm_node::{KeyError, NodeError, store::StoreError};
use std::{io, path::PathBuf};

/// Why the on-board program cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The spool directory cannot be used.
    #[error("spool {path}: {source}; name a directory that this user can write")]
    Spool {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another on-board program uses the spool directory.
    #[error("spool {0}: another dvlm-host uses it; stop that one or name another directory")]
    InUse(PathBuf),
    /// The key file cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store in the spool cannot be used.
    #[error("spool {0}")]
    Store(#[from] StoreError),
    /// The link cannot start from the store, or its settings contradict each other.
    #[error(transparent)]
    Link(#[from] NodeError),
    /// The thread that analyses pictures is gone.
    #[error("the worker thread ended, see above; start the program again")]
    WorkerEnded,
    /// The thread that analyses pictures does not come back from a job.
    #[error("the worker thread hangs; start the program again")]
    WorkerHangs,
}

impl HostError {
    /// Whether the configuration is at fault, so that starting again does not help. Everything
    /// else may pass: a disk that is not mounted yet, an instance in its last moments.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Key(error) => !matches!(error, KeyError::Io { .. }),
            Self::Link(error) => error.is_configuration(),
            _ => false,
        }
    }
}
