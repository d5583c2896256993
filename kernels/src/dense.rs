//! Products with weights that are stored as numbers, `[K, N]`, where they lie.
//!
//! For output `[i, j]`: `sum = 0; for k in 0..K: sum = fma(x[i,k], w[k,j], sum)`,
//! then the epilogue. Weights of half precision are widened, which is exact.

use std::cell::RefCell;
use std::ops::Range;

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::compiled::compiled;
use crate::disjoint::Disjoint;
use crate::error::ShapeError;
use crate::isa::Isa;
use crate::layout::check_length;
use crate::matmul::{Epilogue, Target};
use crate::parts::{Parts, TASKS_PER_THREAD};
use crate::pool::Pool;
use crate::scratch::Buffer;
use crate::tile::{Ahead, COLUMNS, Tiles};

/// Output columns of a task at most: whole pages of a row are read one after the
/// other.
const PANEL: usize = 512;
/// Columns of a piece that stays in the first-level cache.
const PIECE: usize = 64;
/// Rows of the weights that are copied at a time.
const CHUNK: usize = 128;
/// Rows beyond this are another task, which copies the weights again.
const MOST_ROWS: usize = 384;
/// The most rows for which weights are used as they are read.
const DIRECT_ROWS: usize = 3;
/// Columns of a task for so few rows at most.
const DIRECT_PANEL: usize = 2048;

/// A borrowed matrix of `k` rows of `n` weights.
#[derive(Clone, Copy, Debug)]
pub struct DenseMatrix<'a> {
    k: usize,
    n: usize,
    values: Values<'a>,
}

/// Weights as they are stored, row after row.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Half precision.
    F16(&'a [f16]),
}

impl<'a> DenseMatrix<'a> {
    /// Takes the buffer as it is, if it has the length that the shape needs.
    pub fn new(k: usize, n: usize, values: Values<'a>) -> Result<Self, ShapeError> {
        for (what, size) in [("k", k), ("n", n)] {
            if size == 0 {
                return Err(ShapeError::Zero { what });
            }
        }
        let count = k.checked_mul(n).ok_or(ShapeError::Overflow)?;
        let length = match values {
            Values::F32(values) => values.len(),
            Values::F16(values) => values.len(),
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
            Values::F32(values) => size_of_val(values),
            Values::F16(values) => size_of_val(values),
        }
    }
}

/// `out = x * weights + epilogue` for `x` of `M` rows; `M` follows from its length.
pub fn matmul_dense(
    pool: &Pool,
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
        static ARRANGED: RefCell<Buffer<f32>> = const { RefCell::new(Buffer::new()) };
    }
    ARRANGED.with_borrow_mut(|arranged| {
        let x = if m <= DIRECT_ROWS || k <= CHUNK {
            x
        } else {
            arranged.grow(x.len());
            let arranged = &mut arranged.values()[..x.len()];
            arrange(pool, x, k, arranged);
            arranged
        };
        multiply(pool, x, m, weights, epilogue, &Disjoint::new(out));
    });
    Ok(())
}

/// Chunk after chunk of [`CHUNK`] columns, the rows of each one after the other: rows
/// that lie far apart would be in each other's way in the first-level cache.
fn arrange(pool: &Pool, x: &[f32], k: usize, arranged: &mut [f32]) {
    let m = x.len() / k;
    let rows = m.div_ceil(pool.threads() * TASKS_PER_THREAD);
    let arranged = Disjoint::new(arranged);
    pool.run(m.div_ceil(rows), |task| {
        for row in task * rows..m.min((task + 1) * rows) {
            for (chunk, values) in x[row * k..][..k].chunks(CHUNK).enumerate() {
                let at = chunk * CHUNK * m + row * values.len();
                // SAFETY: every row of a chunk has a place of its own, and every row
                // belongs to one task.
                unsafe { arranged.part(at..at + values.len()) }.copy_from_slice(values);
            }
        }
    });
}

/// The product of arranged activations, or of a few that lie as they were given.
fn multiply(
    pool: &Pool,
    x: &[f32],
    m: usize,
    weights: &DenseMatrix<'_>,
    epilogue: Epilogue<'_>,
    out: &Disjoint<'_, f32>,
) {
    let n = weights.n;
    let (most_rows, most_columns) = if m <= DIRECT_ROWS {
        (DIRECT_ROWS, DIRECT_PANEL)
    } else {
        (MOST_ROWS, PANEL)
    };
    let parts = Parts::new((m, most_rows), (n, most_columns), PIECE, pool.threads());
    let isa = pool.isa();
    pool.run(parts.tasks(), |task| {
        let (rows, columns) = parts.of(task);
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
        piece: Buffer::new(),
        sums: Buffer::new(),
    }) };
}

struct Scratch {
    /// A piece of the weights, or a few whole rows of a task.
    piece: Buffer<f32>,
    sums: Buffer<f32>,
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
        scratch.piece.grow(CHUNK * PIECE);
        let sums = &mut scratch.sums.values()[..rows.len() * width];
        let piece = scratch.piece.values();
        if m <= DIRECT_ROWS {
            let x = &x[rows.start * weights.k..rows.end * weights.k];
            direct(isa, x, weights, columns, piece, width, sums);
        } else {
            packed(isa, x, m, rows.clone(), weights, columns, piece, sums);
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
    piece: &mut [f32],
    sums: &mut [f32],
) {
    let k = weights.k;
    let width = sums.len() / rows.len();
    for start in (0..k).step_by(CHUNK) {
        let chunk = start..k.min(start + CHUNK);
        let inner = chunk.len();
        let x = &x[start * m + rows.start * inner..][..rows.len() * inner];
        for column in (0..width).step_by(PIECE) {
            let first = columns.start + column;
            let of_piece = first..columns.end.min(first + PIECE);
            pack(isa, weights, chunk.clone(), of_piece.clone(), piece);
            let tiles = Tiles {
                rows: rows.len(),
                inner,
                columns: PIECE.min(width - column),
                x: x.as_ptr(),
                x_stride: inner,
                w: piece.as_ptr(),
                w_stride: PIECE,
                out: sums[column..].as_mut_ptr(),
                out_stride: width,
                goes_on: start > 0,
            };
            let mut ahead = ahead(weights, chunk.end, of_piece, columns.len(), rows.len());
            // SAFETY: the instruction set is a pool's, hence available. The chunk of
            // `x` holds these rows of `inner` values, the piece has room for as many
            // rows of `PIECE`, and the sums for all rows of `width`.
            unsafe { tiles.multiply(isa, &mut ahead) };
        }
    }
}

/// What is copied after the other pieces of a task: the same columns in the rows from
/// `row`, or the first rows of the columns that follow, which are probably this
/// thread's next task.
fn ahead(
    weights: &DenseMatrix<'_>,
    row: usize,
    piece: Range<usize>,
    task: usize,
    x_rows: usize,
) -> Ahead {
    let (k, n) = (weights.k, weights.n);
    let (row, column) = if row < k {
        (row, piece.start)
    } else {
        (0, piece.start + task)
    };
    if column >= n {
        return Ahead::nothing();
    }
    let rows = CHUNK.min(k - row);
    let count = PIECE.min(n - column);
    let at = row * n + column;
    let (from, size) = match weights.values {
        Values::F32(values) => (values[at..].as_ptr().cast(), size_of::<f32>()),
        Values::F16(values) => (values[at..].as_ptr().cast(), size_of::<f16>()),
    };
    Ahead::new(from, count * size, n * size, rows, x_rows)
}

compiled! {
    /// Copies the columns of some rows of the weights, row after row of [`PIECE`].
    fn pack(
        weights: &DenseMatrix<'_>,
        rows: Range<usize>,
        columns: Range<usize>,
        piece: &mut [f32],
    ) = pack_of
}

#[inline(always)]
fn pack_of(
    weights: &DenseMatrix<'_>,
    rows: Range<usize>,
    columns: Range<usize>,
    piece: &mut [f32],
) {
    for (row, to) in rows.zip(piece.as_chunks_mut::<PIECE>().0) {
        let at = row * weights.n + columns.start..row * weights.n + columns.end;
        match weights.values {
            Values::F32(values) => match values[at.clone()].first_chunk() {
                // Of a known length: a few moves and no call.
                Some(values) => *to = *values,
                None => to[..at.len()].copy_from_slice(&values[at]),
            },
            Values::F16(values) => {
                values[at.clone()].convert_to_f32_slice(&mut to[..at.len()]);
            }
        }
    }
}

compiled! {
    /// The sums of a few rows, while the weights are read once, in their order.
    fn direct(
        x: &[f32],
        weights: &DenseMatrix<'_>,
        columns: Range<usize>,
        wide: &mut [f32],
        width: usize,
        sums: &mut [f32],
    ) = direct_of
}

#[inline(always)]
fn direct_of(
    x: &[f32],
    weights: &DenseMatrix<'_>,
    columns: Range<usize>,
    wide: &mut [f32],
    width: usize,
    sums: &mut [f32],
) {
    /// Rows of the weights that are added before the sums are stored.
    const GROUP: usize = 4;
    const { assert!(GROUP * DIRECT_PANEL <= CHUNK * PIECE) };
    let (k, n, count) = (weights.k, weights.n, columns.len());
    sums.fill(0.0);
    for start in (0..k).step_by(GROUP) {
        let group = GROUP.min(k - start);
        let at = |i: usize| (start + i) * n + columns.start;
        if let Values::F16(values) = weights.values {
            for (i, wide) in wide.chunks_exact_mut(count).take(group).enumerate() {
                values[at(i)..][..count].convert_to_f32_slice(wide);
            }
        }
        let row = |i: usize| match weights.values {
            Values::F32(values) => &values[at(i)..][..count],
            Values::F16(_) => &wide[i * count..][..count],
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
