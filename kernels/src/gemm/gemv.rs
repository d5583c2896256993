//! Products with a few rows, where reading the weights is what costs: they are
//! unpacked in registers and used at once.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

use crate::activations::RowsView;
use crate::layout::{BLOCK, QuantizedMatrix};
use crate::simd::microkernel::{
    ColumnPtrs, ColumnScales, MAX_LANES, MAX_SCALE_BATCH, Microkernel, SimdOp,
};
use crate::simd::prefetch::prefetch;

/// Computes the sums of `row_range`, at most [`Microkernel::GEMV_MAX_ROWS`]
/// rows, with the columns `column .. column + LANES`, and writes `LANES` values
/// per row to `sums`, rows `width` apart. Lanes beyond the matrix repeat its
/// last column.
///
/// # Safety
/// The features of `K` must be available, and rows and column inside.
pub(crate) unsafe fn gemv<K: Microkernel>(
    rows: &RowsView<'_>,
    row_range: Range<usize>,
    matrix: &QuantizedMatrix<'_>,
    column: usize,
    sums: &mut [f32],
    width: usize,
) {
    const { assert!(K::ROWS == 1 && K::GEMV_MAX_ROWS <= 4) };
    let args = GemvArgs {
        rows,
        row: row_range.start,
        matrix,
        column,
        sums,
        width,
    };
    // SAFETY: the caller's promises are passed on.
    unsafe {
        match row_range.len() {
            1 => K::with_features(Gemv::<K, 1>(args, PhantomData)),
            2 => K::with_features(Gemv::<K, 2>(args, PhantomData)),
            3 => K::with_features(Gemv::<K, 3>(args, PhantomData)),
            4 => K::with_features(Gemv::<K, 4>(args, PhantomData)),
            rows => unreachable!("a matrix-vector product of {rows} rows"),
        }
    }
}

struct GemvArgs<'a> {
    rows: &'a RowsView<'a>,
    row: usize,
    matrix: &'a QuantizedMatrix<'a>,
    column: usize,
    sums: &'a mut [f32],
    width: usize,
}

/// The product of `R` rows with the columns of one group.
struct Gemv<'a, K, const R: usize>(GemvArgs<'a>, PhantomData<K>);

impl<K: Microkernel, const R: usize> SimdOp for Gemv<'_, K, R> {
    type Output = ();

    #[inline(always)]
    unsafe fn run(self) {
        #[repr(align(64))]
        struct ScaleBatch([MaybeUninit<f32>; MAX_LANES * MAX_SCALE_BATCH]);

        let GemvArgs {
            rows,
            row,
            matrix,
            column,
            sums,
            width,
        } = self.0;
        let blocks = rows.blocks;
        let block_bytes = const { K::BITS.block_bytes() };
        debug_assert_eq!(matrix.bits(), K::BITS);
        let columns = ColumnPtrs::new(matrix.quants(), matrix.n(), column, K::LANES);
        let scales = ColumnScales::new(matrix.scales(), matrix.n(), column, K::LANES);
        // The next group lies right behind this one and is fetched in the order
        // of addresses, which suits memory best. It may be beyond the matrix.
        let next_group = columns.first[0].wrapping_add(K::LANES * blocks * block_bytes);
        let mut batch = ScaleBatch([MaybeUninit::uninit(); MAX_LANES * MAX_SCALE_BATCH]);
        let batch = batch.0.as_mut_ptr().cast::<f32>();
        assert!(sums.len() >= (R - 1) * width + K::LANES);
        // SAFETY: rows, blocks and columns are inside by the caller's promise
        // and the assertion above; the batch has room for any implementation's.
        unsafe {
            let mut totals = [K::zero(); R];
            for start in (0..blocks).step_by(K::SCALE_BATCH) {
                let count = (blocks - start).min(K::SCALE_BATCH);
                K::load_scales(&scales, start, count, batch);
                for i in 0..count {
                    let block = start + i;
                    let group_bytes = K::LANES * block_bytes;
                    prefetch::<true>(
                        next_group.wrapping_add(block * group_bytes),
                        group_bytes / 64,
                    );
                    let weights = K::unpack(&columns, block);
                    let scale = K::load_scale(batch.add(i * K::LANES));
                    for (r, total) in totals.iter_mut().enumerate() {
                        let of_block = (row + r) * blocks + block;
                        let x = rows
                            .quants
                            .as_ptr()
                            .add((row + r) * rows.stride + block * BLOCK);
                        let compensation = [rows.compensation.as_ptr().add(of_block); 2];
                        let mut dots = [K::start(compensation), K::zero_accumulator()];
                        for load in 0..K::LOADS {
                            let x = K::load_activations([x.add(load * (BLOCK / K::LOADS)); 2]);
                            let weights = &weights.as_ref()[load * K::STEPS..][..K::STEPS];
                            step::<K, 0>(weights, x, &mut dots);
                            if const { K::STEPS > 1 } {
                                step::<K, 1>(weights, x, &mut dots);
                            }
                            if const { K::STEPS > 2 } {
                                step::<K, 2>(weights, x, &mut dots);
                                step::<K, 3>(weights, x, &mut dots);
                            }
                            if const { K::STEPS > 4 } {
                                step::<K, 4>(weights, x, &mut dots);
                                step::<K, 5>(weights, x, &mut dots);
                                step::<K, 6>(weights, x, &mut dots);
                                step::<K, 7>(weights, x, &mut dots);
                            }
                        }
                        let dots = if K::TWO_CHAINS {
                            K::add(dots[0], dots[1])
                        } else {
                            dots[0]
                        };
                        let dots = K::finish(dots, compensation);
                        let x_scale = K::broadcast_scale([rows.scales.as_ptr().add(of_block); 2]);
                        *total = K::scale_add(dots, x_scale, scale, *total);
                    }
                }
            }
            for (r, total) in totals.into_iter().enumerate() {
                K::store_sum([sums.as_mut_ptr().add(r * width); 2], total);
            }
        }
    }
}

/// # Safety
/// The features of `K`.
#[inline(always)]
unsafe fn step<K: Microkernel, const STEP: usize>(
    weights: &[K::Weights],
    x: K::Activations,
    dots: &mut [K::Accumulator; 2],
) {
    let chain = if K::TWO_CHAINS { STEP % 2 } else { 0 };
    // SAFETY: the caller's promise.
    unsafe {
        let x = K::broadcast::<STEP>(x);
        dots[chain] = K::dot::<STEP>(dots[chain], weights[STEP], x);
    }
}
