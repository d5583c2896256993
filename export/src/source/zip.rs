//! The directory of a zip archive whose entries are stored, not compressed.
//!
//! `torch.save` writes no others, which is what makes lazy reads possible: an
//! entry is a run of bytes of the file.

use std::collections::HashMap;
use std::sync::Arc;

use super::file::SourceFile;
use super::tensor::Storage;
use crate::{Error, Result};

const END: &[u8; 4] = b"PK\x05\x06";
const END64: &[u8; 4] = b"PK\x06\x06";
const LOCATOR64: &[u8; 4] = b"PK\x06\x07";
const CENTRAL: &[u8; 4] = b"PK\x01\x02";
const LOCAL: &[u8; 4] = b"PK\x03\x04";
/// A directory larger than this is not one of a checkpoint.
const MAX_DIRECTORY: u64 = 256 << 20;

/// The archive's entries by name.
#[derive(Debug)]
pub(crate) struct Archive {
    file: Arc<SourceFile>,
    entries: HashMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    header: u64,
    bytes: u64,
    crc: u32,
    method: u16,
}

impl Archive {
    /// Reads the central directory.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it is missing (a truncated file) or contradicts itself.
    pub(crate) fn open(file: Arc<SourceFile>) -> Result<Self> {
        let (offset, bytes, count) = find_directory(&file)?;
        if bytes > MAX_DIRECTORY {
            return Err(Error::damaged(
                file.path(),
                "its zip directory is impossibly large",
            ));
        }
        let directory = file.bytes(offset, bytes)?;
        let mut entries = HashMap::new();
        let mut rest = Fields {
            bytes: &directory,
            at: 0,
        };
        for _ in 0..count {
            let Some((name, entry)) = rest.entry() else {
                return Err(Error::damaged(
                    file.path(),
                    "its zip directory is cut short",
                ));
            };
            if entries.insert(name.clone(), entry).is_some() {
                return Err(Error::damaged(
                    file.path(),
                    format!("its zip directory lists `{name}` twice"),
                ));
            }
        }
        Ok(Self { file, entries })
    }

    /// Names of all entries.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Where the content of an entry lies; `None` when there is no such entry.
    ///
    /// # Errors
    /// When it is compressed or reaches outside the file.
    pub(crate) fn storage(&self, name: &str) -> Result<Option<Storage>> {
        let Some(entry) = self.entries.get(name) else {
            return Ok(None);
        };
        let path = self.file.path();
        if entry.method != 0 {
            return Err(Error::NotWeights {
                path: path.to_owned(),
                problem: format!("`{name}` is compressed; re-save the file with `torch.save`"),
            });
        }
        let header = self.file.bytes(entry.header, 30)?;
        if &header[..4] != LOCAL {
            return Err(Error::damaged(
                path,
                format!("no zip entry begins where `{name}` is recorded"),
            ));
        }
        let names = u64::from(le16(&header[26..])) + u64::from(le16(&header[28..]));
        let offset = entry.header + 30 + names;
        if offset
            .checked_add(entry.bytes)
            .is_none_or(|end| end > self.file.len())
        {
            return Err(Error::damaged(
                path,
                format!("`{name}` reaches beyond the end of the file"),
            ));
        }
        // PyTorch can be told not to compute checksums; it then records 0.
        let crc = (entry.crc != 0).then_some(entry.crc);
        Ok(Some(Storage::new(
            self.file.clone(),
            offset,
            entry.bytes,
            crc,
        )))
    }

    /// The content of a small entry, checksum compared.
    ///
    /// # Errors
    /// As [`Archive::storage`], and when it exceeds `limit` bytes.
    pub(crate) fn content(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(storage) = self.storage(name)? else {
            return Ok(None);
        };
        let path = self.file.path();
        if storage.bytes > limit {
            return Err(Error::damaged(
                path,
                format!("`{name}` is {} bytes, impossibly large", storage.bytes),
            ));
        }
        let content = self.file.bytes(storage.offset, storage.bytes)?;
        let crc = self.entries[name].crc;
        if crc != 0 && crc32fast::hash(&content) != crc {
            return Err(Error::damaged(
                path,
                format!("`{name}` does not match its CRC-32"),
            ));
        }
        Ok(Some(content))
    }
}

/// Offset, size and entry count of the central directory.
fn find_directory(file: &SourceFile) -> Result<(u64, u64, u64)> {
    let tail_len = file.len().min(22 + 65_535);
    let tail_at = file.len() - tail_len;
    let tail = file.bytes(tail_at, tail_len)?;
    let damaged = |problem: &str| Error::damaged(file.path(), problem);
    let end = (0..tail.len().saturating_sub(21))
        .rev()
        .find(|&at| &tail[at..at + 4] == END)
        .ok_or_else(|| {
            let problem = format!(
                "the zip directory at its end is missing, so its {} bytes are not the whole file",
                file.len()
            );
            Error::damaged(file.path(), problem)
        })?;
    let record = &tail[end..];
    let (mut count, mut bytes, mut offset) = (
        u64::from(le16(&record[10..])),
        u64::from(le32(&record[12..])),
        u64::from(le32(&record[16..])),
    );
    let end_at = tail_at + end as u64;
    if end_at >= 20 {
        let locator = file.bytes(end_at - 20, 20)?;
        if &locator[..4] == LOCATOR64 {
            let record = file.bytes(le64(&locator[8..]), 56)?;
            if &record[..4] != END64 {
                return Err(damaged(
                    "its zip64 end record is not where it is said to be",
                ));
            }
            (count, bytes, offset) = (
                le64(&record[32..]),
                le64(&record[40..]),
                le64(&record[48..]),
            );
        }
    }
    if count > bytes / 46 {
        return Err(damaged("its zip directory is too small for its entries"));
    }
    Ok((offset, bytes, count))
}

struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(taken)
    }

    fn entry(&mut self) -> Option<(String, Entry)> {
        let fixed = self.take(46)?;
        if &fixed[..4] != CENTRAL {
            return None;
        }
        let name = String::from_utf8(self.take(le16(&fixed[28..]) as usize)?.to_vec()).ok()?;
        let extra = self.take(le16(&fixed[30..]) as usize)?;
        self.take(le16(&fixed[32..]) as usize)?;
        let mut wide = wide_fields(extra);
        let mut field = |narrow: u32| {
            if narrow == u32::MAX {
                wide.next()
            } else {
                Some(u64::from(narrow))
            }
        };
        let bytes = field(le32(&fixed[24..]))?;
        let packed = field(le32(&fixed[20..]))?;
        let header = field(le32(&fixed[42..]))?;
        let method = le16(&fixed[10..]);
        if method == 0 && packed != bytes {
            return None;
        }
        let crc = le32(&fixed[16..]);
        Some((
            name,
            Entry {
                header,
                bytes,
                crc,
                method,
            },
        ))
    }
}

/// The 64-bit values of the zip64 extra field, in order.
fn wide_fields(mut extra: &[u8]) -> impl Iterator<Item = u64> + use<> {
    let mut values = Vec::new();
    while extra.len() >= 4 {
        let len = le16(&extra[2..]) as usize;
        let Some(body) = extra.get(4..4 + len) else {
            break;
        };
        if le16(extra) == 1 {
            values = body
                .as_chunks::<8>()
                .0
                .iter()
                .map(|raw| u64::from_le_bytes(*raw))
                .collect();
        }
        extra = &extra[4 + len..];
    }
    values.into_iter()
}

fn le16(bytes: &[u8]) -> u16 {
    u16::from_le_bytes([bytes[0], bytes[1]])
}

fn le32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn le64(bytes: &[u8]) -> u64 {
    u64::from(le32(bytes)) | u64::from(le32(&bytes[4..])) << 32
}
