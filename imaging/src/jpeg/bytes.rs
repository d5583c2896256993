//! Bytes of headers, and damage found in them.

use crate::error::ImageFault;

pub(super) fn damaged(problem: &str) -> ImageFault {
    ImageFault::damaged(problem)
}

/// The big-endian number at an offset.
pub(super) fn u16_at(body: &[u8], at: usize) -> Result<usize, ImageFault> {
    let bytes = body
        .get(at..at + 2)
        .ok_or_else(|| damaged("a header is too short"))?;
    Ok(usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
}
