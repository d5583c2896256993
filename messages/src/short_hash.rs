//! Names of two bytes for pairs, models and prompts.

/// A name of two bytes for something longer: the low half of its CRC-32C.
pub fn short_hash(bytes: &[u8]) -> u16 {
    crc32c(bytes) as u16
}

/// CRC-32C (Castagnoli), bit by bit: what is named is short or named seldom, and a table would take
/// a kilobyte.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_rfc_3720() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(short_hash(b"123456789"), 0x9283);
    }
}
