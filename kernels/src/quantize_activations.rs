//! Activations, quantised per block of 32 to 8 bits.
//!
//! For a block whose largest magnitude is `a`, the scale is `a / 127` and a
//! value `x` becomes `x * (127 / a)`, rounded to the nearest integer, ties to
//! even. Two cases are special:
//!
//! * below [`MIN_BLOCK_MAGNITUDE`](crate::MIN_BLOCK_MAGNITUDE), where `127 / a`
//!   is near overflow, the block counts as zero;
//! * a block that holds a NaN or an infinity gets the scale NaN and zeros for
//!   values, so that every output that depends on it is NaN. A broken
//!   activation is never turned into a finite answer.
//!
//! The portable code below is the specification. Every step is exact or
//! correctly rounded, so the versions for other instruction sets give the same
//! bits.

use crate::activations::{QuantizedRow, RowsView, scale_and_inverse};
use crate::layout::{BLOCK, Bits};
use crate::shared_slice::SharedSliceMut;
use crate::simd::isa::Isa;
use crate::thread_pool::ThreadPool;

/// Quantising fewer values than this is not worth waking a worker.
const VALUES_PER_TASK: usize = 1 << 15;

/// Activations that have been quantised for weights of one width.
#[derive(Debug)]
pub(crate) struct QuantizedRows {
    m: usize,
    k: usize,
    /// `m` rows of whole lines. For 8-bit weights the values of a row are in the order
    /// of `k`; for 4-bit ones each block has first its 16 values of even `k`, then
    /// those of odd `k`: the order in which the weights come apart.
    lines: Vec<CacheLine>,
    /// `[m, k / 32]`
    scales: Vec<f32>,
    /// `[m, k / 32]`: what must be added to a dot product with the stored
    /// unsigned weights of a block to account for their zero point.
    compensation: Vec<i32>,
}

#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
struct CacheLine([i8; CACHE_LINE]);

const CACHE_LINE: usize = 64;

impl QuantizedRows {
    /// No rows.
    pub(crate) const fn empty() -> Self {
        Self {
            m: 0,
            k: 0,
            lines: Vec::new(),
            scales: Vec::new(),
            compensation: Vec::new(),
        }
    }

    /// Quantises rows of `k` values each, at least one, for weights of this width, in
    /// the memory of those before. `k` is a multiple of the block size.
    pub(crate) fn fill(&mut self, pool: &ThreadPool, x: &[f32], k: usize, bits: Bits) {
        let (m, blocks) = (x.len() / k, k / BLOCK);
        debug_assert!(m > 0 && x.len() == m * k && k.is_multiple_of(BLOCK));
        let lines = lines_per_row(k);
        (self.m, self.k) = (m, k);
        self.lines.resize(m * lines, CacheLine([0; CACHE_LINE]));
        self.scales.resize(m * blocks, 0.0);
        self.compensation.resize(m * blocks, 0);
        let scales = SharedSliceMut::new(&mut self.scales);
        let compensation = SharedSliceMut::new(&mut self.compensation);
        let values = SharedSliceMut::new(&mut self.lines);
        let isa = pool.isa();
        let tasks = (m * k).div_ceil(VALUES_PER_TASK).min(m);
        let rows_per_task = m.div_ceil(tasks);
        pool.run(m.div_ceil(rows_per_task), |task| {
            for row in task * rows_per_task..m.min((task + 1) * rows_per_task) {
                let by_block = row * blocks..(row + 1) * blocks;
                // SAFETY: every row belongs to one task, and the parts of
                // different rows do not overlap.
                let target = unsafe {
                    QuantizedRow {
                        values: as_i8_slice(values.slice_mut(row * lines..(row + 1) * lines)),
                        compensation: compensation.slice_mut(by_block.clone()),
                        scales: scales.slice_mut(by_block),
                    }
                };
                quantize_row(isa, bits, &x[row * k..(row + 1) * k], target);
            }
        });
    }

    /// Borrows the rows for the kernels.
    pub(crate) fn rows(&self) -> RowsView<'_> {
        RowsView {
            m: self.m,
            blocks: self.k / BLOCK,
            // SAFETY: a `CacheLine` is 64 values without padding, and `i8` asks for no
            // alignment.
            quants: unsafe {
                std::slice::from_raw_parts(
                    self.lines.as_ptr().cast(),
                    self.lines.len() * CACHE_LINE,
                )
            },
            stride: lines_per_row(self.k) * CACHE_LINE,
            scales: &self.scales,
            compensation: &self.compensation,
        }
    }
}

fn as_i8_slice(lines: &mut [CacheLine]) -> &mut [i8] {
    // SAFETY: a cache line is plain bytes, all of which are initialised; the borrow
    // stays exclusive.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * CACHE_LINE) }
}

/// An odd number of lines, so that the same column of consecutive rows never
/// falls on the same cache set.
fn lines_per_row(k: usize) -> usize {
    k.div_ceil(CACHE_LINE) | 1
}

fn quantize_row(isa: Isa, bits: Bits, x: &[f32], row: QuantizedRow<'_>) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::AvxVnni | Isa::Avx512Vnni => {
            // SAFETY: a pool's instruction set is available, and all of these
            // include AVX2.
            unsafe {
                match bits {
                    Bits::Four => crate::simd::avx2_quantize::row::<true>(x, row),
                    Bits::Eight => crate::simd::avx2_quantize::row::<false>(x, row),
                }
            }
        }
        _ => portable(x, bits, row),
    }
}

/// The specification.
fn portable(x: &[f32], bits: Bits, row: QuantizedRow<'_>) {
    let (blocks, _) = x.as_chunks::<BLOCK>();
    let (quantized, _) = row.values.as_chunks_mut::<BLOCK>();
    for (i, (x, quantized)) in blocks.iter().zip(quantized).enumerate() {
        let (scale, inverse) = scale_and_inverse(max_abs_bits(x));
        let values = round_block(x, inverse);
        match bits {
            Bits::Eight => *quantized = values.map(|value| value as i8),
            Bits::Four => {
                for j in 0..BLOCK / 2 {
                    quantized[j] = values[2 * j] as i8;
                    quantized[BLOCK / 2 + j] = values[2 * j + 1] as i8;
                }
            }
        }
        row.scales[i] = scale;
        row.compensation[i] = -bits.zero_point() * values.iter().sum::<i32>();
    }
}

/// The bits of the largest magnitude. As integers, the bits of magnitudes are
/// ordered: finite numbers, infinity, NaN.
fn max_abs_bits(x: &[f32; BLOCK]) -> i32 {
    x.iter()
        .map(|v| (v.to_bits() & 0x7fff_ffff) as i32)
        .fold(0, i32::max)
}

fn round_block(x: &[f32; BLOCK], inverse: f32) -> [i32; BLOCK] {
    // Adding 1.5 * 2^23 leaves the rounded integer in the low mantissa bits;
    // rounding is to nearest, ties to even, and exact for |v| < 2^22. NaN times
    // zero is the one value that does not obey, so it is masked away.
    const MAGIC: f32 = 12_582_912.0;
    let mask = if inverse == 0.0 { 0 } else { -1 };
    let mut values = [0; BLOCK];
    for (value, x) in values.iter_mut().zip(x) {
        let bits = (x * inverse + MAGIC).to_bits() as i32;
        *value = bits.wrapping_sub(MAGIC.to_bits() as i32) & mask;
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activations::MIN_BLOCK_MAGNITUDE;

    fn quantize(isa: Isa, x: &[f32], k: usize, bits: Bits) -> QuantizedRows {
        let pool = ThreadPool::new(2).unwrap().with_isa(isa).unwrap();
        let mut rows = QuantizedRows::empty();
        rows.fill(&pool, x, k, bits);
        rows
    }

    /// Of one row for 8-bit weights: its scales and its values.
    fn one_row(x: &[f32]) -> (Vec<f32>, Vec<i8>) {
        let rows = quantize(Isa::Scalar, x, x.len(), Bits::Eight);
        (
            rows.scales.clone(),
            rows.rows().quants[..x.len()].to_owned(),
        )
    }

    #[test]
    fn rounds_to_nearest_ties_to_even() {
        let mut x = [0.0; 32];
        x[..6].copy_from_slice(&[127.0, 0.5, 1.5, -0.5, -1.5, -127.0]);
        let (scales, values) = one_row(&x);
        assert_eq!(scales, [1.0]);
        assert_eq!(&values[..6], &[127, 0, 2, 0, -2, -127]);
    }

    #[test]
    fn the_two_orders_hold_the_same_values() {
        let x: Vec<f32> = (0..64).map(|i| i as f32 - 20.0).collect();
        let [natural, paired] =
            [Bits::Eight, Bits::Four].map(|bits| quantize(Isa::Scalar, &x, 64, bits));
        for block in 0..2 {
            let [of_eight, of_four] =
                [&natural, &paired].map(|rows| &rows.rows().quants[block * 32..][..32]);
            for j in 0..16 {
                assert_eq!(of_four[j], of_eight[2 * j]);
                assert_eq!(of_four[16 + j], of_eight[2 * j + 1]);
            }
            let sum: i32 = of_eight.iter().map(|v| i32::from(*v)).sum();
            assert_eq!(paired.compensation[block], -8 * sum);
            assert_eq!(natural.compensation[block], -128 * sum);
        }
    }

    #[test]
    fn what_is_not_finite_is_never_hidden() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = [1.0; 64];
            x[40] = bad;
            let (scales, values) = one_row(&x);
            assert!(scales[0].is_finite());
            assert!(scales[1].is_nan());
            assert_eq!(&values[32..], &[0; 32]);
        }
    }

    #[test]
    fn the_largest_and_the_smallest_numbers() {
        let (scales, values) = one_row(&[f32::MAX; 32]);
        assert!(scales[0].is_finite());
        assert_eq!(values, [127; 32]);
        let (scales, values) = one_row(&[f32::MIN_POSITIVE / 2.0; 32]);
        assert_eq!((scales[0], &values[..]), (0.0, &[0; 32][..]));
        let (scales, values) = one_row(&[-MIN_BLOCK_MAGNITUDE; 32]);
        assert!(scales[0].is_normal());
        assert_eq!(values, [-127; 32]);
    }

    #[test]
    fn all_instruction_sets_agree_bit_for_bit() {
        let mut state = 1_u32;
        let mut x: Vec<f32> = (0..33 * 96)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                f32::from_bits(state)
            })
            .collect();
        x[..32].fill(0.0);
        for bits in [Bits::Four, Bits::Eight] {
            let expected = quantize(Isa::Scalar, &x, 96, bits);
            for isa in Isa::available() {
                let rows = quantize(isa, &x, 96, bits);
                let of_scales = |rows: &QuantizedRows| -> Vec<u32> {
                    rows.scales.iter().map(|s| s.to_bits()).collect()
                };
                assert_eq!(of_scales(&rows), of_scales(&expected), "{isa}");
                assert_eq!(rows.rows().quants, expected.rows().quants, "{isa}");
                assert_eq!(rows.compensation, expected.compensation, "{isa}");
            }
        }
    }
}
