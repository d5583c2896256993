//! The integer microkernels of AVX2, with and without VNNI: 8 columns per
//! vector.
//!
//! A packed block is eight vectors. In vector `s`, lane `j` holds four
//! consecutive values of column `j` as bytes, to be multiplied with four
//! activations that are the same in all lanes. The three implementations
//! differ in how they avoid overflow of an intermediate sum.

use std::arch::asm;
use std::arch::x86_64::*;

use super::microkernel::{ColumnPtrs, ColumnScales, Microkernel, PerRow, bits, with_features};
use crate::layout::Bits;

const LANES: usize = 8;

/// AVX2 without VNNI, weights of `BITS` bits.
pub(crate) struct Avx2<const BITS: u8>;

/// AVX-VNNI (256-bit `vpdpbusd` in its VEX encoding), weights of `BITS` bits.
pub(crate) struct AvxVnni<const BITS: u8>;

/// Transposes the 8 by 4 matrix of 32-bit words at byte `offset` of each
/// column: vector `i` holds word `i` of every column.
///
/// # Safety
/// Every column must have 16 bytes at `offset`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn load_transposed<T>(columns: &ColumnPtrs<T>, offset: usize) -> [__m256i; 4] {
    // SAFETY: the caller promises 16 readable bytes at the offset; the loads
    // require no alignment.
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

/// One block of 8 columns as unsigned bytes, as stored.
///
/// # Safety
/// `block` must be inside the columns.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn unpack_block<const BITS: u8>(columns: &ColumnPtrs<u8>, block: usize) -> [__m256i; 8] {
    let (low, high) = if BITS == 4 {
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
    [
        low[0], low[1], low[2], low[3], high[0], high[1], high[2], high[3],
    ]
}

/// Four blocks at a time where the columns have as many.
///
/// # Safety
/// As [`Microkernel::load_scales`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn load_scales(scales: &ColumnScales, block: usize, count: usize, out: *mut f32) {
    // SAFETY: the caller's promises; four scales of four bytes are 16 bytes.
    unsafe {
        match scales {
            ColumnScales::F32(columns) if count == 4 => {
                for (i, words) in load_transposed(columns, block * 4).into_iter().enumerate() {
                    _mm256_storeu_si256(out.add(i * LANES).cast(), words);
                }
            }
            ColumnScales::F32(_) => scales.copy_partial(LANES, block, count, out),
            ColumnScales::F16(columns) => {
                for i in 0..count {
                    let mut halves = [0_u16; LANES];
                    for (lane, half) in halves.iter_mut().enumerate() {
                        *half = (*columns.first[lane].add(block + i)).to_bits();
                    }
                    let scales = _mm256_cvtph_ps(_mm_loadu_si128(halves.as_ptr().cast()));
                    _mm256_storeu_ps(out.add(i * LANES), scales);
                }
            }
        }
    }
}

/// The functions that all three have in common.
macro_rules! common {
    ($features:literal) => {
        const LANES: usize = LANES;
        const ROWS: usize = 1;
        const MR: usize = 4;
        const NR: usize = 2;
        const LOADS: usize = 1;
        const STEPS: usize = 8;
        // 8 accumulators, 2 weights and an operand leave no room in 16 registers.
        const SUMS_IN_REGISTERS: bool = false;
        const TWO_CHAINS: bool = false;
        const GEMV_MAX_ROWS: usize = 4;
        const SCALE_BATCH: usize = 4;

        type Weights = __m256i;
        type Block = [__m256i; 8];
        type Activations = *const i8;
        type Operand = __m256i;
        type Accumulator = __m256i;
        type Sum = __m256;

        with_features!($features);

        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn load_scales(scales: &ColumnScales, block: usize, count: usize, out: *mut f32) {
            // SAFETY: the caller's promises.
            unsafe { load_scales(scales, block, count, out) }
        }

        #[inline(always)]
        unsafe fn load_activations(x: PerRow<*const i8>) -> *const i8 {
            x[0]
        }

        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn broadcast<const STEP: usize>(x: *const i8) -> __m256i {
            // SAFETY: four bytes of a block.
            _mm256_set1_epi32(unsafe { x.add(STEP * 4).cast::<i32>().read_unaligned() })
        }

        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn zero_accumulator() -> __m256i {
            _mm256_setzero_si256()
        }

        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn zero() -> __m256 {
            _mm256_setzero_ps()
        }

        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn load_sum(from: PerRow<*const f32>) -> __m256 {
            // SAFETY: the caller's promise.
            unsafe { _mm256_loadu_ps(from[0]) }
        }

        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn store_sum(to: PerRow<*mut f32>, sum: __m256) {
            // SAFETY: the caller's promise.
            unsafe { _mm256_storeu_ps(to[0], sum) }
        }

        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn load_scale(from: *const f32) -> __m256 {
            // SAFETY: the caller's promise.
            unsafe { _mm256_loadu_ps(from) }
        }

        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn broadcast_scale(x_scale: PerRow<*const f32>) -> __m256 {
            // SAFETY: the caller's promise.
            _mm256_set1_ps(unsafe { *x_scale[0] })
        }

        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn scale_add(dots: __m256, x_scale: __m256, w_scale: __m256, sum: __m256) -> __m256 {
            _mm256_fmadd_ps(dots, _mm256_mul_ps(x_scale, w_scale), sum)
        }
    };
}

/// Unsigned 4-bit weights: a pair of products is at most 2 * 15 * 127, so the
/// eight pairs of a block fit 16 bits.
// SAFETY: intrinsics of the features in `with_features`.
unsafe impl Microkernel for Avx2<4> {
    const BITS: Bits = Bits::Four;

    common!("avx2,fma,f16c");

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn unpack(columns: &ColumnPtrs<u8>, block: usize) -> [__m256i; 8] {
        // SAFETY: the caller's promise.
        unsafe { unpack_block::<4>(columns, block) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn start(_: PerRow<*const i32>) -> __m256i {
        _mm256_setzero_si256()
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn add(a: __m256i, b: __m256i) -> __m256i {
        _mm256_add_epi16(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn dot<const STEP: usize>(acc: __m256i, weights: __m256i, x: __m256i) -> __m256i {
        let mut acc = _mm256_add_epi16(acc, _mm256_maddubs_epi16(weights, x));
        // No instruction, but it keeps the additions in this order. To shorten
        // the chain the compiler would sum the steps in pairs first, for which
        // there are not enough registers.
        // SAFETY: changes nothing.
        unsafe {
            asm!("/* {0} */", inout(ymm_reg) acc, options(pure, nomem, nostack, preserves_flags));
        }
        acc
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn finish(acc: __m256i, compensation: PerRow<*const i32>) -> __m256 {
        // SAFETY: the caller's promise.
        let compensation = _mm256_set1_epi32(unsafe { *compensation[0] });
        let dots = _mm256_madd_epi16(acc, _mm256_set1_epi16(1));
        _mm256_cvtepi32_ps(_mm256_add_epi32(dots, compensation))
    }
}

/// 8-bit weights without their zero point: the sign moves to the activation, so
/// that a pair of products is at most 2 * 128 * 127, which just fits 16 bits.
// SAFETY: intrinsics of the features in `with_features`.
unsafe impl Microkernel for Avx2<8> {
    const BITS: Bits = Bits::Eight;

    common!("avx2,fma,f16c");

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn unpack(columns: &ColumnPtrs<u8>, block: usize) -> [__m256i; 8] {
        let sign = _mm256_set1_epi8(-128);
        // SAFETY: the caller's promise.
        let vectors = unsafe { unpack_block::<8>(columns, block) };
        vectors.map(|vector| _mm256_xor_si256(vector, sign))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn start(_: PerRow<*const i32>) -> __m256i {
        _mm256_setzero_si256()
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn add(a: __m256i, b: __m256i) -> __m256i {
        _mm256_add_epi32(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn dot<const STEP: usize>(acc: __m256i, weights: __m256i, x: __m256i) -> __m256i {
        let magnitudes = _mm256_abs_epi8(weights);
        let pairs = _mm256_maddubs_epi16(magnitudes, _mm256_sign_epi8(x, weights));
        _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn finish(acc: __m256i, _: PerRow<*const i32>) -> __m256 {
        _mm256_cvtepi32_ps(acc)
    }
}

/// Unsigned weights of either width; the accumulator starts from the
/// compensation.
// SAFETY: intrinsics of the features in `with_features`.
unsafe impl<const BITS: u8> Microkernel for AvxVnni<BITS> {
    const BITS: Bits = bits(BITS);

    common!("avx2,fma,f16c,avxvnni");

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    unsafe fn unpack(columns: &ColumnPtrs<u8>, block: usize) -> [__m256i; 8] {
        // SAFETY: the caller's promise.
        unsafe { unpack_block::<BITS>(columns, block) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    unsafe fn start(compensation: PerRow<*const i32>) -> __m256i {
        // SAFETY: the caller's promise.
        _mm256_set1_epi32(unsafe { *compensation[0] })
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    unsafe fn add(a: __m256i, b: __m256i) -> __m256i {
        _mm256_add_epi32(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    unsafe fn dot<const STEP: usize>(acc: __m256i, weights: __m256i, x: __m256i) -> __m256i {
        _mm256_dpbusd_avx_epi32(acc, weights, x)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    unsafe fn finish(acc: __m256i, _: PerRow<*const i32>) -> __m256 {
        _mm256_cvtepi32_ps(acc)
    }
}
