//! What the NEON microkernels share: transposing, and the scales of 4 columns.

use std::arch::aarch64::*;

use half::f16;

use super::microkernel::ColumnScales;

/// Columns of a group.
pub(super) const LANES: usize = 4;

/// Reads the scales of `count` blocks, at most four, of 4 columns.
///
/// # Safety
/// As [`super::microkernel::Microkernel::load_scales`].
#[inline]
#[target_feature(enable = "neon")]
pub(super) unsafe fn load_scales(scales: &ColumnScales, block: usize, count: usize, out: *mut f32) {
    // SAFETY: the caller's promises; vectors are read where four blocks are
    // inside the columns.
    unsafe {
        if count < 4 {
            scales.copy_partial(LANES, block, count, out);
            return;
        }
        let mut columns = [vdupq_n_u32(0); LANES];
        for (lane, column) in columns.iter_mut().enumerate() {
            let four = match scales {
                ColumnScales::F32(columns) => vld1q_f32(columns.first[lane].add(block)),
                ColumnScales::F16(columns) => load_f16(columns.first[lane].add(block)),
            };
            *column = vreinterpretq_u32_f32(four);
        }
        for (i, words) in transpose4(columns).into_iter().enumerate() {
            vst1q_f32(out.add(i * LANES), vreinterpretq_f32_u32(words));
        }
    }
}

/// Four half-precision values in single precision; exact.
///
/// # Safety
/// They must be readable.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load_f16(from: *const f16) -> float32x4_t {
    // SAFETY: the caller's promise.
    vcvt_f32_f16(vreinterpret_f16_u16(unsafe { vld1_u16(from.cast()) }))
}

/// Transposes a matrix of 4 by 4 words.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn transpose4([a, b, c, d]: [uint32x4_t; 4]) -> [uint32x4_t; 4] {
    let (ab_even, ab_odd) = (vtrn1q_u32(a, b), vtrn2q_u32(a, b));
    let (cd_even, cd_odd) = (vtrn1q_u32(c, d), vtrn2q_u32(c, d));
    let low = |ab, cd| {
        vreinterpretq_u32_u64(vtrn1q_u64(
            vreinterpretq_u64_u32(ab),
            vreinterpretq_u64_u32(cd),
        ))
    };
    let high = |ab, cd| {
        vreinterpretq_u32_u64(vtrn2q_u64(
            vreinterpretq_u64_u32(ab),
            vreinterpretq_u64_u32(cd),
        ))
    };
    [
        low(ab_even, cd_even),
        low(ab_odd, cd_odd),
        high(ab_even, cd_even),
        high(ab_odd, cd_odd),
    ]
}

/// The low and the high half of every byte.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn nibbles(bytes: uint8x16_t) -> [int8x16_t; 2] {
    [
        vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(0x0f))),
        vreinterpretq_s8_u8(vshrq_n_u8::<4>(bytes)),
    ]
}

/// Unsigned bytes less their zero point of 128.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn signed(bytes: uint8x16_t) -> int8x16_t {
    vreinterpretq_s8_u8(veorq_u8(bytes, vdupq_n_u8(0x80)))
}
