//! The two things that a lenient JPEG decoder does not say: that the file breaks
//! off, and that its colours are CMYK.

use crate::PictureFault;

/// Walks the markers from start to end of image.
pub(super) fn check(bytes: &[u8]) -> Result<(), PictureFault> {
    let broken = |what: &str| Err(PictureFault::Damaged(what.to_owned()));
    let mut at = 2;
    loop {
        let Some(marker) = next_marker(bytes, &mut at) else {
            return broken("the file breaks off before the end of the image");
        };
        match marker {
            0xd9 => return Ok(()),
            // Restart markers and TEM stand alone.
            0x01 | 0xd0..=0xd7 => continue,
            _ => {}
        }
        let Some(length) = bytes.get(at..at + 2) else {
            return broken("the file breaks off inside a header");
        };
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        if length < 2 || at + length > bytes.len() {
            return broken("a header is longer than the file");
        }
        let is_frame = matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
        if is_frame && bytes.get(at + 7) == Some(&4) {
            return Err(PictureFault::Colours("CMYK".to_owned()));
        }
        at += length;
    }
}

/// The next marker code; skips entropy-coded data, in which 0xff is followed by 0.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        let offset = bytes.get(*at..)?.iter().position(|&byte| byte == 0xff)?;
        *at += offset + 1;
        match *bytes.get(*at)? {
            0xff => {}
            0 => *at += 1,
            marker => {
                *at += 1;
                return Some(marker);
            }
        }
    }
}
