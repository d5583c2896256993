//! Products with weights that are stored as numbers, `[K, N]`, where they lie.
//!
//! For output `[i, j]`: `sum = 0; for k in 0..K: sum = fma(x[i,k], w[k,j], sum)`,
//! then the epilogue. Weights of half precision are widened, which is exact.

use std::cell::RefCell;
use std::ops::Range;

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::epilogue::{Epilogue, Target};
use super::task_grid::{TASKS_PER_THREAD, TaskGrid};
use super::tile_f32::{COLUMNS, GemmArgs, Prefetcher};
use crate::aligned_buffer::AlignedBuffer;
use crate::error::ShapeError;
use crate::layout::check_length;
use crate::shared_slice::SharedSliceMut;
use crate::simd::isa::Isa;
use crate::simd::multiversion::multiversion;
use crate::thread_pool::ThreadPool;

/// Output columns of a task at most: whole pages of a row are read one after the
/// other.
const MAX_COLUMNS: usize = 512;
/// ColumnPtrs of a panel that stays in the first-level cache.
const PANEL_COLUMNS: usize = 64;
/// Rows of the weights that are copied at a time.
const KC: usize = 128;
/// Rows beyond this are another task, which copies the weights again.
const MAX_ROWS: usize = 384;
/// The most rows for which weights are used as they are read.
const GEMV_MAX_ROWS: usize = 3;
/// ColumnPtrs of a task for so few rows at most.
const GEMV_COLUMNS: usize = 2048;

/// A borrowed matrix of `k` rows of `n` weights.
#[derive(Clone, Copy, Debug)]
pub struct DenseMatrix<'a> {
    k: usize,
    n: usize,
    values: DenseValues<'a>,
}

/// Weights as they are stored, row after row.
#[derive(Clone, Copy, Debug)]
pub enum DenseValues<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Half precision.
    F16(&'a [f16]),
}

impl<'a> DenseMatrix<'a> {
    /// Takes the buffer as it is, if it has the length that the shape needs.
    pub fn new(k: usize, n: usize, values: DenseValues<'a>) -> Result<Self, ShapeError> {
        for (what, size) in [("k", k), ("n", n)] {
            if size == 0 {
                return Err(ShapeError::Zero { what });
            }
        }
        let count = k.checked_mul(n).ok_or(ShapeError::Overflow)?;
        let length = match values {
            DenseValues::F32(values) => values.len(),
            DenseValues::F16(values) => values.len(),
        };
        check_length("weights", count, length)?;
        Ok(Self { k, n, values })
    }

    /// The inner dimension.
    #[must_use]
    pub fn k(&self) -> usize {
        self.k
    }

    /// The number of output columns.
    #[must_use]
    pub fn n(&self) -> usize {
        self.n
    }

    /// The number of bytes that the weights take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self.values {
            DenseValues::F32(values) => size_of_val(values),
            DenseValues::F16(values) => size_of_val(values),
        }
    }
}

/// `out = x * weights + epilogue` for `x` of `M` rows; `M` follows from its length.
pub fn matmul_dense(
    pool: &ThreadPool,
    x: &[f32],
    weights: &DenseMatrix<'_>,
    epilogue: Epilogue<'_>,
    out: &mut [f32],
) -> Result<(), ShapeError> {
    let (k, n) = (weights.k, weights.n);
    let m = x.len() / k;
    check_length("activations", m * k, x.len())?;
    let outputs = m.checked_mul(n).ok_or(ShapeError::Overflow)?;
    check_length("output", outputs, out.len())?;
    epilogue.check(outputs, n)?;
    thread_local! {
        /// Kept from call to call: fresh memory costs as much as filling it.
        static BLOCKED: RefCell<AlignedBuffer<f32>> = const { RefCell::new(AlignedBuffer::new()) };
    }
    BLOCKED.with_borrow_mut(|blocked| {
        let x = if m <= GEMV_MAX_ROWS || k <= KC {
            x
        } else {
            blocked.grow(x.len());
            let blocked = &mut blocked.as_mut_slice()[..x.len()];
            block_columns(pool, x, k, blocked);
            blocked
        };
        multiply(pool, x, m, weights, epilogue, &SharedSliceMut::new(out));
    });
    Ok(())
}

/// Chunk after chunk of [`KC`] columns, the rows of each one after the other: rows
/// that lie far apart would be in each other's way in the first-level cache.
fn block_columns(pool: &ThreadPool, x: &[f32], k: usize, blocked: &mut [f32]) {
    let m = x.len() / k;
    let rows = m.div_ceil(pool.threads() * TASKS_PER_THREAD);
    let blocked = SharedSliceMut::new(blocked);
    pool.run(m.div_ceil(rows), |task| {
        for row in task * rows..m.min((task + 1) * rows) {
            for (chunk, values) in x[row * k..][..k].chunks(KC).enumerate() {
                let at = chunk * KC * m + row * values.len();
                // SAFETY: every row of a chunk has a place of its own, and every row
                // belongs to one task.
                unsafe { blocked.slice_mut(at..at + values.len()) }.copy_from_slice(values);
            }
        }
    });
}

/// The product of blocked activations, or of a few that lie as they were given.
fn multiply(
    pool: &ThreadPool,
    x: &[f32],
    m: usize,
    weights: &DenseMatrix<'_>,
    epilogue: Epilogue<'_>,
    out: &SharedSliceMut<'_, f32>,
) {
    let n = weights.n;
    let (most_rows, most_columns) = if m <= GEMV_MAX_ROWS {
        (GEMV_MAX_ROWS, GEMV_COLUMNS)
    } else {
        (MAX_ROWS, MAX_COLUMNS)
    };
    let grid = TaskGrid::new(
        (m, most_rows),
        (n, most_columns),
        PANEL_COLUMNS,
        pool.threads(),
    );
    let isa = pool.isa();
    pool.run(grid.tasks(), |task| {
        let (rows, columns) = grid.tile(task);
        let target = Target {
            out,
            n,
            columns: columns.clone(),
            epilogue,
        };
        // SAFETY: tasks cover disjoint rectangles of the output, and every row of a
        // rectangle is written once.
        let write = |rows, sums: &[f32], width| unsafe { target.finish(isa, rows, sums, width) };
        with_sums(isa, x, m, rows, weights, columns, write);
    });
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch {
        panel: AlignedBuffer::new(),
        sums: AlignedBuffer::new(),
    }) };
}

struct Scratch {
    /// A panel of the weights, or a few whole rows of a task.
    panel: AlignedBuffer<f32>,
    sums: AlignedBuffer<f32>,
}

fn with_sums(
    isa: Isa,
    x: &[f32],
    m: usize,
    rows: Range<usize>,
    weights: &DenseMatrix<'_>,
    columns: Range<usize>,
    write: impl FnOnce(Range<usize>, &[f32], usize),
) {
    SCRATCH.with_borrow_mut(|scratch| {
        let width = columns.len().next_multiple_of(COLUMNS);
        scratch.sums.grow(rows.len() * width);
        scratch.panel.grow(KC * PANEL_COLUMNS);
        let sums = &mut scratch.sums.as_mut_slice()[..rows.len() * width];
        let panel = scratch.panel.as_mut_slice();
        if m <= GEMV_MAX_ROWS {
            let x = &x[rows.start * weights.k..rows.end * weights.k];
            gemv(isa, x, weights, columns, panel, width, sums);
        } else {
            packed(isa, x, m, rows.clone(), weights, columns, panel, sums);
        }
        write(rows, sums, width);
    });
}

#[expect(clippy::too_many_arguments, reason = "a product and the memory for it")]
fn packed(
    isa: Isa,
    x: &[f32],
    m: usize,
    rows: Range<usize>,
    weights: &DenseMatrix<'_>,
    columns: Range<usize>,
    panel: &mut [f32],
    sums: &mut [f32],
) {
    let k = weights.k;
    let width = sums.len() / rows.len();
    for start in (0..k).step_by(KC) {
        let chunk = start..k.min(start + KC);
        let inner = chunk.len();
        let x = &x[start * m + rows.start * inner..][..rows.len() * inner];
        for column in (0..width).step_by(PANEL_COLUMNS) {
            let first = columns.start + column;
            let of_piece = first..columns.end.min(first + PANEL_COLUMNS);
            pack(isa, weights, chunk.clone(), of_piece.clone(), panel);
            let tiles = GemmArgs {
                rows: rows.len(),
                inner,
                columns: PANEL_COLUMNS.min(width - column),
                x: x.as_ptr(),
                x_stride: inner,
                w: panel.as_ptr(),
                w_stride: PANEL_COLUMNS,
                out: sums[column..].as_mut_ptr(),
                out_stride: width,
                accumulate: start > 0,
            };
            let mut prefetcher =
                prefetcher(weights, chunk.end, of_piece, columns.len(), rows.len());
            // SAFETY: the instruction set is a pool's, hence available. The chunk of
            // `x` holds these rows of `inner` values, the panel has room for as many
            // rows of `PANEL_COLUMNS`, and the sums for all rows of `width`.
            unsafe { tiles.multiply(isa, &mut prefetcher) };
        }
    }
}

/// What is copied after the other pieces of a task: the same columns in the rows from
/// `row`, or the first rows of the columns that follow, which are probably this
/// thread's next task.
fn prefetcher(
    weights: &DenseMatrix<'_>,
    row: usize,
    panel: Range<usize>,
    task: usize,
    x_rows: usize,
) -> Prefetcher {
    let (k, n) = (weights.k, weights.n);
    let (row, column) = if row < k {
        (row, panel.start)
    } else {
        (0, panel.start + task)
    };
    if column >= n {
        return Prefetcher::none();
    }
    let rows = KC.min(k - row);
    let count = PANEL_COLUMNS.min(n - column);
    let at = row * n + column;
    let (from, size) = match weights.values {
        DenseValues::F32(values) => (values[at..].as_ptr().cast(), size_of::<f32>()),
        DenseValues::F16(values) => (values[at..].as_ptr().cast(), size_of::<f16>()),
    };
    Prefetcher::new(from, count * size, n * size, rows, x_rows)
}

multiversion! {
    /// Copies the columns of some rows of the weights, row after row of [`PANEL_COLUMNS`].
    fn pack(
        weights: &DenseMatrix<'_>,
        rows: Range<usize>,
        columns: Range<usize>,
        panel: &mut [f32],
    ) = pack_of
}

#[inline(always)]
fn pack_of(
    weights: &DenseMatrix<'_>,
    rows: Range<usize>,
    columns: Range<usize>,
    panel: &mut [f32],
) {
    for (row, to) in rows.zip(panel.as_chunks_mut::<PANEL_COLUMNS>().0) {
        let at = row * weights.n + columns.start..row * weights.n + columns.end;
        match weights.values {
            DenseValues::F32(values) => match values[at.clone()].first_chunk() {
                // Of a known length: a few moves and no call.
                Some(values) => *to = *values,
                None => to[..at.len()].copy_from_slice(&values[at]),
            },
            DenseValues::F16(values) => {
                values[at.clone()].convert_to_f32_slice(&mut to[..at.len()]);
            }
        }
    }
}

multiversion! {
    /// The sums of a few rows, while the weights are read once, in their order.
    fn gemv(
        x: &[f32],
        weights: &DenseMatrix<'_>,
        columns: Range<usize>,
        widened: &mut [f32],
        width: usize,
        sums: &mut [f32],
    ) = gemv_of
}

#[inline(always)]
fn gemv_of(
    x: &[f32],
    weights: &DenseMatrix<'_>,
    columns: Range<usize>,
    widened: &mut [f32],
    width: usize,
    sums: &mut [f32],
) {
    /// Rows of the weights that are added before the sums are stored.
    const GROUP: usize = 4;
    const { assert!(GROUP * GEMV_COLUMNS <= KC * PANEL_COLUMNS) };
    let (k, n, count) = (weights.k, weights.n, columns.len());
    sums.fill(0.0);
    for start in (0..k).step_by(GROUP) {
        let group = GROUP.min(k - start);
        let at = |i: usize| (start + i) * n + columns.start;
        if let DenseValues::F16(values) = weights.values {
            for (i, widened) in widened.chunks_exact_mut(count).take(group).enumerate() {
                values[at(i)..][..count].convert_to_f32_slice(widened);
            }
        }
        let row = |i: usize| match weights.values {
            DenseValues::F32(values) => &values[at(i)..][..count],
            DenseValues::F16(_) => &widened[i * count..][..count],
        };
        for (x, sums) in x.chunks_exact(k).zip(sums.chunks_exact_mut(width)) {
            let (x, sums) = (&x[start..start + group], &mut sums[..count]);
            if group == GROUP {
                let (a, b, c, d) = (row(0), row(1), row(2), row(3));
                for j in 0..count {
                    let sum = x[0].mul_add(a[j], sums[j]);
                    let sum = x[1].mul_add(b[j], sum);
                    let sum = x[2].mul_add(c[j], sum);
                    sums[j] = x[3].mul_add(d[j], sum);
                }
            } else {
                for (i, x) in x.iter().enumerate() {
                    for (sum, w) in sums.iter_mut().zip(row(i)) {
                        *sum = x.mul_add(*w, *sum);
                    }
                }
            }
        }
    }
}
