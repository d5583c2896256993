//! Why the on-board program cannot start or go on.

use deltavlm_node::{KeyError, NodeError};
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
    /// The link cannot start from its storage.
    #[error("{0}; move the spool directory away to start afresh")]
    Link(#[from] NodeError),
    /// The thread that analyses pictures is gone.
    #[error("the worker thread ended, see above; start the program again")]
    WorkerEnded,
    /// The thread that analyses pictures does not come back from a job.
    #[error("the worker thread hangs; start the program again")]
    WorkerHangs,
}
