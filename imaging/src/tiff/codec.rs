//! Compressions that give rows of bytes: each is a reader, so that a chunk of any size
//! needs memory for its compressed bytes and one row.

use std::io::{self, Read};

use crate::error::ImageFault;
use crate::tiff::layout::unsupported;

pub(crate) const UNCOMPRESSED: u64 = 1;
pub(crate) const JPEG: u64 = 7;

/// A reader of the decompressed bytes.
pub(crate) fn reader(compression: u64, bytes: Vec<u8>) -> Result<Box<dyn Read>, ImageFault> {
    Ok(match compression {
        UNCOMPRESSED => Box::new(io::Cursor::new(bytes)),
        5 if bytes.first() == Some(&0) && bytes.get(1).is_some_and(|b| b & 1 == 1) => {
            return Err(unsupported("compressed by the LZW of before 1990"));
        }
        5 => Box::new(Lzw::new(bytes)),
        8 | 32_946 => Box::new(flate2::read::ZlibDecoder::new(io::Cursor::new(bytes))),
        32_773 => Box::new(PackBits::new(bytes)),
        50_000 => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(io::Cursor::new(bytes));
            Box::new(decoder.map_err(|error| ImageFault::Damaged {
                problem: "its Zstandard data has a malformed header".to_owned(),
                source: Some(Box::new(error)),
            })?)
        }
        other => return Err(unsupported(format!("compressed by {}", name(other)))),
    })
}

/// Names of what is not read, for the error.
fn name(compression: u64) -> String {
    match compression {
        2..=4 => "CCITT fax",
        6 => "the JPEG of TIFF 6.0",
        34_712 | 33_003 | 33_005 => "JPEG 2000",
        34_887 => "LERC",
        34_925 => "LZMA",
        50_001 => "WebP",
        50_002 | 52_546 => "JPEG XL",
        other => return format!("method {other}"),
    }
    .to_owned()
}

struct Lzw {
    decoder: weezl::decode::Decoder,
    bytes: Vec<u8>,
    at: usize,
}

impl Lzw {
    fn new(bytes: Vec<u8>) -> Self {
        Self {
            decoder: weezl::decode::Decoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8),
            bytes,
            at: 0,
        }
    }
}

impl Read for Lzw {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let result = self.decoder.decode_bytes(&self.bytes[self.at..], out);
            self.at += result.consumed_in;
            match result.status {
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
                Ok(weezl::LzwStatus::Ok) if result.consumed_out == 0 && result.consumed_in > 0 => {}
                Ok(_) => return Ok(result.consumed_out),
            }
        }
    }
}

struct PackBits {
    bytes: io::Cursor<Vec<u8>>,
    /// Bytes still to be copied, or repeated.
    copy: usize,
    repeat: Option<(u8, usize)>,
}

impl PackBits {
    fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes: io::Cursor::new(bytes),
            copy: 0,
            repeat: None,
        }
    }

    fn next_byte(&mut self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        Ok((self.bytes.read(&mut byte)? == 1).then_some(byte[0]))
    }
}

impl Read for PackBits {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            if self.copy > 0 {
                let length = self.copy.min(out.len());
                let read = self.bytes.read(&mut out[..length])?;
                self.copy -= read;
                return Ok(read);
            }
            if let Some((byte, count)) = self.repeat.take() {
                let length = count.min(out.len());
                out[..length].fill(byte);
                self.repeat = (count > length).then_some((byte, count - length));
                return Ok(length);
            }
            let Some(head) = self.next_byte()? else {
                return Ok(0);
            };
            match head as i8 {
                -128 => {}
                head if head >= 0 => self.copy = head as usize + 1,
                head => {
                    let Some(byte) = self.next_byte()? else {
                        return Ok(0);
                    };
                    self.repeat = Some((byte, usize::from(head.unsigned_abs()) + 1));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pack_bits_of_the_specification() {
        let packed = [
            0xfe, 0xaa, 0x02, 0x80, 0x00, 0x2a, 0xfd, 0xaa, 0x03, 0x80, 0x00, 0x2a, 0x22, 0xf7,
            0xaa,
        ];
        let mut out = Vec::new();
        PackBits::new(packed.to_vec())
            .read_to_end(&mut out)
            .unwrap();
        assert_eq!(out.len(), 24);
        assert_eq!(out[..4], [0xaa, 0xaa, 0xaa, 0x80]);
        assert_eq!(
            out[13..],
            [
                0x22, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic_or_never_end(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300), which in 0usize..5,
        ) {
            let compression = [1, 5, 8, 32_773, 50_000][which];
            if let Ok(reader) = reader(compression, bytes) {
                let mut out = Vec::new();
                let _ = reader.take(1 << 20).read_to_end(&mut out);
            }
        }
    }
}
