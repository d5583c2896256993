//! Quantising activations with AVX2.

use std::arch::x86_64::*;

use crate::activations::{QuantizedRow, scale_and_inverse};
use crate::layout::{BLOCK, Bits};

/// As [`crate::quantize_activations::portable`] for weights of 4 or 8 bits, with the same bits.
#[target_feature(enable = "avx2")]
pub(crate) fn row<const FOUR: bool>(x: &[f32], row: QuantizedRow<'_>) {
    let bits = if FOUR { Bits::Four } else { Bits::Eight };
    let (blocks, _) = x.as_chunks::<BLOCK>();
    let (quantized, _) = row.values.as_chunks_mut::<BLOCK>();
    let numbers = row.scales.iter_mut().zip(row.compensation);
    for ((x, quantized), (scale, compensation)) in blocks.iter().zip(quantized).zip(numbers) {
        // SAFETY: a block is four times eight values.
        let x: [__m256; 4] =
            std::array::from_fn(|i| unsafe { _mm256_loadu_ps(x.as_ptr().add(8 * i)) });
        let inverse;
        (*scale, inverse) = scale_and_inverse(max_abs_bits(x));
        let values = rounded(x, inverse);
        *compensation = -bits.zero_point() * sum(values);
        let values = if FOUR {
            deinterleave_pairs(values)
        } else {
            values
        };
        // SAFETY: 32 bytes.
        unsafe { _mm256_storeu_si256(quantized.as_mut_ptr().cast(), values) };
    }
}

/// The bits of the largest magnitude; those of a NaN are larger than all.
#[inline]
#[target_feature(enable = "avx2")]
fn max_abs_bits(x: [__m256; 4]) -> i32 {
    let mask = _mm256_set1_epi32(0x7fff_ffff);
    let [a, b, c, d] = x.map(|x| _mm256_and_si256(_mm256_castps_si256(x), mask));
    let eight = _mm256_max_epi32(_mm256_max_epi32(a, b), _mm256_max_epi32(c, d));
    let four = _mm_max_epi32(
        _mm256_castsi256_si128(eight),
        _mm256_extracti128_si256::<1>(eight),
    );
    let two = _mm_max_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
    let one = _mm_max_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two));
    _mm_cvtsi128_si32(one)
}

/// The values times `inverse`, rounded to nearest, ties to even; zeros if it
/// is zero.
#[inline]
#[target_feature(enable = "avx2")]
fn rounded(x: [__m256; 4], inverse: f32) -> __m256i {
    let mask = _mm256_set1_epi32(if inverse == 0.0 { 0 } else { -1 });
    let inverse = _mm256_set1_ps(inverse);
    let [a, b, c, d] =
        x.map(|x| _mm256_and_si256(_mm256_cvtps_epi32(_mm256_mul_ps(x, inverse)), mask));
    let bytes = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    // Packing works on halves: words a0 b0 c0 d0 a1 b1 c1 d1 of four bytes.
    _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
}

#[inline]
#[target_feature(enable = "avx2")]
fn sum(values: __m256i) -> i32 {
    let two = _mm256_maddubs_epi16(_mm256_set1_epi8(1), values);
    let eight = _mm256_madd_epi16(two, _mm256_set1_epi16(1));
    let four = _mm_add_epi32(
        _mm256_castsi256_si128(eight),
        _mm256_extracti128_si256::<1>(eight),
    );
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
    let one = _mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two));
    _mm_cvtsi128_si32(one)
}

/// The even values, then the odd ones.
#[inline]
#[target_feature(enable = "avx2")]
fn deinterleave_pairs(values: __m256i) -> __m256i {
    let in_half = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15,
    ));
    _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_shuffle_epi8(values, in_half))
}
