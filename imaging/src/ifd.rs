//! Directories of tags: the container of TIFF, BigTIFF and EXIF.
//!
//! Offsets and counts are never trusted: a value is read only when it lies inside the
//! file, and every list has a limit.

use std::io::{self, Read, Seek, SeekFrom};

/// Tags in one directory; real files have a few dozen.
const MAX_ENTRIES: u64 = 4096;
/// Bytes of one value. The longest real ones are the chunk tables of orthophotos: a
/// million chunks of 8 bytes.
const MAX_VALUE_BYTES: u64 = 16 << 20;

/// What is wrong with the directories.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IfdError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Malformed(&'static str),
}

/// A file of directories.
pub(crate) struct TagFile<R> {
    reader: R,
    length: u64,
    is_little_endian: bool,
    is_big: bool,
    first: u64,
}

/// One directory.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    entries: Vec<Entry>,
    /// Where the next directory lies; 0 for none.
    pub(crate) next: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    tag: u16,
    kind: u16,
    count: u64,
    /// Where the value lies in the file, also when it lies inside the entry.
    offset: u64,
}

impl<R: Read + Seek> TagFile<R> {
    /// Reads the header.
    pub(crate) fn new(mut reader: R) -> Result<Self, IfdError> {
        let length = reader.seek(SeekFrom::End(0))?;
        reader.seek(SeekFrom::Start(0))?;
        let mut head = [0; 4];
        reader
            .read_exact(&mut head)
            .map_err(|_| IfdError::Malformed("its header is too short"))?;
        let (is_little_endian, is_big) = match &head {
            b"II\x2a\0" => (true, false),
            b"MM\0\x2a" => (false, false),
            b"II\x2b\0" => (true, true),
            b"MM\0\x2b" => (false, true),
            _ => return Err(IfdError::Malformed("it does not begin as a TIFF")),
        };
        let mut file = Self {
            reader,
            length,
            is_little_endian,
            is_big,
            first: 0,
        };
        file.first = if is_big {
            if file.number(4, 2)? != 8 || file.number(6, 2)? != 0 {
                return Err(IfdError::Malformed("its BigTIFF header is malformed"));
            }
            file.number(8, 8)?
        } else {
            file.number(4, 4)?
        };
        Ok(file)
    }

    pub(crate) fn is_little_endian(&self) -> bool {
        self.is_little_endian
    }

    /// Length of the file in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Where the first directory lies.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Reads the directory that lies at `offset`.
    pub(crate) fn directory(&mut self, offset: u64) -> Result<Directory, IfdError> {
        let (count_bytes, entry_bytes, word) = if self.is_big { (8, 20, 8) } else { (2, 12, 4) };
        let count = self.number(offset, count_bytes)?;
        if count > MAX_ENTRIES {
            return Err(IfdError::Malformed("a directory with too many tags"));
        }
        let start = offset + count_bytes as u64;
        let mut bytes = vec![0; count as usize * entry_bytes];
        self.read_at(start, &mut bytes)?;
        let mut entries = Vec::with_capacity(count as usize);
        for (index, entry) in bytes.chunks_exact(entry_bytes).enumerate() {
            let kind = self.word(&entry[2..4]) as u16;
            let count = self.word(&entry[4..4 + word]);
            // A type from the future is skipped, as the specification asks.
            let Some(size) = size_of_kind(kind) else {
                continue;
            };
            let inline_at = start + (index * entry_bytes + 4 + word) as u64;
            let offset = if count.saturating_mul(size) <= word as u64 {
                inline_at
            } else {
                self.word(&entry[4 + word..])
            };
            entries.push(Entry {
                tag: self.word(&entry[..2]) as u16,
                kind,
                count,
                offset,
            });
        }
        // Some writers cut the file right behind the last entry.
        let next = self
            .number(start + count * entry_bytes as u64, word)
            .unwrap_or(0);
        Ok(Directory { entries, next })
    }

    /// The value of a tag as unsigned integers.
    pub(crate) fn integers(
        &mut self,
        directory: &Directory,
        tag: u16,
    ) -> Result<Option<Vec<u64>>, IfdError> {
        let Some(entry) = directory.entry(tag) else {
            return Ok(None);
        };
        if !matches!(entry.kind, 1 | 3 | 4 | 13 | 16 | 18 | 7) {
            return Err(IfdError::Malformed("a tag is not of whole numbers"));
        }
        let size = size_of_kind(entry.kind).unwrap_or(1) as usize;
        let bytes = self.value_bytes(entry)?;
        Ok(Some(
            bytes.chunks_exact(size).map(|n| self.word(n)).collect(),
        ))
    }

    /// The first number of a tag.
    pub(crate) fn integer(
        &mut self,
        directory: &Directory,
        tag: u16,
    ) -> Result<Option<u64>, IfdError> {
        Ok(self
            .integers(directory, tag)?
            .and_then(|values| values.first().copied()))
    }

    /// The value of a tag as numbers, whatever their type; a rational with a zero
    /// denominator is NaN.
    pub(crate) fn numbers(
        &mut self,
        directory: &Directory,
        tag: u16,
    ) -> Result<Option<Vec<f64>>, IfdError> {
        let Some(entry) = directory.entry(tag) else {
            return Ok(None);
        };
        let size = size_of_kind(entry.kind).unwrap_or(1) as usize;
        let bytes = self.value_bytes(entry)?;
        let number = |n: &[u8]| -> f64 {
            let word = self.word(n);
            match entry.kind {
                5 => ratio(self.word(&n[..4]) as f64, self.word(&n[4..]) as f64),
                10 => ratio(
                    f64::from(self.word(&n[..4]) as u32 as i32),
                    f64::from(self.word(&n[4..]) as u32 as i32),
                ),
                6 => f64::from(word as u8 as i8),
                8 => f64::from(word as u16 as i16),
                9 => f64::from(word as u32 as i32),
                17 => word as i64 as f64,
                11 => f64::from(f32::from_bits(word as u32)),
                12 => f64::from_bits(word),
                _ => word as f64,
            }
        };
        Ok(Some(bytes.chunks_exact(size).map(number).collect()))
    }

    /// The value of a text tag, up to its first NUL.
    pub(crate) fn text(
        &mut self,
        directory: &Directory,
        tag: u16,
    ) -> Result<Option<String>, IfdError> {
        Ok(self.bytes(directory, tag)?.map(|bytes| {
            let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
            String::from_utf8_lossy(&bytes[..end]).trim().to_owned()
        }))
    }

    /// The value of a tag as it lies in the file.
    pub(crate) fn bytes(
        &mut self,
        directory: &Directory,
        tag: u16,
    ) -> Result<Option<Vec<u8>>, IfdError> {
        match directory.entry(tag) {
            Some(entry) => self.value_bytes(entry).map(Some),
            None => Ok(None),
        }
    }

    /// Fills `bytes` from `offset`; fails where that reaches beyond the file.
    pub(crate) fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> Result<(), IfdError> {
        let end = offset.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > self.length) {
            return Err(IfdError::Malformed("an offset leads beyond the file"));
        }
        self.reader.seek(SeekFrom::Start(offset))?;
        Ok(self.reader.read_exact(bytes)?)
    }

    fn value_bytes(&mut self, entry: Entry) -> Result<Vec<u8>, IfdError> {
        let size = size_of_kind(entry.kind).unwrap_or(1);
        let length = entry.count.saturating_mul(size);
        // Checked before memory is taken.
        let end = entry.offset.checked_add(length);
        if length > MAX_VALUE_BYTES || end.is_none_or(|end| end > self.length) {
            return Err(IfdError::Malformed("a tag's value leads beyond the file"));
        }
        let mut bytes = vec![0; length as usize];
        self.read_at(entry.offset, &mut bytes)?;
        Ok(bytes)
    }

    fn number(&mut self, offset: u64, size: usize) -> Result<u64, IfdError> {
        let mut bytes = [0; 8];
        self.read_at(offset, &mut bytes[..size])?;
        Ok(self.word(&bytes[..size]))
    }

    /// Up to eight bytes as an unsigned integer in the file's order.
    fn word(&self, bytes: &[u8]) -> u64 {
        let add = |sum: u64, &byte: &u8| sum << 8 | u64::from(byte);
        if self.is_little_endian {
            bytes.iter().rev().fold(0, add)
        } else {
            bytes.iter().fold(0, add)
        }
    }
}

impl Directory {
    /// Whether the tag is there.
    pub(crate) fn has(&self, tag: u16) -> bool {
        self.entry(tag).is_some()
    }

    fn entry(&self, tag: u16) -> Option<Entry> {
        self.entries.iter().find(|entry| entry.tag == tag).copied()
    }
}

fn ratio(numerator: f64, denominator: f64) -> f64 {
    if denominator == 0.0 {
        f64::NAN
    } else {
        numerator / denominator
    }
}

fn size_of_kind(kind: u16) -> Option<u64> {
    Some(match kind {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// One directory with the given (tag, kind, count, value word) entries.
    fn classic(entries: &[(u16, u16, u32, u32)]) -> Vec<u8> {
        let mut bytes = b"II\x2a\0\x08\0\0\0".to_vec();
        bytes.extend((entries.len() as u16).to_le_bytes());
        for (tag, kind, count, value) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(count.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend([0; 4]);
        bytes
    }

    #[test]
    fn a_count_that_would_fill_memory_is_refused_before_it_is_read() {
        let bytes = classic(&[(273, 4, u32::MAX, 8), (274, 3, 1, 6)]);
        let mut file = TagFile::new(Cursor::new(bytes)).unwrap();
        let directory = file.directory(file.first()).unwrap();
        assert!(file.integers(&directory, 273).is_err());
        assert_eq!(file.integer(&directory, 274).unwrap(), Some(6));
        assert_eq!(file.integer(&directory, 275).unwrap(), None);
    }

    #[test]
    fn a_directory_beyond_the_file_is_an_error() {
        let mut bytes = classic(&[]);
        bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        let mut file = TagFile::new(Cursor::new(bytes)).unwrap();
        assert!(file.directory(file.first()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(tail in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), big: bool) {
            let mut bytes = if big { b"II\x2b\0\x08\0\0\0\x10\0\0\0\0\0\0\0".to_vec() } else { b"MM\0\x2a\0\0\0\x08".to_vec() };
            bytes.extend(tail);
            if let Ok(mut file) = TagFile::new(Cursor::new(bytes))
                && let Ok(directory) = file.directory(file.first())
            {
                for tag in directory.entries.iter().map(|e| e.tag).collect::<Vec<_>>() {
                    let _ = file.integers(&directory, tag);
                    let _ = file.numbers(&directory, tag);
                    let _ = file.text(&directory, tag);
                }
            }
        }
    }
}
