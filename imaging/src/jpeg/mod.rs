//! JPEG as libjpeg-turbo decodes it, bit for bit: the accurate integer transform,
//! triangular upsampling of colour, fixed-point colour conversion. Other decoders
//! differ by up to four levels, and training saw these.
//!
//! Baseline and progressive Huffman files of 8 bits with one to four components;
//! everything else is refused by name. Damage is an error where libjpeg would warn
//! and go on.

mod bytes;
mod colour;
mod entropy;
mod frame;
mod idct;
mod scan;

use crate::error::ImageFault;
use bytes::{damaged, u16_at};
pub(crate) use colour::{ColourModel, Decoded};
use frame::Frame;

/// Width and height that a file's header states.
pub(crate) fn size(bytes: &[u8]) -> Result<(u32, u32), ImageFault> {
    let mut at = 2;
    loop {
        let marker = next_marker(bytes, &mut at).ok_or_else(|| damaged("no picture inside"))?;
        match marker {
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                let body = segment(bytes, &mut at)?;
                return Ok((u16_at(body, 3)? as u32, u16_at(body, 1)? as u32));
            }
            0x01 | 0xd0..=0xd8 => {}
            0xd9 | 0xda => return Err(damaged("no picture inside")),
            _ => {
                segment(bytes, &mut at)?;
            }
        }
    }
}

/// Decodes a whole file of the size that the caller has checked.
pub(crate) fn decode(bytes: &[u8], size: (u32, u32)) -> Result<Decoded, ImageFault> {
    decode_with(None, bytes, size, ColourModel::Stated)
}

/// Decodes a stream whose tables may stand in a stream of their own, and whose colour
/// model may be stated outside it: JPEG inside TIFF.
pub(crate) fn decode_with(
    tables_only: Option<&[u8]>,
    bytes: &[u8],
    size: (u32, u32),
    model: ColourModel,
) -> Result<Decoded, ImageFault> {
    let mut frame: Option<Frame> = None;
    let mut tables = entropy::Tables::default();
    let mut colours = colour::Hints::new(model);
    if let Some(bytes) = tables_only {
        read_tables(bytes, &mut tables)?;
    }
    let mut at = 2;
    loop {
        let marker = next_marker(bytes, &mut at)
            .ok_or_else(|| damaged("it breaks off before the end of the image"))?;
        if marker == 0xd9 {
            break;
        }
        // Restart markers and TEM stand alone.
        if matches!(marker, 0x01 | 0xd0..=0xd7) {
            continue;
        }
        let body = segment(bytes, &mut at)?;
        match marker {
            0xc0..=0xc2 => {
                if frame.is_some() {
                    return Err(damaged("two frames in one file"));
                }
                let parsed = Frame::parse(body, marker == 0xc2)?;
                if (parsed.width as u32, parsed.height as u32) != size {
                    return Err(damaged("its headers contradict each other"));
                }
                frame = Some(parsed);
            }
            0xc4 => tables.define_huffman(body)?,
            0xc3 | 0xc5..=0xcf => {
                let problem = "an unusual JPEG process (lossless, hierarchical or arithmetic)";
                return Err(ImageFault::UnsupportedColour(problem.to_owned()));
            }
            0xdb => tables.define_quantisation(body)?,
            0xdd => tables.restart_interval = u16_at(body, 0)?,
            0xda => {
                let frame = frame
                    .as_mut()
                    .ok_or_else(|| damaged("a scan without a frame"))?;
                at += scan::read(frame, &tables, body, &bytes[at..])?;
            }
            0xe0 => colours.jfif |= body.starts_with(b"JFIF\0"),
            0xee if body.starts_with(b"Adobe") => colours.adobe = body.get(11).copied(),
            _ => {}
        }
    }
    let mut frame = frame.ok_or_else(|| damaged("no picture inside"))?;
    frame.transform()?;
    colour::rows(&frame, &colours)
}

/// Reads the tables of a stream that holds nothing else.
fn read_tables(bytes: &[u8], tables: &mut entropy::Tables) -> Result<(), ImageFault> {
    let mut at = 2;
    while let Some(marker) = next_marker(bytes, &mut at) {
        match marker {
            0xd9 | 0xda => break,
            0x01 | 0xd0..=0xd8 => continue,
            _ => {}
        }
        let body = segment(bytes, &mut at)?;
        match marker {
            0xc4 => tables.define_huffman(body)?,
            0xdb => tables.define_quantisation(body)?,
            0xdd => tables.restart_interval = u16_at(body, 0)?,
            _ => {}
        }
    }
    Ok(())
}

/// The body of a marker segment.
fn segment<'a>(bytes: &'a [u8], at: &mut usize) -> Result<&'a [u8], ImageFault> {
    let length = u16_at(bytes, *at)?;
    let body = bytes
        .get(*at + 2..*at + length)
        .ok_or_else(|| damaged("a header is longer than the file"))?;
    *at += length;
    Ok(body)
}

/// The next marker code; skips whatever lies before it.
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
