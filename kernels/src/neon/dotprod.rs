//! NEON with the dot product instructions: 4 columns per vector.
//!
//! A packed block of 4 columns is eight vectors. In vector `s`, lane `j` holds
//! four consecutive values of column `j`; `sdot` multiplies them with four
//! activations that it takes from one lane of a vector of sixteen. Weights of
//! 4 bits stay as stored, 0 to 15, and the correction that the activations
//! bring along accounts for their zero point; weights of 8 bits lose theirs
//! when they are unpacked, as `sdot` knows signed numbers only.

use std::arch::aarch64::*;
use std::arch::asm;
use std::hint::black_box;
use std::ops::Range;

use super::{ColumnScales, transpose4};
use crate::column_ptrs::{ColumnPtrs, prefetch};
use crate::kernel::{Kernel, MicrokernelFns, Panel};
use crate::layout::{Bits, QuantizedMatrix};
use crate::quantize_activations::RowsView;
use crate::roofline::Peak;

const LANES: usize = 4;
/// Bytes of a packed block.
const PACKED: usize = LANES * 32;
const GROUPS: usize = 4;
const TILE_ROWS: usize = 4;
pub(super) const GEMV_MAX_ROWS: usize = 4;

pub(crate) static KERNEL: Kernel = Kernel::simd(
    LANES,
    GROUPS,
    TILE_ROWS,
    GEMV_MAX_ROWS,
    Peak {
        run: peak,
        products: 16 * 16,
    },
    MicrokernelFns {
        chunk: 32,
        gemv,
        pack,
        gemm,
    },
);

/// `dots[j] += weights[4j..4j + 4] . x[4 LANE..4 LANE + 4]`
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot<const LANE: usize>(mut dots: int32x4_t, weights: int8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: the feature is enabled, and the instruction only touches its
    // operands.
    unsafe {
        asm!(
            "sdot {dots:v}.4s, {weights:v}.16b, {x:v}.4b[{lane}]",
            dots = inout(vreg) dots,
            weights = in(vreg) weights,
            x = in(vreg) x,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    dots
}

/// One block of 4 columns as the eight vectors described above.
///
/// # Safety
/// `block` must be inside the columns.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn unpack_block<const FOUR: bool>(
    columns: &ColumnPtrs<u8, LANES>,
    block: usize,
) -> [int8x16_t; 8] {
    let size = if FOUR { 16 } else { 32 };
    let load = |offset: usize| {
        // SAFETY: a block of 4-bit weights is 16 bytes, one of 8-bit weights 32.
        transpose4(columns.first.map(|first| unsafe {
            vreinterpretq_u32_u8(vld1q_u8(first.add(block * size + offset)))
        }))
    };
    let (low, high) = if FOUR {
        let words = load(0).map(|words| vreinterpretq_u8_u32(words));
        (
            words.map(|word| vandq_u8(word, vdupq_n_u8(0x0f))),
            words.map(|word| vshrq_n_u8::<4>(word)),
        )
    } else {
        let signed = |words: uint32x4_t| veorq_u8(vreinterpretq_u8_u32(words), vdupq_n_u8(0x80));
        (load(0).map(signed), load(16).map(signed))
    };
    [
        low[0], low[1], low[2], low[3], high[0], high[1], high[2], high[3],
    ]
    .map(|vector| vreinterpretq_s8_u8(vector))
}

/// # Safety
/// As [`crate::kernel::Gemv`].
pub(super) unsafe fn gemv(
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
/// As [`crate::kernel::Gemv`], for exactly `R` rows from `row`.
#[target_feature(enable = "neon,dotprod")]
unsafe fn gemv_rows<const FOUR: bool, const R: usize>(
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
    let mut totals = [vdupq_n_f32(0.0); R];
    for start in (0..blocks).step_by(4) {
        let count = (blocks - start).min(4);
        // SAFETY: these blocks are inside the columns.
        let scales = unsafe { scales.load_partial(start, count) };
        for (block, scale) in (start..start + count).zip(scales) {
            if FOUR {
                prefetch::<1, true>(ahead.wrapping_add(block * 64));
            } else {
                prefetch::<2, true>(ahead.wrapping_add(block * 128));
            }
            // SAFETY: the block is inside the columns.
            let weights = unsafe { unpack_block::<FOUR>(&columns, block) };
            for (r, total) in totals.iter_mut().enumerate() {
                let of_block = (row + r) * blocks + block;
                // SAFETY: rows and block are inside by the caller's promise.
                let (x, x_scale, compensation) = unsafe {
                    let x = rows
                        .quants
                        .as_ptr()
                        .add((row + r) * rows.stride + block * 32);
                    (
                        [vld1q_s8(x), vld1q_s8(x.add(16))],
                        *rows.scales.get_unchecked(of_block),
                        *rows.compensation.get_unchecked(of_block),
                    )
                };
                // Two chains, as one would wait for itself.
                let a = vdupq_n_s32(if FOUR { compensation } else { 0 });
                let b = vdupq_n_s32(0);
                let (a, b) = (
                    sdot::<0>(a, weights[0], x[0]),
                    sdot::<1>(b, weights[1], x[0]),
                );
                let (a, b) = (
                    sdot::<2>(a, weights[2], x[0]),
                    sdot::<3>(b, weights[3], x[0]),
                );
                let (a, b) = (
                    sdot::<0>(a, weights[4], x[1]),
                    sdot::<1>(b, weights[5], x[1]),
                );
                let (a, b) = (
                    sdot::<2>(a, weights[6], x[1]),
                    sdot::<3>(b, weights[7], x[1]),
                );
                let dots = vcvtq_f32_s32(vaddq_s32(a, b));
                *total = vfmaq_f32(*total, dots, vmulq_n_f32(scale, x_scale));
            }
        }
    }
    for (r, total) in totals.into_iter().enumerate() {
        let sums = &mut sums[r * width..][..LANES];
        // SAFETY: 4 values of four bytes.
        unsafe { vst1q_f32(sums.as_mut_ptr(), total) };
    }
}

/// # Safety
/// As [`crate::kernel::Pack`].
#[target_feature(enable = "neon,dotprod")]
unsafe fn pack(
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
            match matrix.bits() {
                Bits::Four => unpack_block::<true>(&columns, block),
                Bits::Eight => unpack_block::<false>(&columns, block),
            }
        };
        for (vector, packed) in vectors.into_iter().zip(packed.chunks_exact_mut(16)) {
            // SAFETY: 16 bytes.
            unsafe { vst1q_s8(packed.as_mut_ptr().cast(), vector) };
        }
    }
    // SAFETY: the caller's promise.
    unsafe { pack_scales(matrix, column, blocks, scales) };
}

/// The scales' part of `pack`.
///
/// # Safety
/// As [`crate::kernel::Pack`].
#[target_feature(enable = "neon")]
pub(super) unsafe fn pack_scales(
    matrix: &QuantizedMatrix<'_>,
    column: usize,
    blocks: Range<usize>,
    scales: &mut [f32],
) {
    let columns = ColumnScales::new(matrix.scales(), matrix.n(), column);
    let mut block = blocks.start;
    for packed in scales.chunks_mut(4 * LANES) {
        let count = packed.len() / LANES;
        // SAFETY: these blocks are inside the columns.
        let vectors = unsafe { columns.load_partial(block, count) };
        for (vector, packed) in vectors.into_iter().zip(packed.chunks_exact_mut(LANES)) {
            // SAFETY: 4 values of four bytes.
            unsafe { vst1q_f32(packed.as_mut_ptr(), vector) };
        }
        block += count;
    }
}

/// # Safety
/// As [`crate::kernel::Gemm`].
unsafe fn gemm(
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
            Bits::Four => gemm_of::<true>(rows, rows_range, blocks, panel, sums, width),
            Bits::Eight => gemm_of::<false>(rows, rows_range, blocks, panel, sums, width),
        }
    }
}

/// # Safety
/// As [`crate::kernel::Gemm`].
#[target_feature(enable = "neon,dotprod")]
unsafe fn gemm_of<const FOUR: bool>(
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
            match count {
                1 => tile.groups::<FOUR, 1>(sums),
                2 => tile.groups::<FOUR, 2>(sums),
                3 => tile.groups::<FOUR, 3>(sums),
                _ => tile.groups::<FOUR, 4>(sums),
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
    /// As for `multiply`, with the panel's own number of groups.
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn groups<const FOUR: bool, const R: usize>(&self, sums: &mut [f32]) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.panel.groups {
                1 => self.multiply::<FOUR, R, 1>(sums),
                2 => self.multiply::<FOUR, R, 2>(sums),
                3 => self.multiply::<FOUR, R, 3>(sums),
                _ => self.multiply::<FOUR, R, 4>(sums),
            }
        }
    }

    /// # Safety
    /// `R` rows from `self.row` must be inside the rows, the blocks inside
    /// both rows and panel, and the panel must have `G` groups.
    #[expect(
        clippy::needless_range_loop,
        reason = "the group's number is also part of addresses"
    )]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn multiply<const FOUR: bool, const R: usize, const G: usize>(&self, sums: &mut [f32]) {
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
                let mut dots = [[vdupq_n_s32(0); G]; R];
                if FOUR {
                    for (r, dots) in dots.iter_mut().enumerate() {
                        *dots = [vdupq_n_s32(*compensation.add(r * rows.blocks + block)); G];
                    }
                }
                for half in 0..2 {
                    let mut values = [vdupq_n_s8(0); R];
                    for (r, values) in values.iter_mut().enumerate() {
                        *values = vld1q_s8(x.add(r * rows.stride + block * 32 + half * 16));
                    }
                    for g in 0..G {
                        let at = quants.add((g * count + block) * PACKED + half * 64);
                        let weights: [int8x16_t; 4] =
                            std::array::from_fn(|s| vld1q_s8(at.add(s * 16).cast()));
                        for r in 0..R {
                            dots[r][g] = sdot::<0>(dots[r][g], weights[0], values[r]);
                        }
                        for r in 0..R {
                            dots[r][g] = sdot::<1>(dots[r][g], weights[1], values[r]);
                        }
                        for r in 0..R {
                            dots[r][g] = sdot::<2>(dots[r][g], weights[2], values[r]);
                        }
                        for r in 0..R {
                            dots[r][g] = sdot::<3>(dots[r][g], weights[3], values[r]);
                        }
                    }
                }
                // The sums stay in the first-level cache, as the registers are
                // full.
                for (r, dots) in dots.iter().enumerate() {
                    let x_scale = *x_scales.add(r * rows.blocks + block);
                    for (g, dots) in dots.iter().enumerate() {
                        let scale = vld1q_f32(scales.add((g * count + block) * LANES));
                        let scale = vmulq_n_f32(scale, x_scale);
                        let sums = sums.as_mut_ptr().add(r * self.width + g * LANES);
                        let total = vfmaq_f32(vld1q_f32(sums), vcvtq_f32_s32(*dots), scale);
                        vst1q_f32(sums, total);
                    }
                }
            }
        }
    }
}

/// # Safety
/// Needs the instruction set.
#[target_feature(enable = "neon,dotprod")]
unsafe fn peak(rounds: usize) -> i32 {
    let mut dots = [vdupq_n_s32(0); 16];
    let (a, b) = (vdupq_n_s8(3), vdupq_n_s8(-5));
    for _ in 0..rounds {
        let a = black_box(a);
        for dot in &mut dots {
            *dot = sdot::<0>(*dot, a, b);
        }
    }
    let sum = dots
        .into_iter()
        .fold(vdupq_n_s32(0), |a, b| vaddq_s32(a, b));
    vaddvq_s32(sum)
}
