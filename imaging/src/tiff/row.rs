//! One row of a chunk: the predictor undone, bytes in this machine's order, bits unpacked.

use crate::error::ImageFault;
use crate::tiff::layout::{Layout, unsupported};
use crate::tiff::raster::SampleKind;

/// Whether [`unpack`] can undo the layout's predictor.
pub(crate) fn check_predictor(layout: &Layout) -> Result<(), ImageFault> {
    let is_float = matches!(layout.kind, SampleKind::F32 | SampleKind::F64);
    match layout.predictor {
        1 => Ok(()),
        2 if matches!(layout.bits, 8 | 16 | 32 | 64) => Ok(()),
        3 if is_float => Ok(()),
        other => Err(unsupported(format!(
            "{}-bit numbers behind predictor {other}",
            layout.bits
        ))),
    }
}

/// Turns a row as it was decompressed into samples of this machine, `samples` of them.
pub(crate) fn unpack(layout: &Layout, is_little_endian: bool, row: &mut Vec<u8>, samples: usize) {
    let step = layout.bands_in_chunk();
    match layout.bits {
        8 => {
            if layout.predictor == 2 {
                for index in step..row.len() {
                    row[index] = row[index].wrapping_add(row[index - step]);
                }
            }
        }
        16 | 32 | 64 => {
            let size = layout.bits as usize / 8;
            if layout.predictor == 3 {
                undo_float_predictor(row, size, step);
            } else if is_little_endian != cfg!(target_endian = "little") {
                row.chunks_exact_mut(size).for_each(<[u8]>::reverse);
            }
            if layout.predictor == 2 {
                match size {
                    2 => accumulate::<2>(row, step, |a, b| {
                        u16::from_ne_bytes(a)
                            .wrapping_add(u16::from_ne_bytes(b))
                            .to_ne_bytes()
                    }),
                    4 => accumulate::<4>(row, step, |a, b| {
                        u32::from_ne_bytes(a)
                            .wrapping_add(u32::from_ne_bytes(b))
                            .to_ne_bytes()
                    }),
                    _ => accumulate::<8>(row, step, |a, b| {
                        u64::from_ne_bytes(a)
                            .wrapping_add(u64::from_ne_bytes(b))
                            .to_ne_bytes()
                    }),
                }
            }
        }
        bits => *row = unpack_bits(row, bits, samples),
    }
}

fn accumulate<const N: usize>(
    row: &mut [u8],
    step: usize,
    add: impl Fn([u8; N], [u8; N]) -> [u8; N],
) {
    let (values, _) = row.as_chunks_mut::<N>();
    for index in step..values.len() {
        values[index] = add(values[index], values[index - step]);
    }
}

/// Differences of bytes, most significant bytes of all samples first (Adobe's
/// technical note 3).
fn undo_float_predictor(row: &mut Vec<u8>, size: usize, step: usize) {
    for index in step..row.len() {
        row[index] = row[index].wrapping_add(row[index - step]);
    }
    let count = row.len() / size;
    let mut values = Vec::with_capacity(row.len());
    for index in 0..count {
        let bytes = (0..size).map(|byte| row[byte * count + index]);
        if cfg!(target_endian = "little") {
            values.extend(bytes.rev());
        } else {
            values.extend(bytes);
        }
    }
    values.resize(row.len(), 0);
    *row = values;
}

/// Samples of fewer than 8, or of 9 to 15 bits, highest bit first.
fn unpack_bits(row: &[u8], bits: u32, samples: usize) -> Vec<u8> {
    let bits = bits as usize;
    let value = |index: usize| {
        let mut value = 0u16;
        for bit in index * bits..(index + 1) * bits {
            let byte = row.get(bit / 8).copied().unwrap_or(0);
            value = value << 1 | u16::from(byte >> (7 - bit % 8) & 1);
        }
        value
    };
    if bits < 8 {
        (0..samples).map(|index| value(index) as u8).collect()
    } else {
        (0..samples)
            .flat_map(|index| value(index).to_ne_bytes())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_highest_first() {
        assert_eq!(unpack_bits(&[0b1010_0000], 1, 4), [1, 0, 1, 0]);
        assert_eq!(unpack_bits(&[0x1f], 4, 2), [1, 15]);
        let twelve: Vec<u8> = [0x123u16, 0xabc]
            .iter()
            .flat_map(|v| v.to_ne_bytes())
            .collect();
        assert_eq!(unpack_bits(&[0x12, 0x3a, 0xbc], 12, 2), twelve);
    }
}
