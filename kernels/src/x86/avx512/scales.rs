//! The scales of 16 columns, block by block.

use std::arch::x86_64::*;

use half::f16;

use super::{LANES, load_columns, transpose_words};
use crate::column_ptrs::ColumnPtrs;
use crate::layout::Scales;

/// Blocks whose scales are read together.
pub(super) const BLOCKS: usize = 8;

/// The scales of 16 columns where they lie.
pub(super) enum ColumnScales {
    F32(ColumnPtrs<f32, LANES>),
    F16(ColumnPtrs<f16, LANES>),
}

impl ColumnScales {
    pub(super) fn new(scales: Scales<'_>, n: usize, column: usize) -> Self {
        match scales {
            Scales::F32(scales) => Self::F32(ColumnPtrs::new(scales, n, column)),
            Scales::F16(scales) => Self::F16(ColumnPtrs::new(scales, n, column)),
        }
    }

    /// One vector for each of `count` blocks, at most [`BLOCKS`]; the others are
    /// zero.
    ///
    /// # Safety
    /// The blocks must be inside the columns.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    pub(super) unsafe fn read(&self, block: usize, count: usize) -> [__m512; BLOCKS] {
        let mask = ((1_u32 << count) - 1) as __mmask8;
        match self {
            Self::F32(columns) => {
                // SAFETY: the masks leave the scales of `count` blocks.
                let (low, high) = unsafe {
                    (
                        four_singles(columns, block, mask & 15),
                        four_singles(columns, block + 4, mask >> 4),
                    )
                };
                [
                    low[0], low[1], low[2], low[3], high[0], high[1], high[2], high[3],
                ]
            }
            // SAFETY: the mask leaves the scales of `count` blocks.
            Self::F16(columns) => unsafe { eight_halves(columns, block, mask) },
        }
    }
}

/// The scales of the four blocks from `block` that the mask names.
///
/// # Safety
/// These must be inside the columns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn four_singles(
    columns: &ColumnPtrs<f32, LANES>,
    block: usize,
    mask: __mmask8,
) -> [__m512; 4] {
    // SAFETY: what the mask leaves out is not read.
    let load = |lane: usize| unsafe {
        _mm_maskz_loadu_epi32(mask, columns.first[lane].wrapping_add(block).cast())
    };
    transpose_words(load).map(|words| _mm512_castsi512_ps(words))
}

/// The scales of the eight blocks from `block` that the mask names.
///
/// # Safety
/// These must be inside the columns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn eight_halves(
    columns: &ColumnPtrs<f16, LANES>,
    block: usize,
    mask: __mmask8,
) -> [__m512; BLOCKS] {
    // SAFETY: what the mask leaves out is not read.
    let load = |lane: usize| unsafe {
        _mm_maskz_loadu_epi16(mask, columns.first[lane].wrapping_add(block).cast())
    };
    let [a, b, c, d] = load_columns(load);
    let (ab_low, ab_high) = (_mm512_unpacklo_epi16(a, b), _mm512_unpackhi_epi16(a, b));
    let (cd_low, cd_high) = (_mm512_unpacklo_epi16(c, d), _mm512_unpackhi_epi16(c, d));
    // Each quarter of these holds one block of four columns, then the next block.
    let pairs = [
        _mm512_unpacklo_epi32(ab_low, cd_low),
        _mm512_unpackhi_epi32(ab_low, cd_low),
        _mm512_unpacklo_epi32(ab_high, cd_high),
        _mm512_unpackhi_epi32(ab_high, cd_high),
    ];
    let order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    let mut scales = [_mm512_setzero_ps(); BLOCKS];
    for (pair, scales) in pairs.into_iter().zip(scales.chunks_exact_mut(2)) {
        let pair = _mm512_permutexvar_epi64(order, pair);
        scales[0] = _mm512_cvtph_ps(_mm512_castsi512_si256(pair));
        scales[1] = _mm512_cvtph_ps(_mm512_extracti64x4_epi64::<1>(pair));
    }
    scales
}
