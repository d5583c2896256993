//! Kernels for aarch64.
//!
//! The instructions themselves are written as assembly, one at a time, since
//! their intrinsics are not stable yet.

pub(crate) mod dotprod;
pub(crate) mod i8mm;

use std::arch::aarch64::*;
use std::arch::asm;

use half::f16;

use crate::column_ptrs::ColumnPtrs;
use crate::layout::Scales;

/// The scales of 4 columns.
enum ColumnScales {
    F32(ColumnPtrs<f32, 4>),
    F16(ColumnPtrs<f16, 4>),
}

impl ColumnScales {
    fn new(scales: Scales<'_>, n: usize, column: usize) -> Self {
        match scales {
            Scales::F32(scales) => Self::F32(ColumnPtrs::new(scales, n, column)),
            Scales::F16(scales) => Self::F16(ColumnPtrs::new(scales, n, column)),
        }
    }

    /// The scales of `count` blocks, at most four: vector `i` holds those of
    /// block `i` for every column. The vectors beyond `count` are zero.
    ///
    /// # Safety
    /// The blocks must be inside the columns.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_partial(&self, block: usize, count: usize) -> [float32x4_t; 4] {
        let mut scales = [vdupq_n_f32(0.0); 4];
        for (lane, scales) in scales.iter_mut().enumerate() {
            // SAFETY: `count` scales from here are inside the column.
            *scales = unsafe {
                match self {
                    Self::F32(columns) if count == 4 => vld1q_f32(columns.first[lane].add(block)),
                    Self::F32(columns) => {
                        let mut some = [0.0; 4];
                        for (i, some) in some.iter_mut().enumerate().take(count) {
                            *some = *columns.first[lane].add(block + i);
                        }
                        vld1q_f32(some.as_ptr())
                    }
                    Self::F16(columns) if count == 4 => {
                        f16_to_f32(vld1_u16(columns.first[lane].add(block).cast()))
                    }
                    Self::F16(columns) => {
                        let mut some = [0; 4];
                        for (i, some) in some.iter_mut().enumerate().take(count) {
                            *some = (*columns.first[lane].add(block + i)).to_bits();
                        }
                        f16_to_f32(vld1_u16(some.as_ptr()))
                    }
                }
            };
        }
        let words = transpose4(scales.map(|scales| vreinterpretq_u32_f32(scales)));
        words.map(|words| vreinterpretq_f32_u32(words))
    }
}

/// Four halves as single precision; exact.
#[inline]
#[target_feature(enable = "neon")]
fn f16_to_f32(halves: uint16x4_t) -> float32x4_t {
    let wide: float32x4_t;
    // SAFETY: the instruction is part of the base set and only touches its
    // operands.
    unsafe {
        asm!(
            "fcvtl {wide:v}.4s, {halves:v}.4h",
            wide = out(vreg) wide,
            halves = in(vreg) halves,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    wide
}

/// A matrix of 4 by 4 words, turned.
#[inline]
#[target_feature(enable = "neon")]
fn transpose4([a, b, c, d]: [uint32x4_t; 4]) -> [uint32x4_t; 4] {
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
