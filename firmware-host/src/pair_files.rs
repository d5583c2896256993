//! Two pictures of one tile, as files.

use deltavlm_messages::tile_number;
use serde::{Deserialize, Serialize};
use std::{fs::Metadata, os::unix::fs::MetadataExt, path::PathBuf};

/// A before-picture and an after-picture of the same tile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairFiles {
    /// The tile's name, from the file names.
    pub name: String,
    /// The earlier picture; `None` when it never came.
    pub before: Option<PathBuf>,
    /// The later picture.
    pub after: PathBuf,
    /// What tells this pair from a later one of the same name.
    pub version: PairVersion,
}

impl PairFiles {
    /// The tile's number on the link.
    #[must_use]
    pub fn tile(&self) -> u32 {
        tile_number(&self.name)
    }

    /// When the later picture was written, in seconds of the board's time scale.
    #[must_use]
    pub fn time(&self) -> u32 {
        u32::try_from(self.version.after.modified_ns / 1_000_000_000).unwrap_or(0)
    }
}

/// Size and time of change of a pair's files: a new picture under an old name differs in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairVersion {
    /// Of the earlier picture.
    pub before: Option<FileFingerprint>,
    /// Of the later picture.
    pub after: FileFingerprint,
}

/// Size and time of change of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFingerprint {
    /// Size in bytes.
    pub bytes: u64,
    /// Time of change in nanoseconds since 1970, by the board's clock.
    pub modified_ns: i64,
}

impl FileFingerprint {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let modified_ns = metadata.mtime().saturating_mul(1_000_000_000);
        Self {
            bytes: metadata.len(),
            modified_ns: modified_ns.saturating_add(metadata.mtime_nsec()),
        }
    }
}
