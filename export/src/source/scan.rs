//! One pass over a weight file, from front to back: its SHA-256, and the
//! checksums of the tensors that are used.
//!
//! The pass is driven by the work that needs the bytes: whoever reads a tensor
//! takes the pass as far as that tensor first, so that the bytes come from disk
//! once and are then in the page cache.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use super::SourceFile;
use super::tensor::Tensor;
use crate::{Error, Result};

/// Bytes that are read at a time.
const CHUNK: u64 = 1 << 20;
/// The disk works this far ahead, and as much again: a multiple of [`CHUNK`].
const READAHEAD_BYTES: u64 = 16 << 20;

/// The pass over one file, shared by threads.
#[derive(Debug)]
pub(crate) struct Scan {
    file: Arc<SourceFile>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    at: u64,
    hash: Sha256,
    /// Checksums to come, by where their bytes begin.
    waiting: VecDeque<Checksum>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Checksum {
    key: String,
    from: u64,
    to: u64,
    expected: u32,
    found: crc32fast::Hasher,
}

impl Scan {
    /// A pass over `file` that compares the checksums of those `tensors` that lie in it.
    pub(crate) fn new<'a>(
        file: Arc<SourceFile>,
        tensors: impl Iterator<Item = &'a Tensor>,
    ) -> Self {
        let mut waiting: Vec<Checksum> = tensors
            .filter(|tensor| Arc::ptr_eq(tensor.file(), &file))
            .filter_map(|tensor| {
                let storage = tensor.storage();
                Some(Checksum {
                    key: tensor.key().to_owned(),
                    from: storage.offset,
                    to: storage.offset + storage.bytes,
                    expected: storage.crc?,
                    found: crc32fast::Hasher::new(),
                })
            })
            .collect();
        waiting.sort_by_key(|checksum| checksum.from);
        // Tensors may share a storage.
        waiting.dedup_by_key(|checksum| checksum.from);
        Self {
            file,
            state: Mutex::new(State {
                at: 0,
                hash: Sha256::new(),
                waiting: waiting.into(),
                buffer: Vec::new(),
            }),
        }
    }

    /// The file that is passed over.
    pub(crate) fn file(&self) -> &Arc<SourceFile> {
        &self.file
    }

    /// Takes the pass at least as far as byte `to`.
    ///
    /// # Errors
    /// When the file cannot be read, or a checksum is wrong.
    pub(crate) fn advance(&self, to: u64) -> Result<()> {
        let mut state = self.state.lock().expect("no panic while scanning");
        let to = to.min(self.file.len());
        while state.at < to {
            let State {
                at,
                hash,
                waiting,
                buffer,
            } = &mut *state;
            if at.is_multiple_of(READAHEAD_BYTES) {
                self.file.expect(*at + READAHEAD_BYTES, READAHEAD_BYTES);
            }
            buffer.resize(CHUNK.min(self.file.len() - *at) as usize, 0);
            self.file.read_at(*at, buffer)?;
            hash.update(&buffer[..]);
            let end = *at + buffer.len() as u64;
            // Storages never overlap but may lie several to a chunk.
            for checksum in waiting.iter_mut().take_while(|next| next.from < end) {
                let from = checksum.from.max(*at) - *at;
                let to = checksum.to.min(end).max(*at + from) - *at;
                checksum.found.update(&buffer[from as usize..to as usize]);
            }
            *at = end;
            while waiting.front().is_some_and(|next| next.to <= end) {
                if let Some(done) = waiting.pop_front() {
                    done.compare(&self.file)?;
                }
            }
        }
        Ok(())
    }

    /// Takes the pass to the end; the SHA-256 of the file in hexadecimal digits.
    ///
    /// # Errors
    /// As [`Scan::advance`].
    pub(crate) fn finish(&self) -> Result<String> {
        self.advance(self.file.len())?;
        let state = self.state.lock().expect("no panic while scanning");
        let digest = state.hash.clone().finalize();
        Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl Checksum {
    fn compare(self, file: &SourceFile) -> Result<()> {
        let (found, expected) = (self.found.finalize(), self.expected);
        if found == expected {
            return Ok(());
        }
        let key = self.key;
        Err(Error::damaged(
            file.path(),
            format!("`{key}` has CRC-32 {found:08x} where {expected:08x} is recorded"),
        ))
    }
}
