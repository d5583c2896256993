//! The integer microkernel of NEON with the dot product instructions: 4 columns
//! per vector.
//!
//! A packed block is eight vectors. In vector `s`, lane `j` holds four
//! consecutive values of column `j`; `sdot` multiplies them with four
//! activations that it takes from one lane of a vector of sixteen. Weights of
//! 4 bits stay as stored, 0 to 15, and the accumulator starts from the
//! compensation; weights of 8 bits lose their zero point when they are
//! unpacked, as `sdot` takes signed numbers only.

use std::arch::aarch64::*;
use std::arch::asm;

use super::microkernel::{ColumnPtrs, ColumnScales, Microkernel, PerRow, bits, with_features};
use super::neon::{self, LANES, nibbles, signed, transpose4};
use crate::layout::Bits;

/// NEON with `sdot`, weights of `BITS` bits.
pub(crate) struct NeonDotprod<const BITS: u8>;

/// `acc[j] += weights[4j..4j + 4] . x[4 LANE..4 LANE + 4]`
///
/// Assembly, as the intrinsic is not stable.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot<const LANE: usize>(mut acc: int32x4_t, weights: int8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: the feature is enabled, and the instruction only touches its
    // operands.
    unsafe {
        asm!(
            "sdot {acc:v}.4s, {weights:v}.16b, {x:v}.4b[{lane}]",
            acc = inout(vreg) acc,
            weights = in(vreg) weights,
            x = in(vreg) x,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    acc
}

// SAFETY: intrinsics of the features in `with_features`.
unsafe impl<const BITS: u8> Microkernel for NeonDotprod<BITS> {
    const BITS: Bits = bits(BITS);
    const LANES: usize = LANES;
    const ROWS: usize = 1;
    const MR: usize = 4;
    const NR: usize = 4;
    const LOADS: usize = 2;
    const STEPS: usize = 4;
    // 16 accumulators, 4 weights and 4 rows leave no room in 32 registers.
    const SUMS_IN_REGISTERS: bool = false;
    const TWO_CHAINS: bool = true;
    const GEMV_MAX_ROWS: usize = 4;
    const SCALE_BATCH: usize = 4;

    type Weights = int8x16_t;
    type Block = [int8x16_t; 8];
    type Activations = int8x16_t;
    type Operand = int8x16_t;
    type Accumulator = int32x4_t;
    type Sum = float32x4_t;

    with_features!("neon,dotprod");

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn unpack(columns: &ColumnPtrs<u8>, block: usize) -> [int8x16_t; 8] {
        let load = |offset: usize| {
            // SAFETY: a block is 16 bytes of 4-bit weights or 32 of 8-bit ones.
            let words = [0, 1, 2, 3].map(|lane: usize| unsafe {
                vreinterpretq_u32_u8(vld1q_u8(columns.first[lane].add(offset)))
            });
            transpose4(words).map(|words| vreinterpretq_u8_u32(words))
        };
        let (low, high) = if BITS == 4 {
            let words = load(block * 16).map(|bytes| nibbles(bytes));
            (words.map(|[low, _]| low), words.map(|[_, high]| high))
        } else {
            (
                load(block * 32).map(|bytes| signed(bytes)),
                load(block * 32 + 16).map(|bytes| signed(bytes)),
            )
        };
        [
            low[0], low[1], low[2], low[3], high[0], high[1], high[2], high[3],
        ]
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn load_scales(scales: &ColumnScales, block: usize, count: usize, out: *mut f32) {
        // SAFETY: the caller's promises.
        unsafe { neon::load_scales(scales, block, count, out) }
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn load_activations(x: PerRow<*const i8>) -> int8x16_t {
        // SAFETY: the caller's promise.
        unsafe { vld1q_s8(x[0]) }
    }

    /// `sdot` takes a lane of the vector itself.
    #[inline(always)]
    unsafe fn broadcast<const STEP: usize>(x: int8x16_t) -> int8x16_t {
        x
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn start(compensation: PerRow<*const i32>) -> int32x4_t {
        if BITS == 4 {
            // SAFETY: the caller's promise.
            vdupq_n_s32(unsafe { *compensation[0] })
        } else {
            vdupq_n_s32(0)
        }
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn zero_accumulator() -> int32x4_t {
        vdupq_n_s32(0)
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn add(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        vaddq_s32(a, b)
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn dot<const STEP: usize>(
        acc: int32x4_t,
        weights: int8x16_t,
        x: int8x16_t,
    ) -> int32x4_t {
        sdot::<STEP>(acc, weights, x)
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn finish(acc: int32x4_t, _: PerRow<*const i32>) -> float32x4_t {
        vcvtq_f32_s32(acc)
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn zero() -> float32x4_t {
        vdupq_n_f32(0.0)
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn load_sum(from: PerRow<*const f32>) -> float32x4_t {
        // SAFETY: the caller's promise.
        unsafe { vld1q_f32(from[0]) }
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn store_sum(to: PerRow<*mut f32>, sum: float32x4_t) {
        // SAFETY: the caller's promise.
        unsafe { vst1q_f32(to[0], sum) }
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn load_scale(from: *const f32) -> float32x4_t {
        // SAFETY: the caller's promise.
        unsafe { vld1q_f32(from) }
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn broadcast_scale(x_scale: PerRow<*const f32>) -> float32x4_t {
        // SAFETY: the caller's promise.
        vdupq_n_f32(unsafe { *x_scale[0] })
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn scale_add(
        dots: float32x4_t,
        x_scale: float32x4_t,
        w_scale: float32x4_t,
        sum: float32x4_t,
    ) -> float32x4_t {
        vfmaq_f32(sum, dots, vmulq_f32(w_scale, x_scale))
    }
}
