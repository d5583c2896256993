//! Where files keep EXIF and XMP, and how large their picture is: JPEG segments, PNG
//! chunks, WebP chunks, TIFF tags. Only headers are read, never pixels.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use crate::ifd::TagFile;
use crate::orientation::Orientation;

/// Bytes of one EXIF or XMP block; real ones have some ten thousand.
const MAX_BLOCK_BYTES: u64 = 4 << 20;
/// Segments or chunks that are looked at.
const MAX_PARTS: usize = 10_000;

const EXIF_HEAD: &[u8] = b"Exif\0\0";
const XMP_HEAD: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
const EXTENDED_XMP_HEAD: &[u8] = b"http://ns.adobe.com/xmp/extension/\0";

/// What a file holds beside its pixels.
#[derive(Debug, Default, Clone)]
pub(crate) struct Metadata {
    /// A TIFF structure; for a TIFF it is the file itself and stays empty.
    pub(crate) exif: Option<Vec<u8>>,
    pub(crate) xmp: Option<String>,
    /// Width and height as stored.
    pub(crate) size: Option<(u32, u32)>,
    pub(crate) is_tiff: bool,
}

/// Reads the headers of a JPEG, PNG, WebP or TIFF; of other formats nothing is known.
/// Damage ends the search quietly: what was found before it counts.
pub(crate) fn read<R: Read + Seek>(mut reader: R) -> Metadata {
    let mut found = Metadata::default();
    let mut head = [0; 12];
    let mut length = 0;
    while let Ok(read @ 1..) = reader.read(&mut head[length..]) {
        length += read;
    }
    let _ = match &head {
        [0xff, 0xd8, ..] => read_jpeg(&mut reader, &mut found),
        [0x89, b'P', b'N', b'G', ..] => read_png(&mut reader, &mut found),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P'] => {
            read_webp(&mut reader, &mut found)
        }
        [b'I', b'I', 0x2a | 0x2b, 0, ..] | [b'M', b'M', 0, 0x2a | 0x2b, ..] => {
            found.is_tiff = true;
            read_tiff(reader, &mut found)
        }
        _ => Ok(()),
    };
    found
}

/// How a JPEG is to be turned for display.
pub(crate) fn orientation(bytes: &[u8]) -> Orientation {
    let found = read(Cursor::new(bytes));
    let read = || {
        let mut file = TagFile::new(Cursor::new(found.exif?)).ok()?;
        let directory = file.directory(file.first()).ok()?;
        file.integer(&directory, 274).ok()?
    };
    read().map_or(Orientation::UPRIGHT, Orientation::from_exif)
}

fn read_jpeg<R: Read + Seek>(reader: &mut R, found: &mut Metadata) -> io::Result<()> {
    reader.seek(SeekFrom::Start(2))?;
    let mut extended = Vec::new();
    for _ in 0..MAX_PARTS {
        let mut byte = [0];
        reader.read_exact(&mut byte)?;
        while byte[0] != 0xff {
            reader.read_exact(&mut byte)?;
        }
        while byte[0] == 0xff {
            reader.read_exact(&mut byte)?;
        }
        let marker = byte[0];
        if matches!(marker, 0x00 | 0x01 | 0xd0..=0xd8) {
            continue;
        }
        if matches!(marker, 0xd9 | 0xda) {
            break;
        }
        let mut length = [0; 2];
        reader.read_exact(&mut length)?;
        let length = i64::from(u16::from_be_bytes(length)) - 2;
        let is_frame = matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
        if !(is_frame || marker == 0xe1) {
            reader.seek(SeekFrom::Current(length.max(0)))?;
            continue;
        }
        let mut body = vec![0; length.max(0) as usize];
        reader.read_exact(&mut body)?;
        if is_frame {
            if let [_, h1, h0, w1, w0, ..] = body[..] {
                let side = |high, low| u32::from(u16::from_be_bytes([high, low]));
                found.size = Some((side(w1, w0), side(h1, h0)));
            }
        } else if let Some(exif) = body.strip_prefix(EXIF_HEAD) {
            found.exif.get_or_insert_with(|| exif.to_vec());
        } else if let Some(xmp) = body.strip_prefix(XMP_HEAD) {
            found.xmp.get_or_insert_with(|| text(xmp));
        } else if let Some(part) = body.strip_prefix(EXTENDED_XMP_HEAD)
            // A hash of 32 bytes, the whole length, the offset of this part.
            && let Some(part) = part.get(40..)
            && (extended.len() + part.len()) as u64 <= MAX_BLOCK_BYTES
        {
            extended.extend_from_slice(part);
        }
    }
    if !extended.is_empty() && found.xmp.is_none() {
        found.xmp = Some(text(&extended));
    }
    Ok(())
}

fn read_png<R: Read + Seek>(reader: &mut R, found: &mut Metadata) -> io::Result<()> {
    reader.seek(SeekFrom::Start(8))?;
    for _ in 0..MAX_PARTS {
        let mut head = [0; 8];
        reader.read_exact(&mut head)?;
        let [l3, l2, l1, l0, kind @ ..] = head;
        let length = u64::from(u32::from_be_bytes([l3, l2, l1, l0]));
        let wanted = matches!(&kind, b"IHDR" | b"eXIf" | b"iTXt") && length <= MAX_BLOCK_BYTES;
        if !wanted {
            // With the checksum behind it.
            reader.seek(SeekFrom::Current(length as i64 + 4))?;
            if &kind == b"IEND" {
                break;
            }
            continue;
        }
        let body = block(reader, length)?;
        reader.seek(SeekFrom::Current(4))?;
        match &kind {
            b"IHDR" => {
                if let [w3, w2, w1, w0, h3, h2, h1, h0, ..] = body[..] {
                    found.size = Some((
                        u32::from_be_bytes([w3, w2, w1, w0]),
                        u32::from_be_bytes([h3, h2, h1, h0]),
                    ));
                }
            }
            b"eXIf" => found.exif = Some(body),
            _ => {
                // Keyword, no compression, language and translated keyword, all ended by 0.
                if let Some(rest) = body.strip_prefix(b"XML:com.adobe.xmp\0\0\0") {
                    let mut parts = rest.splitn(3, |&b| b == 0);
                    found.xmp = parts.nth(2).map(text);
                }
            }
        }
    }
    Ok(())
}

fn read_webp<R: Read + Seek>(reader: &mut R, found: &mut Metadata) -> io::Result<()> {
    reader.seek(SeekFrom::Start(12))?;
    for _ in 0..MAX_PARTS {
        let mut head = [0; 8];
        reader.read_exact(&mut head)?;
        let [kind @ .., l0, l1, l2, l3] = head;
        let length = u64::from(u32::from_le_bytes([l0, l1, l2, l3]));
        let padded = length + (length & 1);
        if !matches!(&kind, b"EXIF" | b"XMP " | b"VP8X") || length > MAX_BLOCK_BYTES {
            reader.seek(SeekFrom::Current(padded as i64))?;
            continue;
        }
        let body = block(reader, length)?;
        reader.seek(SeekFrom::Current((padded - length) as i64))?;
        match &kind {
            b"EXIF" => {
                let exif = body.strip_prefix(EXIF_HEAD).unwrap_or(&body);
                found.exif = Some(exif.to_vec());
            }
            b"XMP " => found.xmp = Some(text(&body)),
            _ => {
                if let [_, _, _, _, w0, w1, w2, h0, h1, h2, ..] = body[..] {
                    let side = |a, b, c| u32::from_le_bytes([a, b, c, 0]) + 1;
                    found.size = Some((side(w0, w1, w2), side(h0, h1, h2)));
                }
            }
        }
    }
    Ok(())
}

fn read_tiff<R: Read + Seek>(reader: R, found: &mut Metadata) -> io::Result<()> {
    let read = || {
        let mut file = TagFile::new(reader).ok()?;
        let directory = file.directory(file.first()).ok()?;
        let side = |value: Option<u64>| value.and_then(|v| u32::try_from(v).ok());
        let width = side(file.integer(&directory, 256).ok()?);
        let height = side(file.integer(&directory, 257).ok()?);
        found.size = width.zip(height);
        found.xmp = file.bytes(&directory, 700).ok()?.map(|xmp| text(&xmp));
        Some(())
    };
    read();
    Ok(())
}

fn block<R: Read>(reader: &mut R, length: u64) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    // Grows as bytes come, so that a stated length alone takes no memory.
    if reader.take(length).read_to_end(&mut body)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(body)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(
            which in 0usize..5, tail in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400),
        ) {
            let heads: [&[u8]; 5] = [
                b"\xff\xd8\xff\xe1\0\x20Exif\0\0", b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0",
                b"II\x2a\0\x08\0\0\0", b"\xff\xd8",
            ];
            let bytes = [heads[which], &tail].concat();
            let _ = read(Cursor::new(&bytes));
            let _ = orientation(&bytes);
        }
    }
}
