//! The contract of an integer microkernel: what one instruction set brings to
//! the block-quantised matrix product.
//!
//! Packing, register tile, matrix-vector product and dispatch are written once,
//! in `gemm/`, over [`Microkernel`]. An implementation holds intrinsics and the
//! sizes that fit its register file, nothing else. `docs/kernel-notes.md` says
//! how to add one.
//!
//! One output column is one vector lane (or, where an accumulator holds two
//! rows, half of one). A *group* is the [`Microkernel::LANES`] columns of one
//! vector; a *block* is 32 consecutive values along `k` that share one scale.

use half::f16;

use crate::layout::{Bits, Scales};

/// The largest [`Microkernel::LANES`] of any implementation.
pub(crate) const MAX_LANES: usize = 16;
/// The largest [`Microkernel::SCALE_BATCH`] of any implementation.
pub(crate) const MAX_SCALE_BATCH: usize = 8;
/// The largest [`Microkernel::ROWS`] of any implementation.
pub(crate) const MAX_ROWS_PER_ACCUMULATOR: usize = 2;

/// One value for each row of an accumulator. Where [`Microkernel::ROWS`] is
/// one, both entries are the same.
pub(crate) type PerRow<T> = [T; MAX_ROWS_PER_ACCUMULATOR];

/// The width named by the const parameter of an implementation, 4 or 8.
pub(crate) const fn bits(count: u8) -> Bits {
    match count {
        4 => Bits::Four,
        8 => Bits::Eight,
        _ => panic!("weights have 4 or 8 bits"),
    }
}

/// Code that runs with the target features of a microkernel enabled.
pub(crate) trait SimdOp {
    /// What it returns.
    type Output;

    /// Must be `#[inline(always)]`: only then is it compiled with the features
    /// of the function that calls it.
    ///
    /// # Safety
    /// The operation's own conditions.
    unsafe fn run(self) -> Self::Output;
}

/// Defines [`Microkernel::with_features`] for a list of target features.
macro_rules! with_features {
    ($features:literal) => {
        #[inline(always)]
        unsafe fn with_features<O: $crate::simd::microkernel::SimdOp>(op: O) -> O::Output {
            #[target_feature(enable = $features)]
            unsafe fn shell<O: $crate::simd::microkernel::SimdOp>(op: O) -> O::Output {
                // SAFETY: the caller's promises.
                unsafe { op.run() }
            }
            // SAFETY: the caller's promises, the features included.
            unsafe { shell(op) }
        }
    };
}
pub(crate) use with_features;

/// Integer dot products and their scaling with one instruction set, for weights
/// of one width.
///
/// For every column the tile computes, block by block,
/// `sum = fma(dot, x_scale * w_scale, sum)`, where `dot` is the exact integer
/// dot product of the 32 quantised activations and weights. An implementation
/// must not round anywhere else: that keeps results bit-identical across
/// instruction sets.
///
/// # Safety
/// Every function requires the target features that `with_features` enables to
/// be available, and pointers to be readable (or writable) for the sizes given.
pub(crate) unsafe trait Microkernel {
    /// The width of the weights.
    const BITS: Bits;
    /// Output columns per group: a power of two, at most [`MAX_LANES`].
    const LANES: usize;
    /// Activation rows per accumulator: 1, or 2 for matrix-multiply
    /// instructions.
    const ROWS: usize;
    /// Rows of a full register tile, in units of [`Self::ROWS`]; at most 6.
    const MR: usize;
    /// Groups of a full register tile; at most 4.
    const NR: usize;
    /// How often a block's activations are loaded: each time 32 / `LOADS` values
    /// along `k`.
    const LOADS: usize;
    /// Dot-product steps per load: 1, 2, 4 or 8.
    const STEPS: usize;
    /// Whether the single-precision sums of a tile stay in registers. Where the
    /// register file is too small they stay in the first-level cache.
    const SUMS_IN_REGISTERS: bool;
    /// Whether the matrix-vector product alternates between two accumulators,
    /// because the dot-product instruction has a long latency.
    const TWO_CHAINS: bool;
    /// The most rows for which the matrix-vector product beats packing.
    const GEMV_MAX_ROWS: usize;
    /// Blocks whose scales are read together; at most [`MAX_SCALE_BATCH`].
    const SCALE_BATCH: usize;

    /// The weights of one group for one step.
    type Weights: Copy;
    /// The weights of one group for one block: `LOADS * STEPS` times
    /// `Weights`. Step `s` of load `l` is at index `l * STEPS + s`.
    type Block: Copy + AsRef<[Self::Weights]>;
    /// The activations of one load, of the rows of one accumulator. On x86 this is their
    /// address, which a broadcast load reads; on NEON a register.
    type Activations: Copy;
    /// The activations of one step, as [`Self::dot`] takes them.
    type Operand: Copy;
    /// Integer dot products of one group.
    type Accumulator: Copy;
    /// Single-precision values of one group.
    type Sum: Copy;

    /// Runs `op` compiled for this instruction set. See [`with_features!`].
    ///
    /// # Safety
    /// The features must be available; the conditions of `op`.
    unsafe fn with_features<O: SimdOp>(op: O) -> O::Output;

    /// Transposes and unpacks one block of the columns of a group.
    ///
    /// # Safety
    /// `block` must be inside the columns.
    unsafe fn unpack(columns: &ColumnPtrs<u8>, block: usize) -> Self::Block;

    /// Writes the scales of `count` blocks, at most [`Self::SCALE_BATCH`], from
    /// `block` on: [`Self::LANES`] values per block.
    ///
    /// # Safety
    /// The blocks must be inside the columns, `out` must have room.
    unsafe fn load_scales(scales: &ColumnScales, block: usize, count: usize, out: *mut f32);

    /// `32 / LOADS` activations of each row.
    ///
    /// # Safety
    /// Each pointer must have as many readable values.
    unsafe fn load_activations(x: PerRow<*const i8>) -> Self::Activations;

    /// The activations of step `STEP`, as often as the lanes need them.
    ///
    /// # Safety
    /// The pointers behind `x` must still be valid.
    unsafe fn broadcast<const STEP: usize>(x: Self::Activations) -> Self::Operand;

    /// Accumulators before the first step of a block.
    ///
    /// `compensation` is minus the zero point times the sum of the block's
    /// activations; it is added here, in `finish`, or nowhere if `unpack`
    /// removes the zero point.
    ///
    /// # Safety
    /// The pointers must be readable.
    unsafe fn start(compensation: PerRow<*const i32>) -> Self::Accumulator;

    /// A second accumulator for [`Self::TWO_CHAINS`].
    ///
    /// # Safety
    /// Only the features.
    unsafe fn zero_accumulator() -> Self::Accumulator;

    /// The sum of two accumulators.
    ///
    /// # Safety
    /// Only the features.
    unsafe fn add(a: Self::Accumulator, b: Self::Accumulator) -> Self::Accumulator;

    /// Adds the products of one step; `x` is `broadcast::<STEP>` of the rows.
    ///
    /// # Safety
    /// Only the features.
    unsafe fn dot<const STEP: usize>(
        acc: Self::Accumulator,
        weights: Self::Weights,
        x: Self::Operand,
    ) -> Self::Accumulator;

    /// The dot products of a complete block, converted to single precision
    /// (exact: they are below 2^24).
    ///
    /// # Safety
    /// The pointers must be readable.
    unsafe fn finish(acc: Self::Accumulator, compensation: PerRow<*const i32>) -> Self::Sum;

    /// Zeros.
    ///
    /// # Safety
    /// Only the features.
    unsafe fn zero() -> Self::Sum;

    /// Reads [`Self::LANES`] sums of each row.
    ///
    /// # Safety
    /// The pointers must be readable.
    unsafe fn load_sum(from: PerRow<*const f32>) -> Self::Sum;

    /// Writes [`Self::LANES`] sums of each row. Where both pointers are the
    /// same, so are the rows.
    ///
    /// # Safety
    /// The pointers must be writable.
    unsafe fn store_sum(to: PerRow<*mut f32>, sum: Self::Sum);

    /// Reads the scales of one block as [`Self::load_scales`] wrote them.
    ///
    /// # Safety
    /// [`Self::LANES`] values must be readable.
    unsafe fn load_scale(from: *const f32) -> Self::Sum;

    /// The activation scale of each row, in all its lanes.
    ///
    /// # Safety
    /// The pointers must be readable.
    unsafe fn broadcast_scale(x_scale: PerRow<*const f32>) -> Self::Sum;

    /// `fma(dots, x_scale * w_scale, sum)`
    ///
    /// # Safety
    /// Only the features.
    unsafe fn scale_add(
        dots: Self::Sum,
        x_scale: Self::Sum,
        w_scale: Self::Sum,
        sum: Self::Sum,
    ) -> Self::Sum;
}

/// Where each column of a group begins.
pub(crate) struct ColumnPtrs<T> {
    /// Only the first `lanes` entries are used.
    pub(crate) first: [*const T; MAX_LANES],
}

impl<T> ColumnPtrs<T> {
    /// The columns from `column` of a matrix with `n` columns, stored column
    /// after column. Lanes beyond the matrix repeat the last column.
    #[inline(always)]
    pub(crate) fn new(values: &[T], n: usize, column: usize, lanes: usize) -> Self {
        let stride = values.len() / n;
        let mut first = [values.as_ptr(); MAX_LANES];
        for (lane, first) in first[..lanes].iter_mut().enumerate() {
            *first = values[(column + lane).min(n - 1) * stride..].as_ptr();
        }
        Self { first }
    }
}

/// The weight scales of the columns of a group.
pub(crate) enum ColumnScales {
    F32(ColumnPtrs<f32>),
    F16(ColumnPtrs<f16>),
}

impl ColumnScales {
    #[inline(always)]
    pub(crate) fn new(scales: Scales<'_>, n: usize, column: usize, lanes: usize) -> Self {
        match scales {
            Scales::F32(scales) => Self::F32(ColumnPtrs::new(scales, n, column, lanes)),
            Scales::F16(scales) => Self::F16(ColumnPtrs::new(scales, n, column, lanes)),
        }
    }

    /// Copies the scales of `count` blocks one by one, lane after lane: the
    /// tail that a vector load would read beyond the column.
    ///
    /// # Safety
    /// As [`Microkernel::load_scales`].
    #[inline(always)]
    pub(crate) unsafe fn copy_partial(
        &self,
        lanes: usize,
        block: usize,
        count: usize,
        out: *mut f32,
    ) {
        for i in 0..count {
            for lane in 0..lanes {
                // SAFETY: the block is inside the column, `out` has room.
                unsafe {
                    let scale = match self {
                        Self::F32(columns) => *columns.first[lane].add(block + i),
                        Self::F16(columns) => (*columns.first[lane].add(block + i)).to_f32(),
                    };
                    *out.add(i * lanes + lane) = scale;
                }
            }
        }
    }
}
