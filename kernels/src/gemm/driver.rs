//! The loop nest of the quantised product: packs a panel of weights into
//! scratch memory that stays in the first-level cache, and multiplies all rows
//! of a task with it; a few rows go to the matrix-vector product.

use std::cell::RefCell;
use std::ops::Range;

use super::dispatch::{Kernel, MicrokernelFns};
use super::tile_i8::Panel;
use crate::activations::RowsView;
use crate::aligned_buffer::AlignedBuffer;
use crate::layout::{BLOCK, QuantizedMatrix};
use crate::simd::prefetch::prefetch;

/// The most blocks of a packed panel, such that it stays in the first-level
/// cache.
const KC_BLOCKS: usize = 32;

/// Computes the sums of a rectangle of outputs and gives them to `write`: some
/// rows, their sums, and the distance of two rows in these.
///
/// `kernel` must be [`Kernel::of`] an instruction set that is available.
pub(crate) fn with_sums(
    kernel: &Kernel,
    rows: &RowsView<'_>,
    row_range: Range<usize>,
    matrix: &QuantizedMatrix<'_>,
    columns: Range<usize>,
    mut write: impl FnMut(Range<usize>, &[f32], usize),
) {
    assert!(row_range.end <= rows.m && columns.end <= matrix.n());
    assert_eq!(rows.blocks, matrix.blocks());
    SCRATCH.with_borrow_mut(|scratch| {
        let width = columns.len().next_multiple_of(kernel.lanes);
        scratch.sums.grow(row_range.len() * width);
        let fns = kernel.fns(matrix.bits());
        if row_range.len() > kernel.gemv_max_rows {
            packed(
                kernel,
                fns,
                rows,
                matrix,
                (row_range, columns),
                scratch,
                write,
            );
            return;
        }
        let sums = scratch.sums.as_mut_slice();
        for offset in (0..width).step_by(kernel.lanes) {
            let column = columns.start + offset;
            // SAFETY: the kernel's instruction set is available, rows and column
            // are inside by the assertions above, and the sums have room for
            // whole groups.
            unsafe {
                (fns.gemv)(
                    rows,
                    row_range.clone(),
                    matrix,
                    column,
                    &mut sums[offset..],
                    width,
                );
            }
        }
        write(row_range, sums, width);
    });
}

fn packed(
    kernel: &Kernel,
    fns: &MicrokernelFns,
    rows: &RowsView<'_>,
    matrix: &QuantizedMatrix<'_>,
    (row_range, columns): (Range<usize>, Range<usize>),
    scratch: &mut Scratch,
    mut write: impl FnMut(Range<usize>, &[f32], usize),
) {
    let (lanes, panel) = (kernel.lanes, kernel.panel);
    let width = columns.len().next_multiple_of(lanes);
    let Scratch {
        quants,
        scales,
        sums,
    } = scratch;
    let chunk = chunk_size(rows.blocks, KC_BLOCKS);
    quants.grow(panel * BLOCK * chunk);
    scales.grow(panel * chunk);
    let sums = &mut sums.as_mut_slice()[..row_range.len() * width];
    let batch = row_range
        .len()
        .div_ceil(PREFETCH_BATCHES)
        .next_multiple_of(kernel.tile_rows);
    // All panels of a task use a chunk of the rows while it is in the cache.
    for start in (0..rows.blocks).step_by(chunk) {
        let blocks = start..rows.blocks.min(start + chunk);
        for offset in (0..width).step_by(panel) {
            let groups = (width - offset).min(panel) / lanes;
            let first = columns.start + offset;
            let (quants, scales) = (quants.as_mut_slice(), scales.as_mut_slice());
            let (group_quants, group_scales) = (lanes * BLOCK * blocks.len(), lanes * blocks.len());
            for group in 0..groups {
                // SAFETY: the kernel's instruction set is available; the caller
                // has checked columns and blocks; both targets have the room of
                // one group.
                unsafe {
                    (fns.pack)(
                        matrix,
                        first + group * lanes,
                        blocks.clone(),
                        &mut quants[group * group_quants..][..group_quants],
                        &mut scales[group * group_scales..][..group_scales],
                    );
                }
            }
            let packed = Panel {
                groups,
                quants: &quants[..groups * group_quants],
                scales: &scales[..groups * group_scales],
            };
            let next = PanelPrefetch::after(matrix, &columns, first + panel, &blocks, chunk, panel);
            let complete = blocks.end == rows.blocks && offset + panel >= width;
            for (index, first) in row_range.clone().step_by(batch).enumerate() {
                let batch = first..row_range.end.min(first + batch);
                let sums = &mut sums[(first - row_range.start) * width..][..batch.len() * width];
                next.issue(index);
                // SAFETY: as above; the panel holds these blocks of these columns,
                // and the sums have `width` values for every row of the batch.
                unsafe {
                    (fns.gemm)(
                        rows,
                        batch.clone(),
                        blocks.clone(),
                        &packed,
                        &mut sums[offset..],
                        width,
                    );
                }
                if complete {
                    // At once, so that the memory is busy while the next batch is
                    // computed.
                    write(batch, sums, width);
                }
            }
        }
    }
}

/// The largest number of blocks up to `max` that cuts a row into pieces of
/// nearly the same size.
fn chunk_size(blocks: usize, max: usize) -> usize {
    blocks.div_ceil(blocks.div_ceil(max))
}

/// Batches of rows per panel, each of which prefetches its share of the next one.
const PREFETCH_BATCHES: usize = 8;

/// The weights that are packed next, fetched while the present ones are used.
struct PanelPrefetch<'a> {
    quants: &'a [u8],
    columns: Range<usize>,
    column_bytes: usize,
    blocks: Range<usize>,
}

impl<'a> PanelPrefetch<'a> {
    /// The columns from `next` of a task's columns, or their next chunk of blocks, or
    /// the first blocks of the columns that follow, which are probably this thread's
    /// next task. `chunk` is the size of the next chunk.
    fn after(
        matrix: &QuantizedMatrix<'a>,
        task: &Range<usize>,
        next: usize,
        blocks: &Range<usize>,
        chunk: usize,
        panel: usize,
    ) -> Self {
        let block = matrix.bits().block_bytes();
        let all = matrix.blocks();
        let (first, end, blocks) = if next < task.end {
            (next, task.end, blocks.clone())
        } else if blocks.end < all {
            (
                task.start,
                task.end,
                blocks.end..all.min(blocks.end + chunk),
            )
        } else {
            (task.end, matrix.n(), 0..chunk)
        };
        Self {
            quants: matrix.quants(),
            columns: first..end.min(first + panel),
            column_bytes: all * block,
            blocks: blocks.start * block..blocks.end * block,
        }
    }

    /// Prefetches `1 / PREFETCH_BATCHES` of the next panel.
    fn issue(&self, batch: usize) {
        for column in self.columns.clone().skip(batch).step_by(PREFETCH_BATCHES) {
            let start = column * self.column_bytes;
            let bytes = &self.quants[start + self.blocks.start..start + self.blocks.end];
            for line in bytes.chunks(64) {
                prefetch::<false>(line.as_ptr(), 1);
            }
        }
    }
}

thread_local! {
    /// Kept from call to call, so that a product allocates nothing here.
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch {
        quants: AlignedBuffer::new(),
        scales: AlignedBuffer::new(),
        sums: AlignedBuffer::new(),
    }) };
}

struct Scratch {
    quants: AlignedBuffer<u8>,
    scales: AlignedBuffer<f32>,
    sums: AlignedBuffer<f32>,
}
