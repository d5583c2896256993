//! Activations, quantised per block of 32 to 8 bits.
//!
//! For a block whose largest magnitude is `a`, the scale is `a / 127` and a
//! value `x` becomes `x * (127 / a)`, rounded to the nearest integer, ties to
//! even. Two cases are special:
//!
//! * below [`TINY`], where `127 / a` is near overflow, the block counts as zero;
//! * a block that holds a NaN or an infinity gets the scale NaN and zeros for
//!   values, so that every output that depends on it is NaN. A broken
//!   activation is never turned into a finite answer.
//!
//! The portable code below is the specification. Every step is exact or
//! correctly rounded, so the versions for other instruction sets give the same
//! bits.

use crate::disjoint::Disjoint;
use crate::error::ShapeError;
use crate::isa::Isa;
use crate::layout::{BLOCK, Bits, check_length, whole_blocks};
use crate::pool::Pool;

/// Blocks whose largest magnitude is below this count as zero: 2^-110.
pub const TINY: f32 = f32::from_bits((127 - 110) << 23);

/// Quantising fewer values than this is not worth waking a worker.
const PARALLEL: usize = 1 << 15;

/// Activations that have been quantised, ready for any number of products.
///
/// Rows that feed several matrices (query, key and value; gate and up) are
/// quantised once.
#[derive(Clone, Debug)]
pub struct QuantizedRows {
    m: usize,
    k: usize,
    /// Values in the order of `k`, for 8-bit weights.
    natural: Ordered,
    /// In each block first the 16 values of even `k`, then those of odd `k`:
    /// the order in which 4-bit weights come apart.
    paired: Ordered,
    /// `[m, k / 32]`
    scales: Vec<f32>,
}

/// Quantised values in one order.
#[derive(Clone, Debug)]
struct Ordered {
    /// `m` rows of `stride` bytes, each row beginning on a line of 64 bytes.
    lines: Vec<Line>,
    /// `[m, k / 32]`: what must be added to a dot product with the stored
    /// unsigned weights of a block to account for their zero point.
    corrections: Vec<i32>,
}

#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
struct Line([i8; LINE]);

const LINE: usize = 64;

/// One order of the quantised values as the kernels take it: raw pointers,
/// since they step through it with vector loads.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// The number of rows.
    pub(crate) m: usize,
    /// The number of blocks in a row.
    pub(crate) blocks: usize,
    /// Row `i` begins at `i * stride` and holds `blocks * 32` values.
    pub(crate) quants: &'a [i8],
    /// The distance of two rows in `quants`.
    pub(crate) stride: usize,
    /// `[m, blocks]`
    pub(crate) scales: &'a [f32],
    /// `[m, blocks]`: minus the zero point times the sum of the block.
    pub(crate) corrections: &'a [i32],
}

impl QuantizedRows {
    /// Quantises rows of `k` values each.
    pub fn quantize(pool: &Pool, x: &[f32], k: usize) -> Result<Self, ShapeError> {
        let mut rows = Self::empty();
        rows.fill(pool, x, k)?;
        Ok(rows)
    }

    /// No rows.
    pub(crate) const fn empty() -> Self {
        Self {
            m: 0,
            k: 0,
            natural: Ordered::empty(),
            paired: Ordered::empty(),
            scales: Vec::new(),
        }
    }

    /// Quantises rows of `k` values each, in the memory of those before.
    pub(crate) fn fill(&mut self, pool: &Pool, x: &[f32], k: usize) -> Result<(), ShapeError> {
        let blocks = whole_blocks(k)?;
        let m = x.len() / k;
        check_length("activations", m * k, x.len())?;
        (self.m, self.k) = (m, k);
        self.natural.resize(m, k);
        self.paired.resize(m, k);
        self.scales.resize(m * blocks, 0.0);
        let rows = self;
        if m == 0 {
            return Ok(());
        }
        let lines = lines_per_row(k);
        let scales = Disjoint::new(&mut rows.scales);
        let natural = rows.natural.parts();
        let paired = rows.paired.parts();
        let isa = pool.isa();
        let tasks = (m * k).div_ceil(PARALLEL).min(m);
        let rows_per_task = m.div_ceil(tasks);
        pool.run(m.div_ceil(rows_per_task), |task| {
            for row in task * rows_per_task..m.min((task + 1) * rows_per_task) {
                let by_block = row * blocks..(row + 1) * blocks;
                let by_line = row * lines..(row + 1) * lines;
                // SAFETY: every row belongs to one task, and the parts of
                // different rows do not overlap.
                let target = unsafe {
                    Row {
                        natural: as_values(natural.0.part(by_line.clone())),
                        paired: as_values(paired.0.part(by_line)),
                        for_eight: natural.1.part(by_block.clone()),
                        for_four: paired.1.part(by_block.clone()),
                        scales: scales.part(by_block),
                    }
                };
                quantize_row(isa, &x[row * k..(row + 1) * k], target);
            }
        });
        Ok(())
    }

    /// The number of rows.
    #[must_use]
    pub fn m(&self) -> usize {
        self.m
    }

    /// The inner dimension.
    #[must_use]
    pub fn k(&self) -> usize {
        self.k
    }

    /// The scales, one per row and block.
    #[must_use]
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// The quantised values of one row, in their natural order.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn row(&self, row: usize) -> &[i8] {
        assert!(row < self.m);
        let rows = self.ordered(Bits::Eight);
        &rows.quants[row * rows.stride..][..self.k]
    }

    /// The values in the order that goes with weights of this width.
    pub(crate) fn ordered(&self, bits: Bits) -> Rows<'_> {
        let ordered = match bits {
            Bits::Four => &self.paired,
            Bits::Eight => &self.natural,
        };
        Rows {
            m: self.m,
            blocks: self.k / BLOCK,
            quants: ordered.values(),
            stride: lines_per_row(self.k) * LINE,
            scales: &self.scales,
            corrections: &ordered.corrections,
        }
    }
}

impl Ordered {
    const fn empty() -> Self {
        Self {
            lines: Vec::new(),
            corrections: Vec::new(),
        }
    }

    /// Room for `m` rows; what is in it has no meaning.
    fn resize(&mut self, m: usize, k: usize) {
        self.lines.resize(m * lines_per_row(k), Line([0; LINE]));
        self.corrections.resize(m * (k / BLOCK), 0);
    }

    fn parts(&mut self) -> (Disjoint<'_, Line>, Disjoint<'_, i32>) {
        (
            Disjoint::new(&mut self.lines),
            Disjoint::new(&mut self.corrections),
        )
    }

    fn values(&self) -> &[i8] {
        // SAFETY: a `Line` is 64 values without padding, and `i8` asks for no
        // alignment.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.lines.len() * LINE) }
    }
}

fn as_values(lines: &mut [Line]) -> &mut [i8] {
    // SAFETY: as in `Ordered::values`; the borrow stays exclusive.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * LINE) }
}

/// An odd number of lines, so that the same column of consecutive rows never
/// falls on the same cache set.
fn lines_per_row(k: usize) -> usize {
    k.div_ceil(LINE) | 1
}

/// Where one quantised row goes.
pub(crate) struct Row<'a> {
    pub(crate) natural: &'a mut [i8],
    pub(crate) paired: &'a mut [i8],
    pub(crate) for_eight: &'a mut [i32],
    pub(crate) for_four: &'a mut [i32],
    pub(crate) scales: &'a mut [f32],
}

fn quantize_row(isa: Isa, x: &[f32], row: Row<'_>) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::AvxVnni | Isa::Avx512Vnni => {
            // SAFETY: a pool's instruction set is available, and all of these
            // include AVX2.
            unsafe { crate::x86::quantize::row(x, row) }
        }
        _ => portable(x, row),
    }
}

/// The specification.
fn portable(x: &[f32], row: Row<'_>) {
    let (blocks, _) = x.as_chunks::<BLOCK>();
    let (natural, _) = row.natural.as_chunks_mut::<BLOCK>();
    let (paired, _) = row.paired.as_chunks_mut::<BLOCK>();
    for (i, x) in blocks.iter().enumerate() {
        let (scale, inverse) = scale_and_inverse(largest_bits(x));
        let values = round_block(x, inverse);
        let sum: i32 = values.iter().sum();
        natural[i] = values.map(|value| value as i8);
        let order = &mut paired[i];
        for j in 0..BLOCK / 2 {
            order[j] = values[2 * j] as i8;
            order[BLOCK / 2 + j] = values[2 * j + 1] as i8;
        }
        row.scales[i] = scale;
        row.for_four[i] = -Bits::Four.zero_point() * sum;
        row.for_eight[i] = -Bits::Eight.zero_point() * sum;
    }
}

/// The bits of the largest magnitude. As integers, the bits of magnitudes are
/// ordered: finite numbers, infinity, NaN.
fn largest_bits(x: &[f32; BLOCK]) -> i32 {
    x.iter()
        .map(|v| (v.to_bits() & 0x7fff_ffff) as i32)
        .fold(0, i32::max)
}

/// The scale of a block, and what its values are multiplied with.
#[inline]
pub(crate) fn scale_and_inverse(largest_bits: i32) -> (f32, f32) {
    let largest = f32::from_bits(largest_bits as u32);
    if !largest.is_finite() {
        (f32::NAN, 0.0)
    } else if largest < TINY {
        (0.0, 0.0)
    } else {
        (largest / 127.0, 127.0 / largest)
    }
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

    fn quantize(x: &[f32], k: usize) -> QuantizedRows {
        QuantizedRows::quantize(&Pool::new(1).unwrap(), x, k).unwrap()
    }

    #[test]
    fn rounds_to_nearest_ties_to_even() {
        let mut x = [0.0; 32];
        x[..6].copy_from_slice(&[127.0, 0.5, 1.5, -0.5, -1.5, -127.0]);
        let rows = quantize(&x, 32);
        assert_eq!(rows.scales(), [1.0]);
        assert_eq!(&rows.row(0)[..6], &[127, 0, 2, 0, -2, -127]);
    }

    #[test]
    fn the_two_orders_hold_the_same_values() {
        let x: Vec<f32> = (0..64).map(|i| i as f32 - 20.0).collect();
        let rows = quantize(&x, 64);
        let (natural, paired) = (rows.ordered(Bits::Eight), rows.ordered(Bits::Four));
        for block in 0..2 {
            let natural = &natural.quants[block * 32..][..32];
            let paired = &paired.quants[block * 32..][..32];
            for j in 0..16 {
                assert_eq!(paired[j], natural[2 * j]);
                assert_eq!(paired[16 + j], natural[2 * j + 1]);
            }
            let sum: i32 = natural.iter().map(|v| i32::from(*v)).sum();
            assert_eq!(rows.ordered(Bits::Four).corrections[block], -8 * sum);
            assert_eq!(rows.ordered(Bits::Eight).corrections[block], -128 * sum);
        }
    }

    #[test]
    fn what_is_not_finite_is_never_hidden() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = [1.0; 64];
            x[40] = bad;
            let rows = quantize(&x, 64);
            assert!(rows.scales()[0].is_finite());
            assert!(rows.scales()[1].is_nan());
            assert_eq!(&rows.row(0)[32..], &[0; 32]);
        }
    }

    #[test]
    fn the_largest_and_the_smallest_numbers() {
        let rows = quantize(&[f32::MAX; 32], 32);
        assert!(rows.scales()[0].is_finite());
        assert_eq!(rows.row(0), [127; 32]);
        let rows = quantize(&[f32::MIN_POSITIVE / 2.0; 32], 32);
        assert_eq!((rows.scales()[0], rows.row(0)), (0.0, &[0; 32][..]));
        let rows = quantize(&[-TINY; 32], 32);
        assert!(rows.scales()[0].is_normal());
        assert_eq!(rows.row(0), [-127; 32]);
    }

    #[test]
    fn all_instruction_sets_agree_bit_for_bit() {
        let pool = Pool::new(2).unwrap();
        let mut state = 1_u32;
        let mut x: Vec<f32> = (0..33 * 96)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                f32::from_bits(state)
            })
            .collect();
        x[..32].fill(0.0);
        let scalar = pool.with_isa(crate::Isa::Scalar).unwrap();
        let expected = QuantizedRows::quantize(&scalar, &x, 96).unwrap();
        for isa in crate::Isa::available() {
            let rows = QuantizedRows::quantize(&pool.with_isa(isa).unwrap(), &x, 96).unwrap();
            let bits = |rows: &QuantizedRows| -> Vec<u32> {
                rows.scales.iter().map(|s| s.to_bits()).collect()
            };
            assert_eq!(bits(&rows), bits(&expected), "{isa}");
            for width in [Bits::Four, Bits::Eight] {
                let (a, b) = (rows.ordered(width), expected.ordered(width));
                assert_eq!(a.quants, b.quants, "{isa}");
                assert_eq!(a.corrections, b.corrections, "{isa}");
            }
        }
    }
}
