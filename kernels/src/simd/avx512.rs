//! The integer microkernel of AVX-512 with VNNI: 16 columns per vector.
//!
//! A packed block is eight vectors. In vector `s`, lane `j` holds four
//! consecutive values of column `j` as unsigned bytes, as stored; `vpdpbusd`
//! multiplies them with four activations that are the same in all lanes. The
//! accumulator starts from the compensation for the zero point.

use std::arch::x86_64::*;

use half::f16;

use super::microkernel::{ColumnPtrs, ColumnScales, Microkernel, PerRow, bits, with_features};
use crate::layout::Bits;

pub(super) const LANES: usize = 16;
/// Blocks whose scales are read together.
pub(super) const SCALE_BATCH: usize = 8;

/// The most rows that `avx512_gemv` takes.
pub(super) const GEMV_MAX_ROWS: usize = 4;

/// AVX-512 F, BW, VL and VNNI, weights of `BITS` bits.
pub(crate) struct Avx512Vnni<const BITS: u8>;

/// What `load` gives for each of 16 columns: quarter `i` of vector `j` is that of column
/// `4 i + j`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn load_columns(load: impl Fn(usize) -> __m128i) -> [__m512i; 4] {
    let four = |j: usize| {
        let low = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(load(j)), load(j + 4));
        let high = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(load(j + 8)), load(j + 12));
        _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
    };
    [four(0), four(1), four(2), four(3)]
}

/// Four 32-bit words of every column, gathered and turned: vector `i` holds word `i` of
/// column `j` in lane `j`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn transpose_words(load: impl Fn(usize) -> __m128i) -> [__m512i; 4] {
    let [a, b, c, d] = load_columns(load);
    let (ab_low, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let (cd_low, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    [
        _mm512_unpacklo_epi64(ab_low, cd_low),
        _mm512_unpackhi_epi64(ab_low, cd_low),
        _mm512_unpacklo_epi64(ab_high, cd_high),
        _mm512_unpackhi_epi64(ab_high, cd_high),
    ]
}

/// One block of 16 columns as unsigned bytes, as stored.
///
/// # Safety
/// `block` must be inside the columns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn unpack_block<const BITS: u8>(columns: &ColumnPtrs<u8>, block: usize) -> [__m512i; 8] {
    // SAFETY: the offsets used are those of a block.
    let load = |lane: usize, offset: usize| unsafe {
        _mm_loadu_si128(columns.first[lane].add(offset).cast())
    };
    let (low, high) = if BITS == 4 {
        // 16 bytes, with two weights in each.
        let words = transpose_words(|lane| load(lane, block * 16));
        let mask = _mm512_set1_epi8(0x0f);
        (
            words.map(|word| _mm512_and_si512(word, mask)),
            words.map(|word| _mm512_and_si512(_mm512_srli_epi16::<4>(word), mask)),
        )
    } else {
        // 32 bytes.
        (
            transpose_words(|lane| load(lane, block * 32)),
            transpose_words(|lane| load(lane, block * 32 + 16)),
        )
    };
    [
        low[0], low[1], low[2], low[3], high[0], high[1], high[2], high[3],
    ]
}

/// The scales of `count` blocks, at most [`SCALE_BATCH`], one vector for each;
/// the others are zero.
///
/// # Safety
/// The blocks must be inside the columns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn read_scales(
    scales: &ColumnScales,
    block: usize,
    count: usize,
) -> [__m512; SCALE_BATCH] {
    let mask = ((1_u32 << count) - 1) as __mmask8;
    match scales {
        ColumnScales::F32(columns) => {
            // SAFETY: the masks leave the scales of `count` blocks.
            let (low, high) = unsafe {
                (
                    four_singles(columns, block, mask & 15),
                    four_singles(columns, block + 4, mask >> 4),
                )
            };
            [
                low[0], low[1], low[2], low[3], high[0], high[1], high[2], high[3],
            ]
        }
        // SAFETY: the mask leaves the scales of `count` blocks.
        ColumnScales::F16(columns) => unsafe { eight_halves(columns, block, mask) },
    }
}

/// The scales of the four blocks from `block` that the mask names.
///
/// # Safety
/// These must be inside the columns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn four_singles(columns: &ColumnPtrs<f32>, block: usize, mask: __mmask8) -> [__m512; 4] {
    // SAFETY: what the mask leaves out is not read.
    let load = |lane: usize| unsafe {
        _mm_maskz_loadu_epi32(mask, columns.first[lane].wrapping_add(block).cast())
    };
    transpose_words(load).map(|words| _mm512_castsi512_ps(words))
}

/// The scales of the eight blocks from `block` that the mask names.
///
/// # Safety
/// These must be inside the columns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn eight_halves(
    columns: &ColumnPtrs<f16>,
    block: usize,
    mask: __mmask8,
) -> [__m512; SCALE_BATCH] {
    // SAFETY: what the mask leaves out is not read.
    let load = |lane: usize| unsafe {
        _mm_maskz_loadu_epi16(mask, columns.first[lane].wrapping_add(block).cast())
    };
    let [a, b, c, d] = load_columns(load);
    let (ab_low, ab_high) = (_mm512_unpacklo_epi16(a, b), _mm512_unpackhi_epi16(a, b));
    let (cd_low, cd_high) = (_mm512_unpacklo_epi16(c, d), _mm512_unpackhi_epi16(c, d));
    // Each quarter of these holds one block of four columns, then the next block.
    let pairs = [
        _mm512_unpacklo_epi32(ab_low, cd_low),
        _mm512_unpackhi_epi32(ab_low, cd_low),
        _mm512_unpacklo_epi32(ab_high, cd_high),
        _mm512_unpackhi_epi32(ab_high, cd_high),
    ];
    let order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    let mut scales = [_mm512_setzero_ps(); SCALE_BATCH];
    for (pair, scales) in pairs.into_iter().zip(scales.chunks_exact_mut(2)) {
        let pair = _mm512_permutexvar_epi64(order, pair);
        scales[0] = _mm512_cvtph_ps(_mm512_castsi512_si256(pair));
        scales[1] = _mm512_cvtph_ps(_mm512_extracti64x4_epi64::<1>(pair));
    }
    scales
}

/// Keeps a vector in a register. The compiler would otherwise fold the broadcast
/// load into every product, and order all products of a row one after the other,
/// each waiting for the one before.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn pin_register(mut x: __m512i) -> __m512i {
    // SAFETY: no instruction.
    unsafe {
        std::arch::asm!("/* {0} */", inout(zmm_reg) x, options(nomem, nostack, preserves_flags));
    }
    x
}

// SAFETY: intrinsics of the features in `with_features`.
unsafe impl<const BITS: u8> Microkernel for Avx512Vnni<BITS> {
    const BITS: Bits = bits(BITS);
    const LANES: usize = LANES;
    const ROWS: usize = 1;
    const MR: usize = 6;
    const NR: usize = 2;
    const LOADS: usize = 1;
    const STEPS: usize = 8;
    const SUMS_IN_REGISTERS: bool = true;
    const TWO_CHAINS: bool = false;
    const GEMV_MAX_ROWS: usize = GEMV_MAX_ROWS;
    const SCALE_BATCH: usize = SCALE_BATCH;

    type Weights = __m512i;
    type Block = [__m512i; 8];
    type Activations = *const i8;
    type Operand = __m512i;
    type Accumulator = __m512i;
    type Sum = __m512;

    with_features!("avx512f,avx512bw,avx512vl,avx512vnni");

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn unpack(columns: &ColumnPtrs<u8>, block: usize) -> [__m512i; 8] {
        // SAFETY: the caller's promise.
        unsafe { unpack_block::<BITS>(columns, block) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn load_scales(scales: &ColumnScales, block: usize, count: usize, out: *mut f32) {
        // SAFETY: the caller's promises.
        unsafe {
            let vectors = read_scales(scales, block, count);
            for (i, vector) in vectors.into_iter().take(count).enumerate() {
                _mm512_storeu_ps(out.add(i * LANES), vector);
            }
        }
    }

    #[inline(always)]
    unsafe fn load_activations(x: PerRow<*const i8>) -> *const i8 {
        x[0]
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn broadcast<const STEP: usize>(x: *const i8) -> __m512i {
        // SAFETY: four bytes of a block.
        let x = unsafe { x.add(STEP * 4).cast::<i32>().read_unaligned() };
        pin_register(_mm512_set1_epi32(x))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn start(compensation: PerRow<*const i32>) -> __m512i {
        // SAFETY: the caller's promise.
        _mm512_set1_epi32(unsafe { *compensation[0] })
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn zero_accumulator() -> __m512i {
        _mm512_setzero_si512()
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn add(a: __m512i, b: __m512i) -> __m512i {
        _mm512_add_epi32(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn dot<const STEP: usize>(acc: __m512i, weights: __m512i, x: __m512i) -> __m512i {
        _mm512_dpbusd_epi32(acc, weights, x)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn finish(acc: __m512i, _: PerRow<*const i32>) -> __m512 {
        _mm512_cvtepi32_ps(acc)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn zero() -> __m512 {
        _mm512_setzero_ps()
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn load_sum(from: PerRow<*const f32>) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_ps(from[0]) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn store_sum(to: PerRow<*mut f32>, sum: __m512) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_ps(to[0], sum) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn load_scale(from: *const f32) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn broadcast_scale(x_scale: PerRow<*const f32>) -> __m512 {
        // SAFETY: the caller's promise.
        _mm512_set1_ps(unsafe { *x_scale[0] })
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn scale_add(dots: __m512, x_scale: __m512, w_scale: __m512, sum: __m512) -> __m512 {
        _mm512_fmadd_ps(dots, _mm512_mul_ps(x_scale, w_scale), sum)
    }
}
