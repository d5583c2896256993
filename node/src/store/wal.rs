//! Whether the end of a write-ahead log is what a power cut leaves, or damage.
//!
//! SQLite stops reading its log at the first frame whose checksum does not hold, and takes all
//! behind it for a transaction that was never complete. A bit that flipped in the middle looks the
//! same to it: everything that was committed later is silently undone, counters included. The
//! difference is in what follows (file format, section 4): frames of the present log carry its two
//! salt values, and a writer does not begin a transaction before the one before it is on disk. So
//! behind the first bad frame a power cut leaves the rest of one transaction at most.

use std::{fs, path::Path};

/// What is behind the last good frame of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// Nothing of this log.
    Clean,
    /// At most one transaction, which a power cut may have left incomplete; or its last one is
    /// damaged.
    Incomplete,
    /// More than one transaction.
    Damaged,
}

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const MAGIC: u32 = 0x377F_0682;

/// What is behind the last good frame of the log of the database at `path`.
pub(super) fn tail(path: &Path) -> Tail {
    let Ok(content) = fs::read(super::salvage::with_suffix(path, "-wal")) else {
        return Tail::Clean;
    };
    examine(&content).unwrap_or(Tail::Clean)
}

/// `None` when it is too short to be a log.
fn examine(content: &[u8]) -> Option<Tail> {
    let header = content.get(..HEADER)?;
    if header.iter().all(|&byte| byte == 0) {
        // The name of the file reached the disk before its content did.
        return Some(Tail::Clean);
    }
    let magic = word(header, 0);
    // The lowest bit says how words are read for the checksums.
    let big_endian = magic & 1 == 1;
    let page = word(header, 8) as usize;
    if magic & !1 != MAGIC || page == 0 {
        return Some(Tail::Damaged);
    }
    let mut sum = add((0, 0), &header[..24], big_endian);
    if sum != (word(header, 24), word(header, 28)) {
        return Some(Tail::Damaged);
    }
    let salts = &header[16..24];
    let mut good = true;
    let (mut left, mut commits) = (0, 0);
    for frame in content[HEADER..].chunks_exact(FRAME_HEADER + page) {
        let (head, body) = frame.split_at(FRAME_HEADER);
        let is_commit = word(head, 4) != 0;
        if good {
            let next = add(add(sum, &head[..8], big_endian), body, big_endian);
            if head[8..16] == *salts && next == (word(head, 16), word(head, 20)) {
                sum = next;
                continue;
            }
            good = false;
        }
        if head[8..16] == *salts {
            // Behind a commit there is another transaction.
            if commits > 0 {
                return Some(Tail::Damaged);
            }
            left += 1;
            commits += u32::from(is_commit);
        }
    }
    Some(match left {
        0 => Tail::Clean,
        _ => Tail::Incomplete,
    })
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |word| u32::from_be_bytes(*word))
}

/// SQLite's checksum (file format, section 4.2).
fn add((mut a, mut b): (u32, u32), bytes: &[u8], big_endian: bool) -> (u32, u32) {
    let (words, _) = bytes.as_chunks::<4>();
    let (pairs, _) = words.as_chunks::<2>();
    for [first, second] in pairs {
        let read = if big_endian {
            u32::from_be_bytes
        } else {
            u32::from_le_bytes
        };
        a = a.wrapping_add(read(*first)).wrapping_add(b);
        b = b.wrapping_add(read(*second)).wrapping_add(a);
    }
    (a, b)
}
