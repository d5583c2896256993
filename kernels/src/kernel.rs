//! What an instruction set has to provide, and how its steps are put together.
//!
//! Every vector kernel has the same shape, with one output column per vector
//! lane:
//!
//! * `direct` is for a few rows, where reading the weights is what costs: they
//!   are unpacked in registers and used at once;
//! * for more rows, `pack` unpacks a panel of weights into scratch memory that
//!   stays in the first-level cache, lane by lane, and `tiles` multiplies all
//!   rows with it.

use std::cell::RefCell;
use std::ops::Range;

use crate::columns::prefetch;
use crate::isa::Isa;
use crate::layout::{BLOCK, QuantizedMatrix};
use crate::limits::Peak;
use crate::parts::Parts;
use crate::quantize::Rows;
use crate::scalar;
use crate::scratch::Buffer;

/// Rows beyond this are another task, which unpacks the weights again.
const MOST_ROWS: usize = 384;
/// Panels of a task at most: they share what is read of the rows.
const PANELS: usize = 8;
/// Tasks per thread for a few rows, of as many panels at most.
const DIRECT_TASKS: usize = 4;
const DIRECT_PANELS: usize = 8;

/// The steps of one instruction set, and the sizes they work on.
pub(crate) struct Kernel {
    /// Output columns per vector.
    pub(crate) lanes: usize,
    /// Output columns per packed panel, a multiple of `lanes`.
    pub(crate) panel: usize,
    /// Rows that are multiplied together.
    pub(crate) tile_rows: usize,
    /// The most rows for which `direct` is used.
    pub(crate) direct_rows: usize,
    /// How fast it could be; unknown for the portable one.
    pub(crate) peak: Option<Peak>,
    steps: Steps,
}

enum Steps {
    Portable,
    #[cfg_attr(
        not(any(target_arch = "x86_64", target_arch = "aarch64")),
        allow(dead_code)
    )]
    Vector(Vector),
}

/// The functions of a vector kernel. All of them need the instruction set to
/// be available, and indices that are inside the rows and the matrix.
pub(crate) struct Vector {
    /// Blocks per chunk, such that a chunk of a panel stays in the cache.
    pub(crate) chunk: usize,
    pub(crate) direct: Direct,
    pub(crate) pack: Pack,
    pub(crate) tiles: Tiles,
}

/// Computes the sums of `rows_range` (at most `direct_rows`) with the columns
/// `column .. column + lanes`, those beyond the matrix excepted, and writes
/// `lanes` values per row to `sums`, rows `width` apart.
pub(crate) type Direct = unsafe fn(
    rows: &Rows<'_>,
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
pub(crate) type Tiles = unsafe fn(
    rows: &Rows<'_>,
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
    direct_rows: 0,
    peak: None,
    steps: Steps::Portable,
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
            Isa::NeonDotprod => &crate::arm::dotprod::KERNEL,
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Isa::NeonI8mm => &crate::arm::i8mm::KERNEL,
            _ => &PORTABLE,
        }
    }

    /// How a product of `m` rows and `n` columns is cut into tasks.
    pub(crate) fn parts(&self, m: usize, n: usize, threads: usize) -> Parts {
        if m <= self.direct_rows {
            // Each column is read once: long runs, but enough of them.
            let most = n
                .div_ceil(threads * DIRECT_TASKS)
                .next_multiple_of(self.lanes);
            let most = most.min(DIRECT_PANELS * self.panel);
            return Parts::new((m, self.direct_rows), (n, most), self.lanes, threads);
        }
        let most = PANELS * self.panel;
        Parts::new((m, MOST_ROWS), (n, most), self.panel, threads)
    }

    pub(crate) const fn vector(
        lanes: usize,
        groups: usize,
        tile_rows: usize,
        direct_rows: usize,
        peak: Peak,
        vector: Vector,
    ) -> Self {
        Self {
            lanes,
            panel: lanes * groups,
            tile_rows,
            direct_rows,
            peak: Some(peak),
            steps: Steps::Vector(vector),
        }
    }
}

/// Computes the sums of a rectangle of outputs and gives them to `write`: some
/// rows, their sums, and the distance of two rows in these.
///
/// `kernel` must be one of [`Kernel::of`] for an available instruction set.
pub(crate) fn with_sums(
    kernel: &Kernel,
    rows: &Rows<'_>,
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
        match &kernel.steps {
            Steps::Portable => {
                let sums = scratch.sums.values();
                scalar::sums(
                    rows,
                    rows_range.clone(),
                    matrix,
                    columns.clone(),
                    sums,
                    width,
                );
                write(rows_range, sums, width);
            }
            Steps::Vector(vector) if rows_range.len() <= kernel.direct_rows => {
                let sums = scratch.sums.values();
                for offset in (0..width).step_by(kernel.lanes) {
                    let column = columns.start + offset;
                    // SAFETY: the kernel's instruction set is available, rows
                    // and column are inside by the assertions above, and the
                    // sums have room for whole lanes.
                    unsafe {
                        (vector.direct)(
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
            Steps::Vector(vector) => {
                let task = (rows_range, columns.clone());
                packed(kernel, vector, rows, matrix, task, scratch, write);
            }
        }
    });
}

fn packed(
    kernel: &Kernel,
    vector: &Vector,
    rows: &Rows<'_>,
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
    let chunk = chunk_size(rows.blocks, vector.chunk);
    quants.grow(panel * BLOCK * chunk);
    scales.grow(panel * chunk);
    let sums = &mut sums.values()[..rows_range.len() * width];
    let batch = rows_range
        .len()
        .div_ceil(BATCHES)
        .next_multiple_of(kernel.tile_rows);
    // All panels of a task meet a chunk of the rows while it is near.
    for start in (0..rows.blocks).step_by(chunk) {
        let blocks = start..rows.blocks.min(start + chunk);
        for offset in (0..width).step_by(panel) {
            let groups = (width - offset).min(panel) / lanes;
            let first = columns.start + offset;
            let (quants, scales) = (quants.values(), scales.values());
            let (group_quants, group_scales) = (lanes * BLOCK * blocks.len(), lanes * blocks.len());
            for group in 0..groups {
                // SAFETY: the kernel's instruction set is available; the caller
                // has checked columns and blocks; both targets have the room of
                // one group, and begin on lines since a group's size is a
                // multiple of one.
                unsafe {
                    (vector.pack)(
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
            let next = Next::after(matrix, &columns, first + panel, &blocks, chunk, panel);
            let complete = blocks.end == rows.blocks && offset + panel >= width;
            for (index, first) in rows_range.clone().step_by(batch).enumerate() {
                let batch = first..rows_range.end.min(first + batch);
                let sums = &mut sums[(first - rows_range.start) * width..][..batch.len() * width];
                next.fetch(index);
                // SAFETY: as above; the panel holds these blocks of these columns,
                // and the sums have `width` values for every row of the batch.
                unsafe {
                    (vector.tiles)(
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
const BATCHES: usize = 8;

/// The weights that are packed next, fetched while the present ones are used.
struct Next<'a> {
    quants: &'a [u8],
    columns: Range<usize>,
    column_bytes: usize,
    blocks: Range<usize>,
}

impl<'a> Next<'a> {
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
    fn fetch(&self, batch: usize) {
        for column in self.columns.clone().skip(batch).step_by(BATCHES) {
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
        quants: Buffer::new(),
        scales: Buffer::new(),
        sums: Buffer::new(),
    }) };
}

struct Scratch {
    quants: Buffer<u8>,
    scales: Buffer<f32>,
    sums: Buffer<f32>,
}
