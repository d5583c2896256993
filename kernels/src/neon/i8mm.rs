//! NEON with the 8-bit matrix multiply instructions: 2 rows by 2 columns per
//! vector.
//!
//! `smmla` multiplies a matrix of 2 rows by 8 values with one of 8 values by 2
//! columns, twice the work of `sdot`. A packed block of 4 columns is two pairs
//! of columns with four vectors each: eight consecutive values of one column,
//! then the same eight of the other. One row alone gains nothing from it and
//! is left to `sdot`.

use std::arch::aarch64::*;
use std::arch::asm;
use std::hint::black_box;
use std::ops::Range;

use super::dotprod;
use crate::column_ptrs::ColumnPtrs;
use crate::kernel::{Kernel, MicrokernelFns, Panel};
use crate::layout::{Bits, QuantizedMatrix};
use crate::quantize_activations::RowsView;
use crate::roofline::Peak;

const LANES: usize = 4;
/// Bytes of a packed block.
const PACKED: usize = LANES * 32;
const GROUPS: usize = 2;
const TILE_ROWS: usize = 8;

pub(crate) static KERNEL: Kernel = Kernel::simd(
    LANES,
    GROUPS,
    TILE_ROWS,
    dotprod::GEMV_MAX_ROWS,
    Peak {
        run: peak,
        products: 16 * 32,
    },
    MicrokernelFns {
        chunk: 32,
        gemv: dotprod::gemv,
        pack,
        gemm,
    },
);

/// `dots[2i + j] += x[8i..8i + 8] . weights[8j..8j + 8]`
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn smmla(mut dots: int32x4_t, x: int8x16_t, weights: int8x16_t) -> int32x4_t {
    // SAFETY: the feature is enabled, and the instruction only touches its
    // operands.
    unsafe {
        asm!(
            "smmla {dots:v}.4s, {x:v}.16b, {weights:v}.16b",
            dots = inout(vreg) dots,
            x = in(vreg) x,
            weights = in(vreg) weights,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    dots
}

/// The first halves of two vectors, and the second halves.
#[inline]
#[target_feature(enable = "neon")]
fn halves(a: int8x16_t, b: int8x16_t) -> [int8x16_t; 2] {
    let (a, b) = (vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b));
    [
        vreinterpretq_s8_s64(vtrn1q_s64(a, b)),
        vreinterpretq_s8_s64(vtrn2q_s64(a, b)),
    ]
}

/// # Safety
/// As [`crate::kernel::Pack`].
#[target_feature(enable = "neon,dotprod,i8mm")]
unsafe fn pack(
    matrix: &QuantizedMatrix<'_>,
    column: usize,
    blocks: Range<usize>,
    quants: &mut [u8],
    scales: &mut [f32],
) {
    let columns = ColumnPtrs::<u8, LANES>::new(matrix.quants(), matrix.n(), column);
    let size = matrix.bits().block_bytes();
    let (packed, _) = quants.as_chunks_mut::<PACKED>();
    for (packed, block) in packed.iter_mut().zip(blocks.clone()) {
        for (pair, packed) in packed.chunks_exact_mut(64).enumerate() {
            // SAFETY: the block of both columns is inside.
            let load = |i: usize, offset: usize| unsafe {
                vld1q_u8(columns.first[2 * pair + i].add(block * size + offset))
            };
            let (low, high) = match matrix.bits() {
                Bits::Four => {
                    let both = [load(0, 0), load(1, 0)];
                    (
                        both.map(|bytes| vandq_u8(bytes, vdupq_n_u8(0x0f))),
                        both.map(|bytes| vshrq_n_u8::<4>(bytes)),
                    )
                }
                Bits::Eight => {
                    let sign = vdupq_n_u8(0x80);
                    (
                        [load(0, 0), load(1, 0)].map(|bytes| veorq_u8(bytes, sign)),
                        [load(0, 16), load(1, 16)].map(|bytes| veorq_u8(bytes, sign)),
                    )
                }
            };
            let [low, high] =
                [low, high].map(|[a, b]| halves(vreinterpretq_s8_u8(a), vreinterpretq_s8_u8(b)));
            let vectors = [low[0], low[1], high[0], high[1]];
            for (vector, packed) in vectors.into_iter().zip(packed.chunks_exact_mut(16)) {
                // SAFETY: 16 bytes.
                unsafe { vst1q_s8(packed.as_mut_ptr().cast(), vector) };
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe { dotprod::pack_scales(matrix, column, blocks, scales) };
}

/// # Safety
/// As [`crate::kernel::Gemm`].
#[target_feature(enable = "neon,dotprod,i8mm")]
unsafe fn gemm(
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
        let tile = Tile {
            rows,
            row,
            count: (rows_range.end - row).min(TILE_ROWS),
            blocks: blocks.clone(),
            panel,
            width,
        };
        // SAFETY: the caller's promises are passed on.
        unsafe {
            match panel.bits {
                Bits::Four => tile.pairs::<true>(sums),
                Bits::Eight => tile.pairs::<false>(sums),
            }
        }
    }
}

struct Tile<'a> {
    rows: &'a RowsView<'a>,
    row: usize,
    count: usize,
    blocks: Range<usize>,
    panel: &'a Panel<'a>,
    width: usize,
}

impl Tile<'_> {
    /// # Safety
    /// As for `multiply`, with the numbers that the tile has.
    #[inline]
    #[target_feature(enable = "neon,dotprod,i8mm")]
    unsafe fn pairs<const FOUR: bool>(&self, sums: &mut [f32]) {
        // SAFETY: the caller's promise.
        unsafe {
            match (self.panel.groups, self.count.div_ceil(2)) {
                (1, 1) => self.multiply::<FOUR, 1, 2>(sums),
                (1, 2) => self.multiply::<FOUR, 2, 2>(sums),
                (1, 3) => self.multiply::<FOUR, 3, 2>(sums),
                (1, _) => self.multiply::<FOUR, 4, 2>(sums),
                (_, 1) => self.multiply::<FOUR, 1, 4>(sums),
                (_, 2) => self.multiply::<FOUR, 2, 4>(sums),
                (_, 3) => self.multiply::<FOUR, 3, 4>(sums),
                (_, _) => self.multiply::<FOUR, 4, 4>(sums),
            }
        }
    }

    /// Multiplies `P` pairs of rows with `Q` pairs of columns. Where the number
    /// of rows is odd, the last one is its own partner.
    ///
    /// # Safety
    /// `self.count` rows from `self.row` must be inside the rows and make `P`
    /// pairs, the blocks must be inside both rows and panel, and the panel must
    /// have `Q / 2` groups.
    #[expect(
        clippy::needless_range_loop,
        reason = "the pair's number is also part of addresses"
    )]
    #[target_feature(enable = "neon,dotprod,i8mm")]
    unsafe fn multiply<const FOUR: bool, const P: usize, const Q: usize>(&self, sums: &mut [f32]) {
        let rows = self.rows;
        let count = self.blocks.len();
        assert!(self.panel.quants.len() == Q / 2 * count * PACKED);
        assert!(self.panel.scales.len() == Q / 2 * count * LANES);
        assert!(sums.len() >= (self.count - 1) * self.width + 2 * Q);
        let quants = self.panel.quants.as_ptr();
        let scales = self.panel.scales.as_ptr();
        let last = self.count - 1;
        let row = |p: usize, i: usize| (2 * p + i).min(last);
        let of_block = |p: usize, i: usize, block: usize| {
            (self.row + row(p, i)) * rows.blocks + self.blocks.start + block
        };
        // SAFETY: inside by the caller's promise and the assertions above.
        unsafe {
            let x = |p: usize, i: usize| {
                let at = (self.row + row(p, i)) * rows.stride + self.blocks.start * 32;
                rows.quants.as_ptr().add(at)
            };
            let mut totals = [[vdupq_n_f32(0.0); Q]; P];
            if self.blocks.start > 0 {
                for (p, totals) in totals.iter_mut().enumerate() {
                    for (q, total) in totals.iter_mut().enumerate() {
                        let sums = |i: usize| sums.as_ptr().add(row(p, i) * self.width + 2 * q);
                        *total = vcombine_f32(vld1_f32(sums(0)), vld1_f32(sums(1)));
                    }
                }
            }
            for block in 0..count {
                let mut dots = [[vdupq_n_s32(0); Q]; P];
                if FOUR {
                    for (p, dots) in dots.iter_mut().enumerate() {
                        let compensation =
                            |i: usize| vdup_n_s32(rows.compensation[of_block(p, i, block)]);
                        *dots = [vcombine_s32(compensation(0), compensation(1)); Q];
                    }
                }
                for half in 0..2 {
                    let at = block * 32 + half * 16;
                    let mut values = [[vdupq_n_s8(0); 2]; P];
                    for (p, values) in values.iter_mut().enumerate() {
                        *values = halves(vld1q_s8(x(p, 0).add(at)), vld1q_s8(x(p, 1).add(at)));
                    }
                    for step in 0..2 {
                        for q in 0..Q {
                            let at = (q / 2 * count + block) * PACKED
                                + q % 2 * 64
                                + (2 * half + step) * 16;
                            let weights = vld1q_s8(quants.add(at).cast());
                            for p in 0..P {
                                dots[p][q] = smmla(dots[p][q], values[p][step], weights);
                            }
                        }
                    }
                }
                for p in 0..P {
                    let x_scale = |i: usize| vdup_n_f32(rows.scales[of_block(p, i, block)]);
                    let x_scale = vcombine_f32(x_scale(0), x_scale(1));
                    for q in 0..Q {
                        let at = (q / 2 * count + block) * LANES + q % 2 * 2;
                        let scale = vld1_f32(scales.add(at));
                        let scale = vmulq_f32(x_scale, vcombine_f32(scale, scale));
                        let dots = vcvtq_f32_s32(dots[p][q]);
                        totals[p][q] = vfmaq_f32(totals[p][q], dots, scale);
                    }
                }
            }
            for (p, totals) in totals.iter().enumerate() {
                for (q, total) in totals.iter().enumerate() {
                    // The partner first: where it is the same row, so is the sum.
                    let at = |i: usize| row(p, i) * self.width + 2 * q;
                    vst1_f32(sums.as_mut_ptr().add(at(1)), vget_high_f32(*total));
                    vst1_f32(sums.as_mut_ptr().add(at(0)), vget_low_f32(*total));
                }
            }
        }
    }
}

/// # Safety
/// Needs the instruction set.
#[target_feature(enable = "neon,i8mm")]
unsafe fn peak(rounds: usize) -> i32 {
    let mut dots = [vdupq_n_s32(0); 16];
    let (a, b) = (vdupq_n_s8(3), vdupq_n_s8(-5));
    for _ in 0..rounds {
        let a = black_box(a);
        for dot in &mut dots {
            *dot = smmla(*dot, a, b);
        }
    }
    let sum = dots
        .into_iter()
        .fold(vdupq_n_s32(0), |a, b| vaddq_s32(a, b));
    vaddvq_s32(sum)
}
