//! Consistent overhead byte stuffing for frames of at most 254 bytes: one byte in front,
//! no zero inside, one zero behind.

/// The longest content that costs a single byte of overhead.
pub const MAX_CONTENT: usize = 254;

/// Stuffs `buffer[1..=length]` in place and writes the closing zero after it.
///
/// `buffer[0]` is overwritten with the first code. Returns the number of bytes to send,
/// `length + 2`.
///
/// # Panics
/// If `length` is over [`MAX_CONTENT`] or the buffer cannot hold `length + 2` bytes.
pub fn encode_in_place(buffer: &mut [u8], length: usize) -> usize {
    assert!(length <= MAX_CONTENT && buffer.len() >= length + 2);
    let mut code_at = 0;
    for at in 1..=length {
        if buffer[at] == 0 {
            buffer[code_at] = (at - code_at) as u8;
            code_at = at;
        }
    }
    buffer[code_at] = (length + 1 - code_at) as u8;
    buffer[length + 1] = 0;
    length + 2
}

/// Undoes the stuffing of `block` (without its closing zero) in place.
///
/// Returns the content, or `None` when the codes do not add up.
pub fn decode_in_place(block: &mut [u8]) -> Option<&mut [u8]> {
    let mut code = usize::from(*block.first()?);
    let mut code_at = 0;
    loop {
        if code == 0 {
            return None;
        }
        let next = code_at + code;
        if next == block.len() {
            return Some(&mut block[1..]);
        }
        // 0xFF says "254 bytes and no zero after them"; a frame of ours is never that long.
        if code == 0xFF {
            return None;
        }
        let byte = block.get_mut(next)?;
        code = usize::from(*byte);
        *byte = 0;
        code_at = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_textbook_example() {
        let mut buffer = [0, 0x11, 0x22, 0x00, 0x33, 0xAA];
        assert_eq!(encode_in_place(&mut buffer, 4), 6);
        assert_eq!(buffer, [3, 0x11, 0x22, 2, 0x33, 0]);
        assert_eq!(
            decode_in_place(&mut buffer[..5]).unwrap(),
            [0x11, 0x22, 0, 0x33]
        );
    }

    #[test]
    fn codes_that_run_past_the_end_are_refused() {
        assert!(decode_in_place(&mut [4, 1, 2]).is_none());
        assert!(decode_in_place(&mut []).is_none());
        assert!(decode_in_place(&mut [0, 1]).is_none());
    }

    proptest! {
        #[test]
        fn round_trip(content in proptest::collection::vec(any::<u8>(), 0..=MAX_CONTENT)) {
            let mut buffer = [0u8; MAX_CONTENT + 2];
            buffer[1..=content.len()].copy_from_slice(&content);
            let sent = encode_in_place(&mut buffer, content.len());
            prop_assert_eq!(sent, content.len() + 2);
            prop_assert!(!buffer[..sent - 1].contains(&0));
            prop_assert_eq!(buffer[sent - 1], 0);
            prop_assert_eq!(&*decode_in_place(&mut buffer[..sent - 1]).unwrap(), &content[..]);
        }

        #[test]
        fn any_bytes_are_refused_or_decoded(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let length = bytes.len();
            if let Some(content) = decode_in_place(&mut bytes) {
                prop_assert_eq!(content.len() + 1, length);
            }
        }
    }
}
