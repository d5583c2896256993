//! Weights to blocks with the scale of min squared error.
//!
//! For every block several scales are tried: the value of largest magnitude is
//! put a number of steps from zero, all values are rounded to that grid, and
//! the scale becomes the one of min squares for these codes. The one with the
//! min error wins, is rounded to half precision, and the codes are taken anew
//! for it.
//!
//! Sixteen blocks are searched side by side, one per lane, so nothing is
//! summed across a vector. The code is written once, in f32 without fused
//! operations and in a fixed order, and compiled for each instruction set: the
//! bits are the same everywhere.

use half::f16;

use crate::error::ShapeError;
use crate::layout::{BLOCK, Bits, check_length, whole_blocks};
use crate::simd::isa::Isa;
use crate::simd::multiversion::multiversion;

/// Blocks that are searched at once.
const LANES: usize = 16;
/// One value of each block.
type Lane = [f32; LANES];

/// Sixteen blocks, transpose so that equal places of the blocks lie together, and
/// aligned so that no lane crosses a cache line.
#[repr(align(64))]
struct Group([Lane; BLOCK]);

/// Adding and subtracting it rounds to the nearest integer, ties to even.
const ROUND_MAGIC: f32 = 12_582_912.0;
/// A block whose largest magnitude is below this has the scale zero, to which
/// half precision would round it anyway: 2^-40.
const MIN_MAGNITUDE: f32 = f32::from_bits((127 - 40) << 23);

/// Steps from zero at which the value of largest magnitude is tried; a negative
/// number puts it on the side that has one step more. What comes to lie beyond
/// the last step is cut off, which often costs less than a wider grid.
const fn trials(bits: Bits) -> &'static [f32] {
    match bits {
        Bits::Four => &[-9.6, -8.9, -8.3, -7.7, -7.1, -6.5, 7.0, 7.7],
        Bits::Eight => &[-128.4, -128.0, -127.6, -127.0, -126.4, 127.4, 127.0, 126.5],
    }
}

/// Quantises rows of `k` weights, appending codes and scales as
/// [`crate::QuantizedMatrix`] takes them.
///
/// `importance` has one number per column, by which squared errors are weight.
/// The result is the same on every instruction set. A weight that is not a
/// finite number gives its block the scale NaN.
pub fn quantize_mse(
    isa: Isa,
    bits: Bits,
    k: usize,
    weights: &[f32],
    importance: Option<&[f32]>,
    quants: &mut Vec<u8>,
    scales: &mut Vec<f16>,
) -> Result<(), ShapeError> {
    whole_blocks(k)?;
    check_length("weights", weights.len() / k * k, weights.len())?;
    if let Some(importance) = importance {
        check_length("importance", k, importance.len())?;
    }
    let task = Task {
        bits,
        blocks: weights.as_chunks().0,
        importance: importance.map(|importance| importance.as_chunks().0),
    };
    quants.reserve(task.blocks.len() * bits.block_bytes());
    scales.reserve(task.blocks.len());
    let isa = if isa.is_available() { isa } else { Isa::Scalar };
    quantize_blocks_on(isa, task, quants, scales);
    Ok(())
}

/// Blocks to quantise, and a row of importances, in blocks as well.
#[derive(Clone, Copy)]
struct Task<'a> {
    bits: Bits,
    blocks: &'a [[f32; BLOCK]],
    importance: Option<&'a [[f32; BLOCK]]>,
}

multiversion!(fn quantize_blocks_on(task: Task<'_>, quants: &mut Vec<u8>, scales: &mut Vec<f16>) = quantize_blocks);

/// What is compiled.
#[inline(always)]
fn quantize_blocks(task: Task<'_>, quants: &mut Vec<u8>, scales: &mut Vec<f16>) {
    for (number, blocks) in task.blocks.chunks(LANES).enumerate() {
        let mut group = transpose(|lane| blocks.get(lane).unwrap_or(&[0.0; BLOCK]));
        let peaks = normalize_by_peak(&mut group);
        let best = match task.importance {
            None => search(task.bits, &group, |_, value| value),
            Some(row) => {
                let weights: [&[f32; BLOCK]; LANES] =
                    std::array::from_fn(|lane| &row[(number * LANES + lane) % row.len()]);
                let weights = transpose(|lane| weights[lane]);
                search(task.bits, &group, |i, values| {
                    std::array::from_fn(|lane| weights.0[i][lane] * values[lane])
                })
            }
        };
        for ((block, peak), best) in blocks.iter().zip(peaks).zip(best) {
            let limit = f16::MAX.to_f32();
            let scale = f16::from_f32((peak * best).clamp(-limit, limit));
            scales.push(scale);
            encode(task.bits, block, scale.to_f32(), quants);
        }
    }
}

#[inline(always)]
fn transpose<'a>(block: impl Fn(usize) -> &'a [f32; BLOCK]) -> Group {
    let mut group = Group([[0.0; LANES]; BLOCK]);
    for lane in 0..LANES {
        for (values, &value) in group.0.iter_mut().zip(block(lane)) {
            values[lane] = value;
        }
    }
    group
}

/// Divides each block by its value of largest magnitude, and returns those.
#[inline(always)]
fn normalize_by_peak(group: &mut Group) -> Lane {
    let mut peaks = [0.0f32; LANES];
    for values in &group.0 {
        for lane in 0..LANES {
            let larger = values[lane].abs() > peaks[lane].abs();
            if larger || values[lane].is_nan() {
                peaks[lane] = values[lane];
            }
        }
    }
    let inverse: Lane = peaks.map(|peak| {
        if peak.abs() < MIN_MAGNITUDE {
            0.0
        } else {
            1.0 / peak
        }
    });
    for values in &mut group.0 {
        for lane in 0..LANES {
            values[lane] *= inverse[lane];
        }
    }
    peaks
}

/// The best scale of each block whose largest value is 1. With codes `q` for
/// values `x`, the scale of min squares is `xq / qq`, and it takes `xq^2 / qq`
/// off the squared error that all zeros would have; so that is what to make large.
#[inline(always)]
fn search(bits: Bits, group: &Group, weight: impl Fn(usize, Lane) -> Lane) -> Lane {
    let (min, max) = range(bits);
    let (mut best, mut gain) = ([f32::NAN; LANES], [-1.0f32; LANES]);
    for &steps in trials(bits) {
        let (mut xq, mut qq) = ([0.0f32; LANES], [0.0f32; LANES]);
        for (i, x) in group.0.iter().enumerate() {
            let mut q = [0.0; LANES];
            for lane in 0..LANES {
                let code = (x[lane] * steps + ROUND_MAGIC) - ROUND_MAGIC;
                // Pod comparisons: `max` and `min` would also look for NaN.
                let code = if code < min { min } else { code };
                q[lane] = if code > max { max } else { code };
            }
            let w = weight(i, q);
            for lane in 0..LANES {
                xq[lane] += w[lane] * x[lane];
                qq[lane] += w[lane] * q[lane];
            }
        }
        for lane in 0..LANES {
            // Codes that are all zero fit only a block of zeros, whose scale is zero.
            let scale = if qq[lane] == 0.0 {
                0.0
            } else {
                xq[lane] / qq[lane]
            };
            let better = scale * xq[lane];
            if better > gain[lane] {
                (best[lane], gain[lane]) = (scale, better);
            }
        }
    }
    best
}

/// The min and the largest code, as distances from zero.
const fn range(bits: Bits) -> (f32, f32) {
    let zero = bits.zero_point() as f32;
    (-zero, zero - 1.0)
}

/// Appends the nearest codes.
#[inline(always)]
fn encode(bits: Bits, block: &[f32; BLOCK], scale: f32, quants: &mut Vec<u8>) {
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let (min, max) = range(bits);
    let mut codes = [0u8; BLOCK];
    for (code, x) in codes.iter_mut().zip(block) {
        let near = x * inverse;
        // Cut off first, so that the sum below stays where it rounds.
        let near = if near < min { min } else { near };
        let near = if near > max { max } else { near };
        // The integer lies in the low bits of the sum.
        *code = (near + ROUND_MAGIC)
            .to_bits()
            .wrapping_add(bits.zero_point() as u32) as u8;
    }
    match bits {
        Bits::Eight => quants.extend_from_slice(&codes),
        Bits::Four => {
            let mut pairs = [0u8; BLOCK / 2];
            for (pair, codes) in pairs.iter_mut().zip(codes.as_chunks::<2>().0) {
                *pair = codes[0] & 15 | codes[1] << 4;
            }
            quants.extend_from_slice(&pairs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{QuantizedMatrix, Scales, dequantize, quantize};

    /// Sums of uniform numbers: nearly normal, the same everywhere.
    fn noise(count: usize) -> Vec<f32> {
        let mut state = 7_u64;
        let mut uniform = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..count)
            .map(|_| (0..6).map(|_| uniform()).sum())
            .collect()
    }

    struct Best {
        quants: Vec<u8>,
        scales: Vec<f16>,
    }

    fn best(isa: Isa, bits: Bits, k: usize, x: &[f32], importance: Option<&[f32]>) -> Best {
        let mut best = Best {
            quants: Vec::new(),
            scales: Vec::new(),
        };
        quantize_mse(
            isa,
            bits,
            k,
            x,
            importance,
            &mut best.quants,
            &mut best.scales,
        )
        .unwrap();
        best
    }

    fn back(bits: Bits, k: usize, found: &Best) -> Vec<f32> {
        let rows = found.scales.len() * BLOCK / k;
        let scales = Scales::F16(&found.scales);
        dequantize(&QuantizedMatrix::new(bits, rows, k, &found.quants, scales).unwrap())
    }

    /// Root of the weight squared error over that of the weights.
    fn error(weights: &[f32], back: &[f32], importance: &[f32]) -> f64 {
        let (mut off, mut norm) = (0.0, 0.0);
        for (i, (a, b)) in weights.iter().zip(back).enumerate() {
            let weight = f64::from(importance[i % importance.len()]);
            off += weight * f64::from(a - b).powi(2);
            norm += weight * f64::from(*a).powi(2);
        }
        (off / norm).sqrt()
    }

    #[test]
    fn the_search_beats_the_plain_choice() {
        let x = noise(256 * 512);
        for (bits, share) in [(Bits::Four, 0.96), (Bits::Eight, 0.97)] {
            let plain = dequantize(&quantize(bits, 256, 512, &x).unwrap().view());
            let found = back(bits, 512, &best(Isa::detect(), bits, 512, &x, None));
            let (plain, found) = (error(&x, &plain, &[1.0]), error(&x, &found, &[1.0]));
            assert!(found < share * plain, "{bits:?}: {found} against {plain}");
        }
    }

    #[test]
    fn errors_go_where_they_matter_least() {
        let x = noise(64 * 512);
        let importance: Vec<f32> = (0..512)
            .map(|i| if i % 5 == 0 { 20.0 } else { 0.1 })
            .collect();
        let isa = Isa::detect();
        let plain = back(Bits::Four, 512, &best(isa, Bits::Four, 512, &x, None));
        let found = back(
            Bits::Four,
            512,
            &best(isa, Bits::Four, 512, &x, Some(&importance)),
        );
        let (plain, found) = (
            error(&x, &plain, &importance),
            error(&x, &found, &importance),
        );
        assert!(found < 0.93 * plain, "{found} against {plain}");
    }

    #[test]
    fn all_instruction_sets_agree_bit_for_bit() {
        // Not a whole number of sixteen blocks, and rows of three.
        let x = noise(11 * 96);
        let importance: Vec<f32> = (0..96).map(|i| 0.5 + i as f32).collect();
        for bits in [Bits::Four, Bits::Eight] {
            for importance in [None, Some(&importance[..])] {
                let expected = best(Isa::Scalar, bits, 96, &x, importance);
                for isa in Isa::available() {
                    let found = best(isa, bits, 96, &x, importance);
                    assert_eq!(found.quants, expected.quants, "{isa}");
                    assert_eq!(found.scales, expected.scales, "{isa}");
                }
            }
        }
    }

    #[test]
    fn exact_multiples_come_back_exactly() {
        let x: Vec<f32> = (0..32).map(|i| (i % 16 - 8) as f32 * 0.25).collect();
        for bits in [Bits::Four, Bits::Eight] {
            let found = back(bits, 32, &best(Isa::detect(), bits, 32, &x, None));
            assert_eq!(error(&x, &found, &[1.0]), 0.0, "{bits:?}");
        }
    }

    #[test]
    fn zeros_and_tiny_and_huge_values_stay_finite() {
        for magnitude in [0.0, f32::MIN_POSITIVE, 1e-30, 1e-7, 6e4, 3e6, 1e38] {
            let x: Vec<f32> = noise(64).into_iter().map(|v| v * magnitude).collect();
            for bits in [Bits::Four, Bits::Eight] {
                let back = back(bits, 64, &best(Isa::detect(), bits, 64, &x, None));
                assert!(back.iter().all(|value| value.is_finite()), "{magnitude}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_is_never_hidden() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = noise(64);
            x[40] = bad;
            let found = best(Isa::detect(), Bits::Four, 64, &x, None);
            assert!(
                found.scales[0].is_finite() && found.scales[1].is_nan(),
                "{bad}"
            );
        }
    }

    #[test]
    fn wrong_lengths_are_refused() {
        let wrong = |k, x: &[f32], importance| {
            let (mut quants, mut scales) = (Vec::new(), Vec::new());
            quantize_mse(
                Isa::Scalar,
                Bits::Four,
                k,
                x,
                importance,
                &mut quants,
                &mut scales,
            )
            .is_err()
        };
        assert!(wrong(33, &[0.0; 33], None));
        assert!(wrong(64, &[0.0; 96], None));
        assert!(wrong(64, &[0.0; 64], Some(&[1.0; 32][..])));
    }
}
