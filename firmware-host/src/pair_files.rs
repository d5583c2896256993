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
    /// All files of one date that have this name, where there are several: which of them is the
    /// picture cannot be known, so the pair is a fault and not analysed. Empty otherwise.
    pub ambiguous: Vec<PathBuf>,
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

/// The fingerprints of a pair's files: a new picture under an old name differs in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairVersion {
    /// Of the earlier picture.
    pub before: Option<FileFingerprint>,
    /// Of the later picture.
    pub after: FileFingerprint,
}

impl PairVersion {
    /// Whether both are the same files, as far as both sides know.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        let before = match (&self.before, &other.before) {
            (Some(one), Some(other)) => one.matches(other),
            (None, None) => true,
            _ => false,
        };
        before && self.after.matches(&other.after)
    }
}

/// What the file system tells of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFingerprint {
    /// Size in bytes.
    pub bytes: u64,
    /// Time of the last change of the content in nanoseconds since 1970, by the board's clock.
    pub modified_ns: i64,
    /// Time of the last change of the file's record, which no program can set: it differs when
    /// `cp -p` or a clock that starts at the same second at each boot leaves size and
    /// modification time as they were. `None` in journals of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_ns: Option<i64>,
    /// The inode, compared while the program runs and never stored: FAT and network file systems
    /// number their files anew at each mount.
    #[serde(skip)]
    pub inode: Option<u64>,
}

impl FileFingerprint {
    /// Whether both are equal in everything that both sides know.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        fn agree<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
            one.is_none() || other.is_none() || one == other
        }
        self.bytes == other.bytes
            && self.modified_ns == other.modified_ns
            && agree(self.changed_ns, other.changed_ns)
            && agree(self.inode, other.inode)
    }

    pub(crate) fn of(metadata: &Metadata) -> Self {
        let nanoseconds =
            |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Self {
            bytes: metadata.len(),
            modified_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: Some(nanoseconds(metadata.ctime(), metadata.ctime_nsec())),
            inode: Some(metadata.ino()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_of_an_earlier_version_still_names_the_same_pair() {
        let old = r#"{"before":null,"after":{"bytes":7,"modified_ns":9}}"#;
        let old: PairVersion = serde_json::from_str(old).unwrap();
        let seen = |changed_ns| PairVersion {
            before: None,
            after: FileFingerprint {
                bytes: 7,
                modified_ns: 9,
                changed_ns: Some(changed_ns),
                inode: Some(4),
            },
        };
        assert!(old.matches(&seen(11)));
        let stored: PairVersion =
            serde_json::from_str(&serde_json::to_string(&seen(11)).unwrap()).unwrap();
        assert!(stored.matches(&seen(11)));
        assert!(!stored.matches(&seen(12)));
    }
}
