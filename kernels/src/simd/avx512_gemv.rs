//! The matrix-vector product of AVX-512, in place of the generic one in
//! `gemm/gemv.rs`.
//!
//! The weights are used in the order in which they lie: a vector holds four blocks
//! of one column (two of 8 bits), and quarter `i` of the sums belongs to block `i`.
//! Only these sums, a sixteenth of the weights in number, are transposed such that a
//! vector holds 16 columns of one block.

use std::arch::x86_64::*;
use std::ops::Range;

use super::avx512::{GEMV_MAX_ROWS, LANES, SCALE_BATCH, read_scales};
use super::microkernel::{ColumnPtrs, ColumnScales};
use super::prefetch::prefetch;
use crate::activations::RowsView;
use crate::layout::{BLOCK, Bits, QuantizedMatrix};

/// Blocks whose sums are transposed together.
const QUAD: usize = 4;
/// Lines of 64 bytes of each column that are fetched ahead: enough to keep memory
/// busy, few enough to stay in the first-level cache.
const PREFETCH_LINES: usize = 6;

/// # Safety
/// As `gemm::gemv`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(crate) unsafe fn gemv(
    rows: &RowsView<'_>,
    rows_range: Range<usize>,
    matrix: &QuantizedMatrix<'_>,
    column: usize,
    sums: &mut [f32],
    width: usize,
) {
    const { assert!(GEMV_MAX_ROWS == 4) };
    let row = rows_range.start;
    // SAFETY: the caller's promises are passed on.
    unsafe {
        match (matrix.bits(), rows_range.len()) {
            (Bits::Four, 1) => gemv_rows::<true, 1>(rows, row, matrix, column, sums, width),
            (Bits::Four, 2) => gemv_rows::<true, 2>(rows, row, matrix, column, sums, width),
            (Bits::Four, 3) => gemv_rows::<true, 3>(rows, row, matrix, column, sums, width),
            (Bits::Four, _) => gemv_rows::<true, 4>(rows, row, matrix, column, sums, width),
            (Bits::Eight, 1) => gemv_rows::<false, 1>(rows, row, matrix, column, sums, width),
            (Bits::Eight, 2) => gemv_rows::<false, 2>(rows, row, matrix, column, sums, width),
            (Bits::Eight, 3) => gemv_rows::<false, 3>(rows, row, matrix, column, sums, width),
            (Bits::Eight, _) => gemv_rows::<false, 4>(rows, row, matrix, column, sums, width),
        }
    }
}

/// # Safety
/// As `gemm::gemv`, for exactly `R` rows from `row`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn gemv_rows<const FOUR: bool, const R: usize>(
    rows: &RowsView<'_>,
    row: usize,
    matrix: &QuantizedMatrix<'_>,
    column: usize,
    sums: &mut [f32],
    width: usize,
) {
    let blocks = rows.blocks;
    let columns = ColumnPtrs::new(matrix.quants(), matrix.n(), column, LANES);
    let scales = ColumnScales::new(matrix.scales(), matrix.n(), column, LANES);
    let mut totals = [_mm512_setzero_ps(); R];
    for start in (0..blocks).step_by(SCALE_BATCH) {
        let count = (blocks - start).min(SCALE_BATCH);
        // SAFETY: these blocks are inside the columns.
        let scales = unsafe { read_scales(&scales, start, count) };
        for (quad, scales) in scales.chunks_exact(QUAD).enumerate() {
            let block = start + quad * QUAD;
            if block >= blocks {
                break;
            }
            let count = (blocks - block).min(QUAD);
            // SAFETY: rows, columns and blocks are inside by the caller's promise.
            unsafe {
                let place = (row, block, count);
                let dots = if count == QUAD {
                    dots::<FOUR, true, R>(rows, matrix, &columns, place)
                } else {
                    dots::<FOUR, false, R>(rows, matrix, &columns, place)
                };
                for (r, (total, dots)) in totals.iter_mut().zip(dots).enumerate() {
                    for (i, (dot, scale)) in dots.iter().zip(scales).take(count).enumerate() {
                        let of_block = (row + r) * blocks + block + i;
                        let start = _mm512_set1_epi32(*rows.compensation.get_unchecked(of_block));
                        let dot = _mm512_cvtepi32_ps(_mm512_add_epi32(*dot, start));
                        let x_scale = _mm512_set1_ps(*rows.scales.get_unchecked(of_block));
                        *total = _mm512_fmadd_ps(dot, _mm512_mul_ps(x_scale, *scale), *total);
                    }
                }
            }
        }
    }
    for (r, total) in totals.into_iter().enumerate() {
        let sums = &mut sums[r * width..][..LANES];
        // SAFETY: 16 values of four bytes.
        unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), total) };
    }
}

/// For `R` rows and `count` blocks, which are all four if `WHOLE`, the dot products
/// with 16 columns, without the correction.
///
/// # Safety
/// The rows and blocks must be inside the rows and the columns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn dots<const FOUR: bool, const WHOLE: bool, const R: usize>(
    rows: &RowsView<'_>,
    matrix: &QuantizedMatrix<'_>,
    columns: &ColumnPtrs<u8>,
    (row, block, count): (usize, usize, usize),
) -> [[__m512i; QUAD]; R] {
    let x: [[__m512i; 2]; R] = std::array::from_fn(|r| {
        // SAFETY: what the masks leave out is not read.
        let [a, b] = unsafe {
            let at = (row + r) * rows.stride + block * BLOCK;
            vectors::<WHOLE>(rows.quants.as_ptr().add(at).cast(), count * BLOCK)
        };
        if FOUR {
            [unzip_even(a, b), unzip_odd(a, b)]
        } else {
            [a, b]
        }
    });
    let bytes = count * matrix.bits().block_bytes();
    let at = block * matrix.bits().block_bytes();
    let ahead = prefetch_offset(matrix, at);
    let mut sums = [[_mm512_setzero_si512(); QUAD]; R];
    for group in 0..LANES / QUAD {
        let mut of_column = [[_mm512_setzero_si512(); QUAD]; R];
        for i in 0..QUAD {
            let first = columns.first[group * QUAD + i];
            prefetch::<true>(first.wrapping_add(ahead), 1);
            if !FOUR {
                prefetch::<true>(first.wrapping_add(ahead + 64), 1);
            }
            // SAFETY: what the masks leave out is not read.
            let [a, b] = unsafe { vectors::<WHOLE>(first.add(at), bytes) };
            let weights = if FOUR { nibbles(a) } else { [a, b] };
            for (of_column, x) in of_column.iter_mut().zip(&x) {
                let zero = _mm512_setzero_si512();
                of_column[i] = if FOUR {
                    let low = _mm512_dpbusd_epi32(zero, weights[0], x[0]);
                    _mm512_dpbusd_epi32(low, weights[1], x[1])
                } else {
                    let low = _mm512_dpbusd_epi32(zero, weights[0], x[0]);
                    let high = _mm512_dpbusd_epi32(zero, weights[1], x[1]);
                    _mm512_add_epi32(unzip_even(low, high), unzip_odd(low, high))
                };
            }
        }
        for (sums, of_column) in sums.iter_mut().zip(of_column) {
            sums[group] = hadd4(of_column);
        }
    }
    sums.map(|sums| transpose_quarters(sums))
}

/// How far from a column's first byte the line lies that should be fetched when the
/// bytes `at` are used. Beyond the end of a column the next group of columns begins.
#[inline]
fn prefetch_offset(matrix: &QuantizedMatrix<'_>, at: usize) -> usize {
    let column = matrix.blocks() * matrix.bits().block_bytes();
    let ahead = at + PREFETCH_LINES * 64;
    if ahead < column {
        ahead
    } else {
        LANES * column + (ahead - column)
    }
}

/// Up to 128 bytes as two vectors, the rest zero; 128, or 64 where the second vector
/// is not used, if `WHOLE`.
///
/// # Safety
/// That many bytes must be readable.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn vectors<const WHOLE: bool>(from: *const u8, bytes: usize) -> [__m512i; 2] {
    if WHOLE {
        // SAFETY: the caller's promise; the optimiser drops what is not used.
        return unsafe {
            let low = _mm512_loadu_si512(from.cast());
            let high = if bytes > 64 {
                _mm512_loadu_si512(from.add(64).cast())
            } else {
                low
            };
            [low, high]
        };
    }
    let mask = |bytes: usize| u64::MAX.checked_shr(64 - bytes as u32).unwrap_or(0);
    // SAFETY: what the masks leave out is not read.
    unsafe {
        let low = mask(bytes.min(64));
        let high = mask(bytes.saturating_sub(64));
        [
            _mm512_maskz_loadu_epi8(low, from.cast()),
            _mm512_maskz_loadu_epi8(high, from.wrapping_add(64).cast()),
        ]
    }
}

/// The low halves of all bytes, and the high ones.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn nibbles(bytes: __m512i) -> [__m512i; 2] {
    let mask = _mm512_set1_epi8(0x0f);
    [
        _mm512_and_si512(bytes, mask),
        _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), mask),
    ]
}

/// Quarters 0 and 2 of both.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn unzip_even(a: __m512i, b: __m512i) -> __m512i {
    _mm512_shuffle_i32x4::<0b10_00_10_00>(a, b)
}

/// Quarters 1 and 3 of both.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn unzip_odd(a: __m512i, b: __m512i) -> __m512i {
    _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b)
}

/// In each quarter the sums of four columns, from the four parts of each column.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn hadd4([a, b, c, d]: [__m512i; QUAD]) -> __m512i {
    let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd))
}

/// Quarter `i` of every vector, as vector `i`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn transpose_quarters([a, b, c, d]: [__m512i; QUAD]) -> [__m512i; QUAD] {
    let (ab_even, ab_odd) = (unzip_even(a, b), unzip_odd(a, b));
    let (cd_even, cd_odd) = (unzip_even(c, d), unzip_odd(c, d));
    [
        unzip_even(ab_even, cd_even),
        unzip_even(ab_odd, cd_odd),
        unzip_odd(ab_even, cd_even),
        unzip_odd(ab_odd, cd_odd),
    ]
}
