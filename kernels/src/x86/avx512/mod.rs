//! AVX-512 with VNNI: 16 columns per vector.
//!
//! A packed block of 16 columns is eight vectors. In vector `s`, lane `j`
//! holds four consecutive values of column `j` as unsigned bytes, as stored;
//! `vpdpbusd` multiplies them with four activations that are the same in all
//! lanes. The zero point is accounted for by starting from the correction
//! that the activations bring along.

mod gemv;
mod scales;

use std::arch::x86_64::*;
use std::hint::black_box;
use std::ops::Range;

use self::gemv::gemv;
use self::scales::ColumnScales;
use crate::column_ptrs::ColumnPtrs;
use crate::kernel::{Kernel, MicrokernelFns, Panel};
use crate::layout::{Bits, QuantizedMatrix};
use crate::quantize_activations::RowsView;
use crate::roofline::Peak;

const LANES: usize = 16;
/// Bytes of a packed block.
const PACKED: usize = LANES * 32;
const TILE_ROWS: usize = 6;
const GEMV_MAX_ROWS: usize = 4;

pub(crate) static KERNEL: Kernel = Kernel::simd(
    LANES,
    2,
    TILE_ROWS,
    GEMV_MAX_ROWS,
    Peak {
        run: peak,
        products: 12 * 64,
    },
    MicrokernelFns {
        chunk: 32,
        gemv,
        pack,
        gemm,
    },
);

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

/// One block of 16 columns as the eight vectors described above.
///
/// # Safety
/// `block` must be inside the columns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn unpack_block<const FOUR: bool>(
    columns: &ColumnPtrs<u8, LANES>,
    block: usize,
) -> [__m512i; 8] {
    // SAFETY: the offsets used are those of a block.
    let load = |lane: usize, offset: usize| unsafe {
        _mm_loadu_si128(columns.first[lane].add(offset).cast())
    };
    let (low, high) = if FOUR {
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

/// # Safety
/// As [`crate::kernel::Pack`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
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
        for (vector, packed) in vectors.into_iter().zip(packed.chunks_exact_mut(64)) {
            // SAFETY: 64 bytes.
            unsafe { _mm512_storeu_si512(packed.as_mut_ptr().cast(), vector) };
        }
    }
    let columns = ColumnScales::new(matrix.scales(), matrix.n(), column);
    let mut block = blocks.start;
    for packed in scales.chunks_mut(scales::BLOCKS * LANES) {
        let count = packed.len() / LANES;
        // SAFETY: these blocks are inside the columns.
        let vectors = unsafe { columns.read(block, count) };
        for (vector, packed) in vectors.into_iter().zip(packed.chunks_exact_mut(LANES)) {
            // SAFETY: 16 values of four bytes.
            unsafe { _mm512_storeu_ps(packed.as_mut_ptr(), vector) };
        }
        block += count;
    }
}

/// # Safety
/// As [`crate::kernel::Gemm`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
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
                (1, 1) => tile.multiply::<1, 1>(sums),
                (1, 2) => tile.multiply::<2, 1>(sums),
                (1, 3) => tile.multiply::<3, 1>(sums),
                (1, 4) => tile.multiply::<4, 1>(sums),
                (1, 5) => tile.multiply::<5, 1>(sums),
                (1, _) => tile.multiply::<6, 1>(sums),
                (_, 1) => tile.multiply::<1, 2>(sums),
                (_, 2) => tile.multiply::<2, 2>(sums),
                (_, 3) => tile.multiply::<3, 2>(sums),
                (_, 4) => tile.multiply::<4, 2>(sums),
                (_, 5) => tile.multiply::<5, 2>(sums),
                (_, _) => tile.multiply::<6, 2>(sums),
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
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn multiply<const R: usize, const G: usize>(&self, sums: &mut [f32]) {
        let rows = self.rows;
        let count = self.blocks.len();
        assert!(self.panel.quants.len() == G * count * PACKED);
        assert!(self.panel.scales.len() == G * count * LANES);
        assert!(sums.len() >= (R - 1) * self.width + G * LANES);
        let quants = self.panel.quants.as_ptr();
        let scales = self.panel.scales.as_ptr();
        let first = self.blocks.start;
        // SAFETY: inside by the caller's promise and the assertions above.
        unsafe {
            let x = rows
                .quants
                .as_ptr()
                .add(self.row * rows.stride + first * 32);
            let of_row = self.row * rows.blocks + first;
            let x_scales = rows.scales.as_ptr().add(of_row);
            let compensation = rows.compensation.as_ptr().add(of_row);
            let sum = |r: usize, g: usize| r * self.width + g * LANES;
            let mut totals = [[_mm512_setzero_ps(); G]; R];
            if first > 0 {
                for (r, totals) in totals.iter_mut().enumerate() {
                    for (g, total) in totals.iter_mut().enumerate() {
                        *total = _mm512_loadu_ps(sums.as_ptr().add(sum(r, g)));
                    }
                }
            }
            for block in 0..count {
                let mut dots = [[_mm512_setzero_si512(); G]; R];
                for (r, dots) in dots.iter_mut().enumerate() {
                    let start = _mm512_set1_epi32(*compensation.add(r * rows.blocks + block));
                    *dots = [start; G];
                }
                for s in 0..8 {
                    let mut weights = [_mm512_setzero_si512(); G];
                    for (g, weights) in weights.iter_mut().enumerate() {
                        let at = (g * count + block) * PACKED + s * 64;
                        *weights = _mm512_loadu_si512(quants.add(at).cast());
                    }
                    for (r, dots) in dots.iter_mut().enumerate() {
                        let at = r * rows.stride + block * 32 + s * 4;
                        let x = pin_register(_mm512_set1_epi32(
                            x.add(at).cast::<i32>().read_unaligned(),
                        ));
                        for (dots, weights) in dots.iter_mut().zip(weights) {
                            *dots = _mm512_dpbusd_epi32(*dots, weights, x);
                        }
                    }
                }
                let mut weight_scales = [_mm512_setzero_ps(); G];
                for (g, scale) in weight_scales.iter_mut().enumerate() {
                    *scale = _mm512_loadu_ps(scales.add((g * count + block) * LANES));
                }
                for r in 0..R {
                    let x_scale = _mm512_set1_ps(*x_scales.add(r * rows.blocks + block));
                    for g in 0..G {
                        let dot = _mm512_cvtepi32_ps(dots[r][g]);
                        let scale = _mm512_mul_ps(x_scale, weight_scales[g]);
                        totals[r][g] = _mm512_fmadd_ps(dot, scale, totals[r][g]);
                    }
                }
            }
            for (r, totals) in totals.iter().enumerate() {
                for (g, total) in totals.iter().enumerate() {
                    _mm512_storeu_ps(sums.as_mut_ptr().add(sum(r, g)), *total);
                }
            }
        }
    }
}

/// The same vector, in a register: the compiler would otherwise load it again for
/// every product, and do all products of a row one after the other, each waiting
/// for the one before.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn pin_register(mut x: __m512i) -> __m512i {
    // SAFETY: no instruction.
    unsafe {
        std::arch::asm!("/* {0} */", inout(zmm_reg) x, options(nomem, nostack, preserves_flags));
    }
    x
}

/// # Safety
/// Needs the instruction set.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn peak(rounds: usize) -> i32 {
    let mut dots = [_mm512_setzero_si512(); 12];
    let (a, b) = (_mm512_set1_epi8(3), _mm512_set1_epi8(-5));
    for _ in 0..rounds {
        let (a, b) = (black_box(a), b);
        for dot in &mut dots {
            *dot = _mm512_dpbusd_epi32(*dot, a, b);
        }
    }
    dots.into_iter()
        .map(|dot| _mm512_reduce_add_epi32(dot))
        .fold(0, i32::wrapping_add)
}
