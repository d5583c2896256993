//! Packing: weights and scales of some columns in the order of the tile.

use std::marker::PhantomData;
use std::ops::Range;

use crate::layout::{BLOCK, QuantizedMatrix};
use crate::simd::microkernel::{ColumnPtrs, ColumnScales, Microkernel, SimdOp};

/// Unpacks the weights and scales of `blocks` in the columns
/// `column .. column + LANES`; a lane beyond the matrix repeats its last column.
///
/// `quants` has `LANES * 32` bytes per block, `scales` has `LANES` values.
///
/// # Safety
/// The features of `K` must be available, and the blocks inside the matrix.
pub(crate) unsafe fn pack<K: Microkernel>(
    matrix: &QuantizedMatrix<'_>,
    column: usize,
    blocks: Range<usize>,
    quants: &mut [u8],
    scales: &mut [f32],
) {
    // SAFETY: the caller's promises.
    unsafe {
        K::with_features(Pack::<K> {
            matrix,
            column,
            blocks,
            quants,
            scales,
            microkernel: PhantomData,
        });
    }
}

struct Pack<'a, K> {
    matrix: &'a QuantizedMatrix<'a>,
    column: usize,
    blocks: Range<usize>,
    quants: &'a mut [u8],
    scales: &'a mut [f32],
    microkernel: PhantomData<K>,
}

impl<K: Microkernel> SimdOp for Pack<'_, K> {
    type Output = ();

    #[inline(always)]
    unsafe fn run(self) {
        let (matrix, column) = (self.matrix, self.column);
        let columns = ColumnPtrs::new(matrix.quants(), matrix.n(), column, K::LANES);
        let packed = self.quants.chunks_exact_mut(K::LANES * BLOCK);
        for (packed, block) in packed.zip(self.blocks.clone()) {
            // SAFETY: the block is inside the columns, and the packed block has
            // the size of `K::Block`.
            unsafe {
                let weights = K::unpack(&columns, block);
                let packed = packed.as_mut_ptr().cast::<K::Weights>();
                for (i, weights) in weights.as_ref().iter().enumerate() {
                    packed.add(i).write_unaligned(*weights);
                }
            }
        }
        let columns = ColumnScales::new(matrix.scales(), matrix.n(), column, K::LANES);
        let mut block = self.blocks.start;
        for packed in self.scales.chunks_mut(K::SCALE_BATCH * K::LANES) {
            let count = packed.len() / K::LANES;
            // SAFETY: these blocks are inside the columns, and there is room.
            unsafe { K::load_scales(&columns, block, count, packed.as_mut_ptr()) };
            block += count;
        }
    }
}
