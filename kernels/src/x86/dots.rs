//! Dot products of four bytes per lane with AVX2: three ways, none of which
//! overflows.

use std::arch::asm;
use std::arch::x86_64::*;

/// The integer dot products of one block, one per lane.
///
/// # Safety
/// All functions need AVX2, FMA and F16C, and what else the implementation says.
pub(super) unsafe trait Dots {
    /// Whether packed weights have their zero point taken off.
    const SIGNED: bool;

    /// Before the first step.
    unsafe fn start(compensation: i32) -> __m256i;

    /// Adds the products of four values per lane.
    unsafe fn step(dots: __m256i, weights: __m256i, x: __m256i) -> __m256i;

    /// After the eighth step.
    unsafe fn finish(dots: __m256i, compensation: i32) -> __m256i;
}

/// Unsigned weights of either width with `vpdpbusd`; needs AVX-VNNI.
pub(super) struct Vnni;

// SAFETY: as the trait asks.
unsafe impl Dots for Vnni {
    const SIGNED: bool = false;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn start(compensation: i32) -> __m256i {
        _mm256_set1_epi32(compensation)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn step(mut dots: __m256i, weights: __m256i, x: __m256i) -> __m256i {
        // The intrinsic would need its own target feature on every caller.
        // SAFETY: the caller has AVX-VNNI; the instruction only touches its
        // operands.
        unsafe {
            asm!(
                "{{vex}} vpdpbusd {dots}, {weights}, {x}",
                dots = inout(ymm_reg) dots,
                weights = in(ymm_reg) weights,
                x = in(ymm_reg) x,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        dots
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn finish(dots: __m256i, _: i32) -> __m256i {
        dots
    }
}

/// Unsigned 4-bit weights: a pair of products is at most 2 * 15 * 127, so the
/// eight pairs of a block fit 16 bits.
pub(super) struct Nibbles;

// SAFETY: as the trait asks.
unsafe impl Dots for Nibbles {
    const SIGNED: bool = false;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn start(_: i32) -> __m256i {
        _mm256_setzero_si256()
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn step(dots: __m256i, weights: __m256i, x: __m256i) -> __m256i {
        _mm256_add_epi16(dots, _mm256_maddubs_epi16(weights, x))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn finish(dots: __m256i, compensation: i32) -> __m256i {
        let dots = _mm256_madd_epi16(dots, _mm256_set1_epi16(1));
        _mm256_add_epi32(dots, _mm256_set1_epi32(compensation))
    }
}

/// Signed 8-bit weights: the sign moves to the activation, so that a pair of
/// products is at most 2 * 128 * 127, which just fits 16 bits.
pub(super) struct Bytes;

// SAFETY: as the trait asks.
unsafe impl Dots for Bytes {
    const SIGNED: bool = true;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn start(_: i32) -> __m256i {
        _mm256_setzero_si256()
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn step(dots: __m256i, weights: __m256i, x: __m256i) -> __m256i {
        let magnitudes = _mm256_abs_epi8(weights);
        let pairs = _mm256_maddubs_epi16(magnitudes, _mm256_sign_epi8(x, weights));
        _mm256_add_epi32(dots, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn finish(dots: __m256i, _: i32) -> __m256i {
        dots
    }
}
