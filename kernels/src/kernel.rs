//! What an instruction set has to provide, and how its backend are put together.
//!
//! Every vector kernel has the same shape, with one output column per vector
//! lane:
//!
//! * `direct` is for a few rows, where reading the weights is what costs: they
//!   are unpacked in registers and used at once;
//! * for more rows, `pack` unpacks a panel of weights into scratch memory that
//!   stays in the first-level cache, lane by lane, and `gemm` multiplies all
//!   rows with it.

use std::cell::RefCell;
use std::ops::Range;

use crate::aligned_buffer::AlignedBuffer;
use crate::column_ptrs::prefetch;
use crate::isa::Isa;
use crate::layout::{BLOCK, QuantizedMatrix};
use crate::portable;
use crate::quantize_activations::RowsView;
use crate::roofline::Peak;
use crate::task_grid::TaskGrid;

/// RowsView beyond this are another task, which unpacks the weights again.
const MAX_ROWS: usize = 384;
/// Panels of a task at most: they share what is read of the rows.
const MAX_PANELS: usize = 8;
/// Tasks per thread for a few rows, of as many panels at most.
const GEMV_TASKS_PER_THREAD: usize = 4;
const GEMV_MAX_PANELS: usize = 8;

/// The backend of one instruction set, and the sizes they work on.
pub(crate) struct Kernel {
    /// Output columns per vector.
    pub(crate) lanes: usize,
    /// Output columns per packed panel, a multiple of `lanes`.
    pub(crate) panel: usize,
    /// RowsView that are multiplied together.
    pub(crate) tile_rows: usize,
    /// The most rows for which `direct` is used.
    pub(crate) gemv_max_rows: usize,
    /// How fast it could be; unknown for the portable one.
    pub(crate) peak: Option<Peak>,
    backend: Backend,
}

enum Backend {
    Portable,
    #[cfg_attr(
        not(any(target_arch = "x86_64", target_arch = "aarch64")),
        allow(dead_code)
    )]
    Simd(MicrokernelFns),
}

/// The functions of a vector kernel. All of them need the instruction set to
/// be available, and indices that are inside the rows and the matrix.
pub(crate) struct MicrokernelFns {
    /// Blocks per chunk, such that a chunk of a panel stays in the cache.
    pub(crate) chunk: usize,
    pub(crate) gemv: Gemv,
    pub(crate) pack: Pack,
    pub(crate) gemm: Gemm,
}

/// Computes the sums of `rows_range` (at most `gemv_max_rows`) with the columns
/// `column .. column + lanes`, those beyond the matrix excepted, and writes
/// `lanes` values per row to `sums`, rows `width` apart.
pub(crate) type Gemv = unsafe fn(
    rows: &RowsView<'_>,
    rows_range: Range<usize>,
    matrix: &QuantizedMatrix<'_>,
    column: usize,
    sums: &mut [f32],
    width: usize,
);

/// Unpacks the weights and scales of `blocks` in the columns
/// `column .. column + lanes`; a lane beyond the matrix repeats its last column.
///
/// `quants` has room for `lanes * 32` bytes per block, `scales` for `lanes`
/// values per block. Both begin on a line of 64 bytes.
pub(crate) type Pack = unsafe fn(
    matrix: &QuantizedMatrix<'_>,
    column: usize,
    blocks: Range<usize>,
    quants: &mut [u8],
    scales: &mut [f32],
);

/// Continues the sums of `rows_range` with the `blocks` of a packed panel of
/// `groups` times `lanes` columns, or starts them if the blocks begin at zero.
/// `sums` has `width` values per row.
pub(crate) type Gemm = unsafe fn(
    rows: &RowsView<'_>,
    rows_range: Range<usize>,
    blocks: Range<usize>,
    panel: &Panel<'_>,
    sums: &mut [f32],
    width: usize,
);

/// A packed piece of a matrix: `groups` times what `pack` writes.
pub(crate) struct Panel<'a> {
    pub(crate) bits: crate::Bits,
    pub(crate) groups: usize,
    pub(crate) quants: &'a [u8],
    pub(crate) scales: &'a [f32],
}

static PORTABLE: Kernel = Kernel {
    lanes: 1,
    panel: 32,
    tile_rows: 1,
    gemv_max_rows: 0,
    peak: None,
    backend: Backend::Portable,
};

impl Kernel {
    /// The kernel of an instruction set that is available.
    pub(crate) fn of(isa: Isa) -> &'static Self {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => &crate::x86::avx2::PLAIN,
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => &crate::x86::avx2::VNNI,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => &crate::x86::avx512::KERNEL,
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Isa::NeonDotprod => &crate::neon::dotprod::KERNEL,
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Isa::NeonI8mm => &crate::neon::i8mm::KERNEL,
            _ => &PORTABLE,
        }
    }

    /// How a product of `m` rows and `n` columns is cut into tasks.
    pub(crate) fn task_grid(&self, m: usize, n: usize, threads: usize) -> TaskGrid {
        if m <= self.gemv_max_rows {
            // Each column is read once: long runs, but enough of them.
            let most = n
                .div_ceil(threads * GEMV_TASKS_PER_THREAD)
                .next_multiple_of(self.lanes);
            let most = most.min(GEMV_MAX_PANELS * self.panel);
            return TaskGrid::new((m, self.gemv_max_rows), (n, most), self.lanes, threads);
        }
        let most = MAX_PANELS * self.panel;
        TaskGrid::new((m, MAX_ROWS), (n, most), self.panel, threads)
    }

    pub(crate) const fn simd(
        lanes: usize,
        groups: usize,
        tile_rows: usize,
        gemv_max_rows: usize,
        peak: Peak,
        fns: MicrokernelFns,
    ) -> Self {
        Self {
            lanes,
            panel: lanes * groups,
            tile_rows,
            gemv_max_rows,
            peak: Some(peak),
            backend: Backend::Simd(fns),
        }
    }
}

/// Computes the sums of a rectangle of outputs and gives them to `write`: some
/// rows, their sums, and the distance of two rows in these.
///
/// `kernel` must be one of [`Kernel::of`] for an available instruction set.
pub(crate) fn with_sums(
    kernel: &Kernel,
    rows: &RowsView<'_>,
    rows_range: Range<usize>,
    matrix: &QuantizedMatrix<'_>,
    columns: Range<usize>,
    mut write: impl FnMut(Range<usize>, &[f32], usize),
) {
    assert!(rows_range.end <= rows.m && columns.end <= matrix.n());
    assert_eq!(rows.blocks, matrix.blocks());
    SCRATCH.with_borrow_mut(|scratch| {
        let width = columns.len().next_multiple_of(kernel.lanes);
        scratch.sums.grow(rows_range.len() * width);
        match &kernel.backend {
            Backend::Portable => {
                let sums = scratch.sums.as_mut_slice();
                portable::sums(
                    rows,
                    rows_range.clone(),
                    matrix,
                    columns.clone(),
                    sums,
                    width,
                );
                write(rows_range, sums, width);
            }
            Backend::Simd(fns) if rows_range.len() <= kernel.gemv_max_rows => {
                let sums = scratch.sums.as_mut_slice();
                for offset in (0..width).step_by(kernel.lanes) {
                    let column = columns.start + offset;
                    // SAFETY: the kernel's instruction set is available, rows
                    // and column are inside by the assertions above, and the
                    // sums have room for whole lanes.
                    unsafe {
                        (fns.gemv)(
                            rows,
                            rows_range.clone(),
                            matrix,
                            column,
                            &mut sums[offset..],
                            width,
                        );
                    }
                }
                write(rows_range, sums, width);
            }
            Backend::Simd(fns) => {
                let task = (rows_range, columns.clone());
                packed(kernel, fns, rows, matrix, task, scratch, write);
            }
        }
    });
}

fn packed(
    kernel: &Kernel,
    fns: &MicrokernelFns,
    rows: &RowsView<'_>,
    matrix: &QuantizedMatrix<'_>,
    (rows_range, columns): (Range<usize>, Range<usize>),
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
    let chunk = chunk_size(rows.blocks, fns.chunk);
    quants.grow(panel * BLOCK * chunk);
    scales.grow(panel * chunk);
    let sums = &mut sums.as_mut_slice()[..rows_range.len() * width];
    let batch = rows_range
        .len()
        .div_ceil(PREFETCH_BATCHES)
        .next_multiple_of(kernel.tile_rows);
    // All panels of a task meet a chunk of the rows while it is near.
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
                // one group, and begin on lines since a group's size is a
                // multiple of one.
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
                bits: matrix.bits(),
                groups,
                quants: &quants[..groups * group_quants],
                scales: &scales[..groups * group_scales],
            };
            let next = PanelPrefetch::after(matrix, &columns, first + panel, &blocks, chunk, panel);
            let complete = blocks.end == rows.blocks && offset + panel >= width;
            for (index, first) in rows_range.clone().step_by(batch).enumerate() {
                let batch = first..rows_range.end.min(first + batch);
                let sums = &mut sums[(first - rows_range.start) * width..][..batch.len() * width];
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

/// The largest number of blocks up to `most` that cuts a row into pieces of
/// nearly the same size.
fn chunk_size(blocks: usize, most: usize) -> usize {
    blocks.div_ceil(blocks.div_ceil(most))
}

/// How many times the next weights are asked for while one panel is used.
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

    /// Asks for one part of as many as there are batches.
    fn issue(&self, batch: usize) {
        for column in self.columns.clone().skip(batch).step_by(PREFETCH_BATCHES) {
            let start = column * self.column_bytes;
            let bytes = &self.quants[start + self.blocks.start..start + self.blocks.end];
            for line in bytes.chunks(64) {
                prefetch::<1, false>(line.as_ptr());
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
