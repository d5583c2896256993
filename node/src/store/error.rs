//! Error type of the store.

use rusqlite::ErrorCode;
use std::{
    io,
    path::{Path, PathBuf},
};

/// Why the store could not be opened or used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the store open.
    #[error("{}: in use by another program; stop that one, or name another directory", path.display())]
    InUse {
        /// The store.
        path: PathBuf,
    },
    /// The device is full.
    #[error("{}: the disk is full; free some space", path.display())]
    Full {
        /// The store.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The content is damaged.
    #[error("{}: damaged: {detail}", path.display())]
    Damaged {
        /// The store.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The device failed, or the file may not be read or written.
    #[error("{}: cannot be read or written: {source}", path.display())]
    Database {
        /// The store.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The disk failed a moment ago and is not tried again yet.
    #[error("{}: the disk failed a moment ago; it is tried again", path.display())]
    Unavailable {
        /// The store.
        path: PathBuf,
    },
    /// A file beside the store could not be written or renamed.
    #[error("{}: cannot be read or written: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The log of an earlier version could not be read.
    #[error("{}: the link log of an earlier version cannot be read: {source}", path.display())]
    EarlierLog {
        /// The log.
        path: PathBuf,
        /// What is wrong with it.
        source: deltavlm_link::storage::log::LogError<io::Error>,
    },
}

impl StoreError {
    pub(super) fn at(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            _ if says_damaged(&source) => Self::Damaged {
                path,
                detail: source.to_string(),
            },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse { path },
            Some(ErrorCode::DiskFull) => Self::Full { path, source },
            _ => Self::Database { path, source },
        }
    }

    /// Whether what is on the disk is wrong, so that reading it again will not help.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }
}

/// Whether the error says that the file's content is wrong, not the disk or its owner.
fn says_damaged(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
    match error {
        FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) => true,
        other => matches!(
            other.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        ),
    }
}
