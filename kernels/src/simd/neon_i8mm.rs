//! The integer microkernel of NEON with the 8-bit matrix multiply
//! instructions: an accumulator holds 2 rows by 2 columns.
//!
//! `smmla` multiplies a matrix of 2 rows by 8 values with one of 8 values by 2
//! columns, twice the work of `sdot`. A group of 4 columns is two pairs of
//! columns, so weights, accumulators and sums come in twos. The weights of a
//! step are, for each pair, eight consecutive values of one column, then the
//! same eight of the other. Fewer rows than a tile gain nothing from it: the
//! matrix-vector product is that of `sdot`.

use std::arch::aarch64::*;
use std::arch::asm;

use super::microkernel::{ColumnPtrs, ColumnScales, Microkernel, PerRow, bits, with_features};
use super::neon::{self, LANES, nibbles, signed};
use super::neon_dotprod::NeonDotprod;
use crate::layout::Bits;

/// NEON with `smmla`, weights of `BITS` bits.
pub(crate) struct NeonI8mm<const BITS: u8>;

/// `acc[2i + j] += x[8i..8i + 8] . weights[8j..8j + 8]`
///
/// Assembly, as the intrinsic is not stable.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn smmla(mut acc: int32x4_t, x: int8x16_t, weights: int8x16_t) -> int32x4_t {
    // SAFETY: the feature is enabled, and the instruction only touches its
    // operands.
    unsafe {
        asm!(
            "smmla {acc:v}.4s, {x:v}.16b, {weights:v}.16b",
            acc = inout(vreg) acc,
            x = in(vreg) x,
            weights = in(vreg) weights,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    acc
}

/// The first halves of two vectors, and the second halves.
#[inline]
#[target_feature(enable = "neon")]
fn zip_halves(a: int8x16_t, b: int8x16_t) -> [int8x16_t; 2] {
    let (a, b) = (vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b));
    [
        vreinterpretq_s8_s64(vtrn1q_s64(a, b)),
        vreinterpretq_s8_s64(vtrn2q_s64(a, b)),
    ]
}

// SAFETY: intrinsics of the features in `with_features`.
unsafe impl<const BITS: u8> Microkernel for NeonI8mm<BITS> {
    const BITS: Bits = bits(BITS);
    const LANES: usize = LANES;
    const ROWS: usize = 2;
    const MR: usize = 4;
    const NR: usize = 2;
    const LOADS: usize = 2;
    const STEPS: usize = 2;
    const SUMS_IN_REGISTERS: bool = true;
    const TWO_CHAINS: bool = false;
    const GEMV_MAX_ROWS: usize = <NeonDotprod<BITS> as Microkernel>::GEMV_MAX_ROWS;
    const SCALE_BATCH: usize = 4;

    type Weights = [int8x16_t; 2];
    type Block = [[int8x16_t; 2]; 4];
    type Activations = [int8x16_t; 2];
    type Operand = int8x16_t;
    type Accumulator = [int32x4_t; 2];
    type Sum = [float32x4_t; 2];

    with_features!("neon,dotprod,i8mm");

    #[inline]
    #[target_feature(enable = "neon,dotprod,i8mm")]
    unsafe fn unpack(columns: &ColumnPtrs<u8>, block: usize) -> [[int8x16_t; 2]; 4] {
        let pair = |first: usize| {
            // SAFETY: a block is 16 bytes of 4-bit weights or 32 of 8-bit ones.
            let load =
                |i: usize, offset: usize| unsafe { vld1q_u8(columns.first[first + i].add(offset)) };
            let (low, high) = if BITS == 4 {
                let a = nibbles(load(0, block * 16));
                let b = nibbles(load(1, block * 16));
                (zip_halves(a[0], b[0]), zip_halves(a[1], b[1]))
            } else {
                let load = |i: usize, offset: usize| signed(load(i, block * 32 + offset));
                (
                    zip_halves(load(0, 0), load(1, 0)),
                    zip_halves(load(0, 16), load(1, 16)),
                )
            };
            [low[0], low[1], high[0], high[1]]
        };
        let (a, b) = (pair(0), pair(2));
        [[a[0], b[0]], [a[1], b[1]], [a[2], b[2]], [a[3], b[3]]]
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod,i8mm")]
    unsafe fn load_scales(scales: &ColumnScales, block: usize, count: usize, out: *mut f32) {
        // SAFETY: the caller's promises.
        unsafe { neon::load_scales(scales, block, count, out) }
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod,i8mm")]
    unsafe fn load_activations(x: PerRow<*const i8>) -> [int8x16_t; 2] {
        // SAFETY: the caller's promise.
        unsafe { zip_halves(vld1q_s8(x[0]), vld1q_s8(x[1])) }
    }

    #[inline(always)]
    unsafe fn broadcast<const STEP: usize>(x: [int8x16_t; 2]) -> int8x16_t {
        x[STEP]
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod,i8mm")]
    unsafe fn start(compensation: PerRow<*const i32>) -> [int32x4_t; 2] {
        if BITS == 4 {
            // SAFETY: the caller's promise.
            let [a, b] = compensation.map(|row| vdup_n_s32(unsafe { *row }));
            [vcombine_s32(a, b); 2]
        } else {
            [vdupq_n_s32(0); 2]
        }
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod,i8mm")]
    unsafe fn zero_accumulator() -> [int32x4_t; 2] {
        [vdupq_n_s32(0); 2]
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod,i8mm")]
    unsafe fn add(a: [int32x4_t; 2], b: [int32x4_t; 2]) -> [int32x4_t; 2] {
        [vaddq_s32(a[0], b[0]), vaddq_s32(a[1], b[1])]
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod,i8mm")]
    unsafe fn dot<const STEP: usize>(
        acc: [int32x4_t; 2],
        weights: [int8x16_t; 2],
        x: int8x16_t,
    ) -> [int32x4_t; 2] {
        [smmla(acc[0], x, weights[0]), smmla(acc[1], x, weights[1])]
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod,i8mm")]
    unsafe fn finish(acc: [int32x4_t; 2], _: PerRow<*const i32>) -> [float32x4_t; 2] {
        [vcvtq_f32_s32(acc[0]), vcvtq_f32_s32(acc[1])]
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod,i8mm")]
    unsafe fn zero() -> [float32x4_t; 2] {
        [vdupq_n_f32(0.0); 2]
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod,i8mm")]
    unsafe fn load_sum(from: PerRow<*const f32>) -> [float32x4_t; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            let pair = |i: usize| vcombine_f32(vld1_f32(from[0].add(i)), vld1_f32(from[1].add(i)));
            [pair(0), pair(2)]
        }
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod,i8mm")]
    unsafe fn store_sum(to: PerRow<*mut f32>, sum: [float32x4_t; 2]) {
        // SAFETY: the caller's promise.
        unsafe {
            for (i, sum) in sum.into_iter().enumerate() {
                vst1_f32(to[1].add(2 * i), vget_high_f32(sum));
                vst1_f32(to[0].add(2 * i), vget_low_f32(sum));
            }
        }
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod,i8mm")]
    unsafe fn load_scale(from: *const f32) -> [float32x4_t; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            let pair = |i: usize| {
                let scale = vld1_f32(from.add(i));
                vcombine_f32(scale, scale)
            };
            [pair(0), pair(2)]
        }
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod,i8mm")]
    unsafe fn broadcast_scale(x_scale: PerRow<*const f32>) -> [float32x4_t; 2] {
        // SAFETY: the caller's promise.
        let [a, b] = x_scale.map(|row| vdup_n_f32(unsafe { *row }));
        [vcombine_f32(a, b); 2]
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod,i8mm")]
    unsafe fn scale_add(
        dots: [float32x4_t; 2],
        x_scale: [float32x4_t; 2],
        w_scale: [float32x4_t; 2],
        sum: [float32x4_t; 2],
    ) -> [float32x4_t; 2] {
        let pair = |i: usize| vfmaq_f32(sum[i], dots[i], vmulq_f32(x_scale[i], w_scale[i]));
        [pair(0), pair(1)]
    }
}
