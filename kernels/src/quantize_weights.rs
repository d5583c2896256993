//! Weights to and from the stored layout: plain reference versions.
//!
//! [`quantize_mse`](crate::quantize_mse) searches for better scales than
//! [`quantize`] does; what it writes is read back by [`dequantize`] all the same.

use crate::error::ShapeError;
use crate::layout::{BLOCK, Bits, QuantizedMatrix, Scales, check_length, whole_blocks};

/// An owned matrix of quantised weights with single-precision scales.
#[derive(Clone, Debug)]
pub struct OwnedMatrix {
    bits: Bits,
    n: usize,
    k: usize,
    quants: Vec<u8>,
    scales: Vec<f32>,
}

impl OwnedMatrix {
    /// The matrix as the kernels take it.
    #[must_use]
    pub fn view(&self) -> QuantizedMatrix<'_> {
        QuantizedMatrix::new(
            self.bits,
            self.n,
            self.k,
            &self.quants,
            Scales::F32(&self.scales),
        )
        .expect("the lengths follow from the shape")
    }

    /// The stored weights.
    #[must_use]
    pub fn quants(&self) -> &[u8] {
        &self.quants
    }

    /// The scales.
    #[must_use]
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }
}

/// Quantises `n` rows of `k` weights to the nearest value, block by block.
///
/// The value of largest magnitude in a block is hit exactly: it becomes the
/// most negative code, as that side reaches one step further.
pub fn quantize(
    bits: Bits,
    n: usize,
    k: usize,
    weights: &[f32],
) -> Result<OwnedMatrix, ShapeError> {
    if n == 0 {
        return Err(ShapeError::Zero { what: "n" });
    }
    let blocks = n
        .checked_mul(whole_blocks(k)?)
        .ok_or(ShapeError::Overflow)?;
    check_length(
        "weights",
        n.checked_mul(k).ok_or(ShapeError::Overflow)?,
        weights.len(),
    )?;
    let mut quants = Vec::with_capacity(blocks * bits.block_bytes());
    let mut scales = Vec::with_capacity(blocks);
    for block in weights.chunks_exact(BLOCK) {
        let scale = quantize_block(bits, block, &mut quants);
        scales.push(scale);
    }
    Ok(OwnedMatrix {
        bits,
        n,
        k,
        quants,
        scales,
    })
}

fn quantize_block(bits: Bits, block: &[f32], quants: &mut Vec<u8>) -> f32 {
    let largest = block.iter().copied().fold(
        0.0_f32,
        |best, w| if w.abs() > best.abs() { w } else { best },
    );
    let zero = bits.zero_point();
    let scale = -largest / zero as f32;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let code = |w: &f32| {
        let value = (w * inverse).round_ties_even() + zero as f32;
        value.clamp(0.0, (2 * zero - 1) as f32) as u8
    };
    match bits {
        Bits::Four => quants.extend(
            block
                .chunks_exact(2)
                .map(|pair| code(&pair[0]) | code(&pair[1]) << 4),
        ),
        Bits::Eight => quants.extend(block.iter().map(code)),
    }
    scale
}

/// The weights that a quantised matrix stands for, `n` rows of `k`.
#[must_use]
pub fn dequantize(matrix: &QuantizedMatrix<'_>) -> Vec<f32> {
    let blocks = matrix.blocks();
    let mut weights = Vec::with_capacity(matrix.n() * matrix.k());
    for row in 0..matrix.n() {
        for block in 0..blocks {
            let scale = matrix.scales().get(row * blocks + block);
            weights.extend(
                matrix
                    .block(row, block)
                    .iter()
                    .map(|value| f32::from(*value) * scale),
            );
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_weight_is_within_half_a_step() {
        let weights: Vec<f32> = (0..320)
            .map(|i| ((i * 37 % 101) as f32 - 50.0) / 7.0)
            .collect();
        for bits in [Bits::Four, Bits::Eight] {
            let matrix = quantize(bits, 5, 64, &weights).unwrap();
            let back = dequantize(&matrix.view());
            for (i, (a, b)) in weights.iter().zip(&back).enumerate() {
                let step = matrix.scales()[i / BLOCK].abs();
                // The far end of the side without the extra code is one step off.
                assert!(
                    (a - b).abs() <= step * 1.001,
                    "{bits:?} {i}: {a} {b} step {step}"
                );
            }
        }
    }

    #[test]
    fn a_block_of_zeros_stays_zero() {
        let matrix = quantize(Bits::Four, 1, 32, &[0.0; 32]).unwrap();
        assert_eq!(dequantize(&matrix.view()), [0.0; 32]);
    }
}
