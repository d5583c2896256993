//! Pictures from the parts in which they come.

use deltavlm_messages::{PreviewFormat, PreviewPart, QueryId};
use std::collections::BTreeMap;

/// The longest level that is put together: the parts say a length, and may lie.
const MAX_LEVEL_BYTES: u32 = 1 << 20;

/// A level of a picture, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewLevel {
    /// Level `n` is `32 << n` pixels a side.
    pub level: u8,
    /// The file name extension of its format.
    pub extension: &'static str,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Puts the levels of one requested picture together.
#[derive(Debug)]
pub struct PreviewAssembler {
    query: QueryId,
    levels: BTreeMap<u8, PartialLevel>,
}

#[derive(Debug)]
struct PartialLevel {
    bytes: Vec<u8>,
    filled: Vec<bool>,
}

impl PreviewAssembler {
    /// Waits for the parts that answer `query`.
    #[must_use]
    pub fn new(query: QueryId) -> Self {
        Self {
            query,
            levels: BTreeMap::new(),
        }
    }

    /// Takes a part; the level that it completes, if it completes one.
    pub fn add(&mut self, chip: &PreviewPart) -> Option<PreviewLevel> {
        if chip.query != self.query || chip.total > MAX_LEVEL_BYTES {
            return None;
        }
        let total = chip.total as usize;
        let partial = self
            .levels
            .entry(chip.level)
            .or_insert_with(|| PartialLevel {
                bytes: vec![0; total],
                filled: vec![false; total],
            });
        let range = chip.offset as usize..(chip.offset as usize).checked_add(chip.data.len())?;
        let was_complete = partial.is_complete();
        // A part that reaches outside what the first part announced belongs to nothing.
        partial
            .bytes
            .get_mut(range.clone())?
            .copy_from_slice(&chip.data);
        partial.filled.get_mut(range)?.fill(true);
        if was_complete || !partial.is_complete() {
            return None;
        }
        let extension = match chip.format {
            PreviewFormat::Jpeg => "jpg",
            PreviewFormat::Png => "png",
            _ => "raw",
        };
        Some(PreviewLevel {
            level: chip.level,
            extension,
            bytes: partial.bytes.clone(),
        })
    }
}

impl PartialLevel {
    fn is_complete(&self) -> bool {
        self.filled.iter().all(|&filled| filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deltavlm_messages::PreviewImage;

    fn chip(offset: u32, data: &[u8], total: u32) -> PreviewPart {
        PreviewPart {
            query: 3,
            picture: PreviewImage::After,
            level: 1,
            format: PreviewFormat::Jpeg,
            total,
            offset,
            data: data.iter().copied().collect(),
        }
    }

    #[test]
    fn parts_may_come_in_any_order_and_twice() {
        let mut assembler = PreviewAssembler::new(3);
        assert_eq!(assembler.add(&chip(3, b"de", 5)), None);
        assert_eq!(assembler.add(&chip(3, b"de", 5)), None);
        let level = assembler.add(&chip(0, b"abc", 5)).unwrap();
        assert_eq!(
            (level.bytes.as_slice(), level.level, level.extension),
            (&b"abcde"[..], 1, "jpg")
        );
        assert_eq!(
            assembler.add(&chip(0, b"abc", 5)),
            None,
            "it is complete once"
        );
    }

    #[test]
    fn parts_that_lie_are_left_out() {
        let mut assembler = PreviewAssembler::new(3);
        assert_eq!(assembler.add(&chip(0, b"abc", u32::MAX)), None);
        assert_eq!(assembler.add(&chip(4, b"abc", 5)), None);
        assert_eq!(assembler.add(&chip(u32::MAX, b"abc", 5)), None);
        assert_eq!(
            assembler.add(&PreviewPart {
                query: 4,
                ..chip(0, b"abcde", 5)
            }),
            None
        );
        assert!(assembler.add(&chip(0, b"abcde", 5)).is_some());
    }
}
