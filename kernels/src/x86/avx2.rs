//! AVX2, with and without VNNI: 8 columns per vector.
//!
//! A packed block of 8 columns is eight vectors. In vector `s`, lane `j` holds
//! four consecutive values of column `j` as bytes; they are multiplied with
//! four activations that are the same in all lanes. How that is done without
//! any intermediate overflow is what the three implementations of [`Dots`]
//! differ in.

use std::arch::x86_64::*;
use std::hint::black_box;
use std::ops::Range;

use half::f16;

use super::dots::{Bytes, Dots, Nibbles, Vnni};
use crate::column_ptrs::{ColumnPtrs, prefetch};
use crate::kernel::{Kernel, MicrokernelFns, Panel};
use crate::layout::{Bits, QuantizedMatrix, Scales};
use crate::quantize_activations::RowsView;
use crate::roofline::Peak;

const LANES: usize = 8;
/// Bytes of a packed block.
const PACKED: usize = LANES * 32;
const GROUPS: usize = 2;
const TILE_ROWS: usize = 4;
const GEMV_MAX_ROWS: usize = 4;
const CHUNK: usize = 32;

/// AVX2 only.
pub(crate) static PLAIN: Kernel = Kernel::simd(
    LANES,
    GROUPS,
    TILE_ROWS,
    GEMV_MAX_ROWS,
    Peak {
        run: peak::<Nibbles>,
        products: 10 * 32,
    },
    MicrokernelFns {
        chunk: CHUNK,
        gemv: gemv::<Nibbles, Bytes>,
        pack: pack::<Nibbles, Bytes>,
        gemm: gemm::<Nibbles, Bytes>,
    },
);

/// With AVX-VNNI.
pub(crate) static VNNI: Kernel = Kernel::simd(
    LANES,
    GROUPS,
    TILE_ROWS,
    GEMV_MAX_ROWS,
    Peak {
        run: peak::<Vnni>,
        products: 10 * 32,
    },
    MicrokernelFns {
        chunk: CHUNK,
        gemv: gemv::<Vnni, Vnni>,
        pack: pack::<Vnni, Vnni>,
        gemm: gemm::<Vnni, Vnni>,
    },
);

/// The 8 by 4 matrix of 32-bit words at byte `offset` of each column, turned:
/// vector `i` holds word `i` of every column.
///
/// # Safety
/// Every column must have 16 bytes at `offset`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn load_transposed<T>(columns: &ColumnPtrs<T, LANES>, offset: usize) -> [__m256i; 4] {
    // SAFETY: the caller promises 16 readable bytes at the offset; the loads
    // ask for no alignment.
    let load =
        |lane: usize| unsafe { _mm_loadu_si128(columns.first[lane].byte_add(offset).cast()) };
    let two = |i: usize| _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(load(i)), load(i + 4));
    let (a, b, c, d) = (two(0), two(1), two(2), two(3));
    let (ab_low, ab_high) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    let (cd_low, cd_high) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
    [
        _mm256_unpacklo_epi64(ab_low, cd_low),
        _mm256_unpackhi_epi64(ab_low, cd_low),
        _mm256_unpacklo_epi64(ab_high, cd_high),
        _mm256_unpackhi_epi64(ab_high, cd_high),
    ]
}

/// One block of 8 columns as the eight vectors described above.
///
/// # Safety
/// `block` must be inside the columns.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn unpack_block<const FOUR: bool, const SIGNED: bool>(
    columns: &ColumnPtrs<u8, LANES>,
    block: usize,
) -> [__m256i; 8] {
    let (low, high) = if FOUR {
        // SAFETY: a block of 4-bit weights is 16 bytes.
        let words = unsafe { load_transposed(columns, block * 16) };
        let mask = _mm256_set1_epi8(0x0f);
        (
            words.map(|word| _mm256_and_si256(word, mask)),
            words.map(|word| _mm256_and_si256(_mm256_srli_epi16::<4>(word), mask)),
        )
    } else {
        // SAFETY: a block of 8-bit weights is 32 bytes.
        unsafe {
            (
                load_transposed(columns, block * 32),
                load_transposed(columns, block * 32 + 16),
            )
        }
    };
    let vectors = [
        low[0], low[1], low[2], low[3], high[0], high[1], high[2], high[3],
    ];
    if SIGNED && !FOUR {
        let sign = _mm256_set1_epi8(-128);
        vectors.map(|vector| _mm256_xor_si256(vector, sign))
    } else {
        vectors
    }
}

/// The scales of 8 columns.
enum ColumnScales {
    F32(ColumnPtrs<f32, LANES>),
    F16(ColumnPtrs<f16, LANES>),
}

impl ColumnScales {
    fn new(scales: Scales<'_>, n: usize, column: usize) -> Self {
        match scales {
            Scales::F32(scales) => Self::F32(ColumnPtrs::new(scales, n, column)),
            Scales::F16(scales) => Self::F16(ColumnPtrs::new(scales, n, column)),
        }
    }

    /// The scales of `count` blocks, at most four; the other vectors are zero.
    ///
    /// # Safety
    /// The blocks must be inside the columns.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn load_partial(&self, block: usize, count: usize) -> [__m256; 4] {
        match self {
            // SAFETY: four scales of four bytes.
            Self::F32(columns) if count == 4 => unsafe {
                load_transposed(columns, block * 4).map(|word| _mm256_castsi256_ps(word))
            },
            Self::F32(columns) => {
                let mut scales = [[0.0_f32; LANES]; 4];
                for (i, scales) in scales.iter_mut().enumerate().take(count) {
                    for (lane, scale) in scales.iter_mut().enumerate() {
                        // SAFETY: the block is inside the column.
                        *scale = unsafe { *columns.first[lane].add(block + i) };
                    }
                }
                // SAFETY: each array is 32 bytes.
                scales.map(|scales| unsafe { _mm256_loadu_ps(scales.as_ptr()) })
            }
            Self::F16(columns) => {
                let mut scales = [[0_u16; LANES]; 4];
                for (i, scales) in scales.iter_mut().enumerate().take(count) {
                    for (lane, scale) in scales.iter_mut().enumerate() {
                        // SAFETY: the block is inside the column.
                        *scale = unsafe { (*columns.first[lane].add(block + i)).to_bits() };
                    }
                }
                // SAFETY: each array is 16 bytes.
                scales.map(|scales| unsafe {
                    _mm256_cvtph_ps(_mm_loadu_si128(scales.as_ptr().cast()))
                })
            }
        }
    }
}

/// # Safety
/// As [`crate::kernel::Gemv`].
unsafe fn gemv<Four: Dots, Eight: Dots>(
    rows: &RowsView<'_>,
    rows_range: Range<usize>,
    matrix: &QuantizedMatrix<'_>,
    column: usize,
    sums: &mut [f32],
    width: usize,
) {
    let row = rows_range.start;
    // SAFETY: the caller's promises are passed on.
    unsafe {
        match (matrix.bits(), rows_range.len()) {
            (Bits::Four, 1) => gemv_rows::<Four, true, 1>(rows, row, matrix, column, sums, width),
            (Bits::Four, 2) => gemv_rows::<Four, true, 2>(rows, row, matrix, column, sums, width),
            (Bits::Four, 3) => gemv_rows::<Four, true, 3>(rows, row, matrix, column, sums, width),
            (Bits::Four, _) => gemv_rows::<Four, true, 4>(rows, row, matrix, column, sums, width),
            (_, 1) => gemv_rows::<Eight, false, 1>(rows, row, matrix, column, sums, width),
            (_, 2) => gemv_rows::<Eight, false, 2>(rows, row, matrix, column, sums, width),
            (_, 3) => gemv_rows::<Eight, false, 3>(rows, row, matrix, column, sums, width),
            (_, _) => gemv_rows::<Eight, false, 4>(rows, row, matrix, column, sums, width),
        }
    }
}

/// # Safety
/// As [`crate::kernel::Gemv`], for exactly `R` rows from `row`.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn gemv_rows<D: Dots, const FOUR: bool, const R: usize>(
    rows: &RowsView<'_>,
    row: usize,
    matrix: &QuantizedMatrix<'_>,
    column: usize,
    sums: &mut [f32],
    width: usize,
) {
    let blocks = rows.blocks;
    let columns = ColumnPtrs::new(matrix.quants(), matrix.n(), column);
    let scales = ColumnScales::new(matrix.scales(), matrix.n(), column);
    let ahead = columns.next_group(matrix);
    let mut totals = [_mm256_setzero_ps(); R];
    for start in (0..blocks).step_by(4) {
        let count = (blocks - start).min(4);
        // SAFETY: these blocks are inside the columns.
        let scales = unsafe { scales.load_partial(start, count) };
        for (block, scale) in (start..start + count).zip(scales) {
            if FOUR {
                prefetch::<2, true>(ahead.wrapping_add(block * 128));
            } else {
                prefetch::<4, true>(ahead.wrapping_add(block * 256));
            }
            // SAFETY: block, rows and columns are inside by the caller's
            // promise, and AVX2 and what `D` needs are enabled.
            unsafe {
                if FOUR {
                    let weights = unpack_block::<true, false>(&columns, block);
                    add_block::<D, R>(rows, row, block, &weights, scale, &mut totals);
                } else {
                    let weights = match D::SIGNED {
                        true => unpack_block::<false, true>(&columns, block),
                        false => unpack_block::<false, false>(&columns, block),
                    };
                    add_block::<D, R>(rows, row, block, &weights, scale, &mut totals);
                }
            }
        }
    }
    for (r, total) in totals.into_iter().enumerate() {
        let sums = &mut sums[r * width..][..LANES];
        // SAFETY: 8 values of four bytes.
        unsafe { _mm256_storeu_ps(sums.as_mut_ptr(), total) };
    }
}

/// # Safety
/// `R` rows from `row` and `block` must be inside; needs what `D` needs.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add_block<D: Dots, const R: usize>(
    rows: &RowsView<'_>,
    row: usize,
    block: usize,
    weights: &[__m256i; 8],
    scale: __m256,
    totals: &mut [__m256; R],
) {
    for (r, total) in totals.iter_mut().enumerate() {
        let of_block = (row + r) * rows.blocks + block;
        // SAFETY: inside by the caller's promise.
        unsafe {
            let x = rows
                .quants
                .as_ptr()
                .add((row + r) * rows.stride + block * 32);
            let compensation = *rows.compensation.get_unchecked(of_block);
            let mut dots = D::start(compensation);
            for (s, weights) in weights.iter().enumerate() {
                let x = _mm256_set1_epi32(x.add(s * 4).cast::<i32>().read_unaligned());
                dots = D::step(dots, *weights, x);
            }
            let dots = _mm256_cvtepi32_ps(D::finish(dots, compensation));
            let x_scale = _mm256_set1_ps(*rows.scales.get_unchecked(of_block));
            *total = _mm256_fmadd_ps(dots, _mm256_mul_ps(x_scale, scale), *total);
        }
    }
}

/// # Safety
/// As [`crate::kernel::Pack`].
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn pack<Four: Dots, Eight: Dots>(
    matrix: &QuantizedMatrix<'_>,
    column: usize,
    blocks: Range<usize>,
    quants: &mut [u8],
    scales: &mut [f32],
) {
    let columns = ColumnPtrs::new(matrix.quants(), matrix.n(), column);
    let (packed, _) = quants.as_chunks_mut::<PACKED>();
    for (packed, block) in packed.iter_mut().zip(blocks.clone()) {
        // SAFETY: the block is inside the columns.
        let vectors = unsafe {
            match (matrix.bits(), Eight::SIGNED) {
                (Bits::Four, _) => unpack_block::<true, false>(&columns, block),
                (Bits::Eight, true) => unpack_block::<false, true>(&columns, block),
                (Bits::Eight, false) => unpack_block::<false, false>(&columns, block),
            }
        };
        for (vector, packed) in vectors.into_iter().zip(packed.chunks_exact_mut(32)) {
            // SAFETY: 32 bytes.
            unsafe { _mm256_storeu_si256(packed.as_mut_ptr().cast(), vector) };
        }
    }
    let columns = ColumnScales::new(matrix.scales(), matrix.n(), column);
    let mut block = blocks.start;
    for packed in scales.chunks_mut(4 * LANES) {
        let count = packed.len() / LANES;
        // SAFETY: these blocks are inside the columns.
        let vectors = unsafe { columns.load_partial(block, count) };
        for (vector, packed) in vectors.into_iter().zip(packed.chunks_exact_mut(LANES)) {
            // SAFETY: 8 values of four bytes.
            unsafe { _mm256_storeu_ps(packed.as_mut_ptr(), vector) };
        }
        block += count;
    }
}

/// # Safety
/// As [`crate::kernel::Gemm`].
unsafe fn gemm<Four: Dots, Eight: Dots>(
    rows: &RowsView<'_>,
    rows_range: Range<usize>,
    blocks: Range<usize>,
    panel: &Panel<'_>,
    sums: &mut [f32],
    width: usize,
) {
    // SAFETY: the caller's promises are passed on.
    unsafe {
        match panel.bits {
            Bits::Four => gemm_of::<Four>(rows, rows_range, blocks, panel, sums, width),
            Bits::Eight => gemm_of::<Eight>(rows, rows_range, blocks, panel, sums, width),
        }
    }
}

/// # Safety
/// As [`crate::kernel::Gemm`].
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn gemm_of<D: Dots>(
    rows: &RowsView<'_>,
    rows_range: Range<usize>,
    blocks: Range<usize>,
    panel: &Panel<'_>,
    sums: &mut [f32],
    width: usize,
) {
    let mut sums = sums.chunks_mut(TILE_ROWS * width);
    for row in rows_range.clone().step_by(TILE_ROWS) {
        let Some(sums) = sums.next() else { return };
        let count = (rows_range.end - row).min(TILE_ROWS);
        let tile = Tile {
            rows,
            row,
            blocks: blocks.clone(),
            panel,
            width,
        };
        // SAFETY: the caller's promises are passed on; the sums are those of
        // `count` rows.
        unsafe {
            match (panel.groups, count) {
                (1, 1) => tile.multiply::<D, 1, 1>(sums),
                (1, 2) => tile.multiply::<D, 2, 1>(sums),
                (1, 3) => tile.multiply::<D, 3, 1>(sums),
                (1, _) => tile.multiply::<D, 4, 1>(sums),
                (_, 1) => tile.multiply::<D, 1, 2>(sums),
                (_, 2) => tile.multiply::<D, 2, 2>(sums),
                (_, 3) => tile.multiply::<D, 3, 2>(sums),
                (_, _) => tile.multiply::<D, 4, 2>(sums),
            }
        }
    }
}

struct Tile<'a> {
    rows: &'a RowsView<'a>,
    row: usize,
    blocks: Range<usize>,
    panel: &'a Panel<'a>,
    width: usize,
}

impl Tile<'_> {
    /// # Safety
    /// `R` rows from `self.row` must be inside the rows, the blocks inside
    /// both rows and panel, and the panel must have `G` groups.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn multiply<D: Dots, const R: usize, const G: usize>(&self, sums: &mut [f32]) {
        let rows = self.rows;
        let count = self.blocks.len();
        assert!(self.panel.quants.len() == G * count * PACKED);
        assert!(self.panel.scales.len() == G * count * LANES);
        assert!(sums.len() >= (R - 1) * self.width + G * LANES);
        let quants = self.panel.quants.as_ptr();
        let scales = self.panel.scales.as_ptr();
        let first = self.blocks.start;
        if first == 0 {
            for r in 0..R {
                sums[r * self.width..][..G * LANES].fill(0.0);
            }
        }
        // SAFETY: inside by the caller's promise and the assertions above.
        unsafe {
            let x = rows
                .quants
                .as_ptr()
                .add(self.row * rows.stride + first * 32);
            let of_row = self.row * rows.blocks + first;
            let x_scales = rows.scales.as_ptr().add(of_row);
            let compensation = rows.compensation.as_ptr().add(of_row);
            for block in 0..count {
                let mut dots = [[_mm256_setzero_si256(); G]; R];
                for (r, dots) in dots.iter_mut().enumerate() {
                    *dots = [D::start(*compensation.add(r * rows.blocks + block)); G];
                }
                for s in 0..8 {
                    let mut weights = [_mm256_setzero_si256(); G];
                    for (g, weights) in weights.iter_mut().enumerate() {
                        let at = (g * count + block) * PACKED + s * 32;
                        *weights = _mm256_loadu_si256(quants.add(at).cast());
                    }
                    for (r, dots) in dots.iter_mut().enumerate() {
                        let at = r * rows.stride + block * 32 + s * 4;
                        let x = _mm256_set1_epi32(x.add(at).cast::<i32>().read_unaligned());
                        for (dots, weights) in dots.iter_mut().zip(weights) {
                            *dots = D::step(*dots, weights, x);
                        }
                    }
                }
                // With 16 registers there is no room for the sums, which are in
                // the first-level cache.
                for (r, dots) in dots.iter().enumerate() {
                    let at = r * rows.blocks + block;
                    let x_scale = _mm256_set1_ps(*x_scales.add(at));
                    for (g, dots) in dots.iter().enumerate() {
                        let dots = _mm256_cvtepi32_ps(D::finish(*dots, *compensation.add(at)));
                        let scale = _mm256_loadu_ps(scales.add((g * count + block) * LANES));
                        let sums = sums.as_mut_ptr().add(r * self.width + g * LANES);
                        let scale = _mm256_mul_ps(x_scale, scale);
                        let total = _mm256_fmadd_ps(dots, scale, _mm256_loadu_ps(sums));
                        _mm256_storeu_ps(sums, total);
                    }
                }
            }
        }
    }
}

/// # Safety
/// Needs what `D` needs.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn peak<D: Dots>(rounds: usize) -> i32 {
    let mut dots = [_mm256_setzero_si256(); 10];
    let (a, b) = (_mm256_set1_epi8(3), _mm256_set1_epi8(-5));
    for _ in 0..rounds {
        let a = black_box(a);
        for dot in &mut dots {
            // SAFETY: the caller's promise.
            *dot = unsafe { D::step(*dot, a, b) };
        }
    }
    let sum = dots
        .into_iter()
        .fold(_mm256_setzero_si256(), |a, b| _mm256_add_epi32(a, b));
    _mm256_extract_epi32::<0>(sum)
}
