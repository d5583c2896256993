//! Symmetric block quantisation with the scale of least squared error.
//!
//! A block is 32 neighbours along a row with one f16 scale; a code `c` stands for
//! `(c - zero) * scale`, `zero` being 8 or 128 as `MatMulNBits` has it. The plain
//! choice, largest magnitude over largest code, is one of several candidates; each
//! is refined once to the least-squares scale of its own codes, and the one with
//! the least error wins. All arithmetic is f32 in a fixed order without fused
//! operations, so the same weights give the same bytes on every processor.

use half::f16;

/// Weights per scale.
pub const BLOCK: usize = 32;
/// Partial sums that are kept apart: a fixed order that still vectorises.
const LANES: usize = 8;
/// Every column matters alike.
const EQUAL: [f32; BLOCK] = [1.0; BLOCK];
/// Adding and subtracting 1.5 * 2^23 rounds an f32 to the nearest integer, ties to even.
const ROUND: f32 = 12_582_912.0;

/// Width of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bits {
    /// Codes 0..16 around 8.
    Four,
    /// Codes 0..256 around 128.
    Eight,
}

impl Bits {
    /// The number of bits.
    pub const fn count(self) -> usize {
        match self {
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    /// Bytes of a block's codes.
    pub const fn blob(self) -> usize {
        BLOCK * self.count() / 8
    }

    /// The code of zero, which is also minus the least value.
    const fn zero(self) -> f32 {
        match self {
            Self::Four => 8.0,
            Self::Eight => 128.0,
        }
    }

    /// Steps from zero that the block's largest magnitude is tried at. A negative
    /// one puts it on the side that has one step more.
    const fn candidates(self) -> &'static [f32] {
        match self {
            Self::Four => &[-8.0, -7.2, -9.0, 7.2],
            Self::Eight => &[-128.0, 127.0],
        }
    }
}

/// How a block's scale is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// Largest magnitude over largest code.
    Plain,
    /// Least squared error.
    Best,
}

/// Quantises whole blocks, appending packed codes and scales. `importance`, one
/// number per column, weighs the squared errors; it repeats from row to row.
pub fn quantise(
    values: &[f32],
    importance: Option<&[f32]>,
    bits: Bits,
    search: Search,
    codes: &mut Vec<u8>,
    scales: &mut Vec<u8>,
) {
    let (blocks, rest) = values.as_chunks::<BLOCK>();
    assert!(rest.is_empty(), "whole blocks");
    let weights = importance.map(|columns| columns.as_chunks::<BLOCK>().0);
    for (i, block) in blocks.iter().enumerate() {
        let weights = weights.map_or(&EQUAL, |weights| &weights[i % weights.len()]);
        let scale = scale_of(block, weights, bits, search);
        scales.extend(scale.to_le_bytes());
        let units = units_of(block, scale.to_f32(), bits);
        match bits {
            Bits::Eight => codes.extend(units.map(|unit| (unit + 128.0) as u8)),
            Bits::Four => codes.extend((0..BLOCK / 2).map(|i| {
                let (low, high) = ((units[2 * i] + 8.0) as u8, (units[2 * i + 1] + 8.0) as u8);
                low | high << 4
            })),
        }
    }
}

/// What the codes of [`quantise`] stand for.
pub fn dequantise(codes: &[u8], scales: &[u8], bits: Bits, out: &mut Vec<f32>) {
    for (blob, scale) in codes
        .chunks_exact(bits.blob())
        .zip(scales.as_chunks::<2>().0)
    {
        let scale = f16::from_le_bytes(*scale).to_f32();
        match bits {
            Bits::Eight => out.extend(blob.iter().map(|&code| (f32::from(code) - 128.0) * scale)),
            Bits::Four => out.extend(
                blob.iter()
                    .flat_map(|&pair| [pair & 15, pair >> 4])
                    .map(|code| (f32::from(code) - 8.0) * scale),
            ),
        }
    }
}

fn scale_of(block: &[f32; BLOCK], weights: &[f32; BLOCK], bits: Bits, search: Search) -> f16 {
    let mut peak = 0.0f32;
    for &value in block {
        if value.abs() > peak.abs() {
            peak = value;
        }
    }
    if peak == 0.0 {
        return f16::ZERO;
    }
    let plain = f16::from_f32((peak.abs() / (bits.zero() - 1.0)).min(f16::MAX.to_f32()));
    if search == Search::Plain {
        return plain;
    }
    let mut best = (f16::ZERO, f32::INFINITY);
    let mut consider = |scale: f32| {
        let half = f16::from_f32(scale);
        let scale = half.to_f32();
        if scale == 0.0 || !scale.is_finite() {
            return 0.0;
        }
        let fit = fit_of(block, weights, scale, bits);
        if fit.error < best.1 {
            best = (half, fit.error);
        }
        if fit.norm > 0.0 {
            fit.product / fit.norm
        } else {
            0.0
        }
    };
    for &steps in bits.candidates() {
        let refined = consider(peak / steps);
        consider(refined);
    }
    if best.1.is_infinite() { plain } else { best.0 }
}

struct Fit {
    error: f32,
    product: f32,
    norm: f32,
}

/// Squared error of a scale, and the sums whose quotient is the least-squares
/// scale for the same codes.
fn fit_of(block: &[f32; BLOCK], weights: &[f32; BLOCK], scale: f32, bits: Bits) -> Fit {
    let inverse = 1.0 / scale;
    let (least, most) = (-bits.zero(), bits.zero() - 1.0);
    let mut error = [0.0f32; LANES];
    let mut product = [0.0f32; LANES];
    let mut norm = [0.0f32; LANES];
    let weights = weights.as_chunks::<LANES>().0;
    for (lanes, weights) in block.as_chunks::<LANES>().0.iter().zip(weights) {
        for i in 0..LANES {
            let unit = (lanes[i] * inverse + ROUND) - ROUND;
            // Plain comparisons: `max` and `min` would also look for NaN, at twice the cost.
            let unit = if unit < least { least } else { unit };
            let unit = if unit > most { most } else { unit };
            let off = lanes[i] - unit * scale;
            let weighed = weights[i] * unit;
            error[i] += weights[i] * off * off;
            product[i] += weighed * lanes[i];
            norm[i] += weighed * unit;
        }
    }
    Fit {
        error: total(error),
        product: total(product),
        norm: total(norm),
    }
}

fn units_of(block: &[f32; BLOCK], scale: f32, bits: Bits) -> [f32; BLOCK] {
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    block.map(|value| {
        ((value * inverse + ROUND) - ROUND)
            .max(-bits.zero())
            .min(bits.zero() - 1.0)
    })
}

fn total(lanes: [f32; LANES]) -> f32 {
    ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5]))
        + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(count: usize) -> Vec<f32> {
        let mut random = crate::random::Random::new(7);
        (0..count).map(|_| random.normal()).collect()
    }

    fn error(values: &[f32], bits: Bits, search: Search) -> f64 {
        let (mut codes, mut scales, mut back) = (Vec::new(), Vec::new(), Vec::new());
        quantise(values, None, bits, search, &mut codes, &mut scales);
        assert_eq!(codes.len(), values.len() / BLOCK * bits.blob());
        dequantise(&codes, &scales, bits, &mut back);
        let off: f64 = values
            .iter()
            .zip(&back)
            .map(|(a, b)| f64::from(a - b).powi(2))
            .sum();
        let norm: f64 = values.iter().map(|a| f64::from(*a).powi(2)).sum();
        (off / norm).sqrt()
    }

    #[test]
    fn the_search_beats_the_plain_choice() {
        let values = noise(32 * 4096);
        let (plain, best) = (
            error(&values, Bits::Four, Search::Plain),
            error(&values, Bits::Four, Search::Best),
        );
        assert!(best < plain * 0.92, "{best} against {plain}");
        let (plain, best) = (
            error(&values, Bits::Eight, Search::Plain),
            error(&values, Bits::Eight, Search::Best),
        );
        assert!(best <= plain && best < 0.006, "{best} against {plain}");
    }

    #[test]
    fn exact_multiples_come_back_exactly() {
        let values: Vec<f32> = (0..32).map(|i| (i % 16 - 8) as f32 * 0.25).collect();
        assert_eq!(error(&values, Bits::Four, Search::Best), 0.0);
    }

    #[test]
    fn zeros_and_tiny_and_huge_values_stay_finite() {
        for magnitude in [0.0, 1e-30, 1e-7, 6e4, 3e6] {
            let values: Vec<f32> = noise(64).into_iter().map(|v| v * magnitude).collect();
            for bits in [Bits::Four, Bits::Eight] {
                let (mut codes, mut scales, mut back) = (Vec::new(), Vec::new(), Vec::new());
                quantise(&values, None, bits, Search::Best, &mut codes, &mut scales);
                dequantise(&codes, &scales, bits, &mut back);
                assert!(back.iter().all(|value| !value.is_nan()));
            }
        }
    }
}
