//! Products with weights that are stored as numbers, `[K, N]`, where they lie.
//!
//! For output `[i, j]`: `sum = 0; for k in 0..K: sum = fma(x[i,k], w[k,j], sum)`,
//! then the epilogue. Weights of half precision are widened, which is exact.

use std::cell::RefCell;
use std::ops::Range;

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::columns::prefetch;
use crate::compiled::compiled;
use crate::disjoint::Disjoint;
use crate::error::ShapeError;
use crate::isa::Isa;
use crate::layout::check_length;
use crate::matmul::{Epilogue, Target};
use crate::pool::Pool;
use crate::scratch::Buffer;
use crate::tile::{COLUMNS, Tiles};

/// Output columns of a task at most: whole pages of a row are read one after the
/// other.
const PANEL: usize = 256;
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
/// Tasks per thread, so that a thread that is interrupted holds up little.
const TASKS_PER_THREAD: usize = 4;

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
    let out = Disjoint::new(out);
    let (rows, panel) = parts(m, n, pool.threads());
    let panels = n.div_ceil(panel);
    let tasks = if m == 0 { 0 } else { panels * m.div_ceil(rows) };
    let isa = pool.isa();
    pool.run(tasks, |task| {
        let (first, column) = (task / panels * rows, task % panels * panel);
        let rows = first..m.min(first + rows);
        let target = Target {
            out: &out,
            n,
            columns: column..n.min(column + panel),
            epilogue,
        };
        // SAFETY: tasks cover disjoint rectangles of the output, and every row of a
        // rectangle is written once.
        let write = |rows, sums: &[f32], width| unsafe { target.finish(isa, rows, sums, width) };
        with_sums(isa, x, rows, weights, target.columns.clone(), write);
    });
    Ok(())
}

/// Rows and columns of a task.
fn parts(m: usize, n: usize, threads: usize) -> (usize, usize) {
    let share = n.div_ceil(threads * TASKS_PER_THREAD);
    if m <= DIRECT_ROWS {
        let panel = share.next_multiple_of(PIECE);
        return (m.max(1), panel.min(DIRECT_PANEL));
    }
    let rows = m.div_ceil(m.div_ceil(MOST_ROWS));
    (rows, share.next_multiple_of(PIECE).min(PANEL))
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch {
        x: Buffer::new(),
        panel: Buffer::new(),
        sums: Buffer::new(),
    }) };
}

struct Scratch {
    /// A chunk of every row of the activations.
    x: Buffer<f32>,
    /// A chunk of the weights, piece by piece.
    panel: Buffer<f32>,
    sums: Buffer<f32>,
}

fn with_sums(
    isa: Isa,
    x: &[f32],
    rows: Range<usize>,
    weights: &DenseMatrix<'_>,
    columns: Range<usize>,
    write: impl FnOnce(Range<usize>, &[f32], usize),
) {
    let k = weights.k;
    let x = &x[rows.start * k..rows.end * k];
    SCRATCH.with_borrow_mut(|scratch| {
        let width = columns.len().next_multiple_of(COLUMNS);
        scratch.sums.grow(rows.len() * width);
        scratch.panel.grow(CHUNK * width.next_multiple_of(PIECE));
        scratch.x.grow(rows.len() * CHUNK);
        let sums = &mut scratch.sums.values()[..rows.len() * width];
        if rows.len() <= DIRECT_ROWS {
            direct(
                isa,
                x,
                weights,
                columns.clone(),
                scratch.panel.values(),
                width,
                sums,
            );
        } else {
            let (chunk_x, panel) = (scratch.x.values(), scratch.panel.values());
            packed(
                isa,
                x,
                weights,
                columns.clone(),
                (chunk_x, panel),
                width,
                sums,
            );
        }
        write(rows, sums, width);
    });
}

fn packed(
    isa: Isa,
    x: &[f32],
    weights: &DenseMatrix<'_>,
    columns: Range<usize>,
    (chunk_x, panel): (&mut [f32], &mut [f32]),
    width: usize,
    sums: &mut [f32],
) {
    let k = weights.k;
    let rows = x.len() / k;
    for start in (0..k).step_by(CHUNK) {
        let chunk = start..k.min(start + CHUNK);
        let inner = chunk.len();
        pack(isa, weights, chunk.clone(), columns.clone(), panel);
        for (x, to) in x.chunks_exact(k).zip(chunk_x.chunks_exact_mut(inner)) {
            to.copy_from_slice(&x[chunk.clone()]);
        }
        for (piece, column) in (0..width).step_by(PIECE).enumerate() {
            fetch(
                weights,
                chunk.end..k.min(chunk.end + CHUNK),
                columns.start + column,
            );
            let tiles = Tiles {
                rows,
                inner,
                columns: PIECE.min(width - column),
                x: chunk_x.as_ptr(),
                x_stride: inner,
                w: panel[piece * PIECE * inner..].as_ptr(),
                w_stride: PIECE,
                out: sums[column..].as_mut_ptr(),
                out_stride: width,
                goes_on: start > 0,
            };
            // SAFETY: the instruction set is a pool's, hence available. The chunk of
            // `x` holds `rows` of `inner` values, every piece of the panel has room for
            // `inner` rows of `PIECE`, and the sums for `rows` of `width`.
            unsafe { tiles.multiply(isa) };
        }
    }
}

/// Asks for a piece of the rows that are copied next.
fn fetch(weights: &DenseMatrix<'_>, rows: Range<usize>, column: usize) {
    for row in rows {
        let at = row * weights.n + column;
        match weights.values {
            Values::F32(values) => prefetch::<4, false>(values.as_ptr().wrapping_add(at).cast()),
            Values::F16(values) => prefetch::<2, false>(values.as_ptr().wrapping_add(at).cast()),
        }
    }
}

compiled! {
    /// Copies the columns of some rows of the weights, piece after piece.
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
    let n = weights.n;
    let inner = rows.len();
    for (i, row) in rows.enumerate() {
        for (piece, column) in columns.clone().step_by(PIECE).enumerate() {
            let count = PIECE.min(columns.end - column);
            let to = &mut panel[(piece * inner + i) * PIECE..][..count];
            match weights.values {
                Values::F32(values) => to.copy_from_slice(&values[row * n + column..][..count]),
                Values::F16(values) => values[row * n + column..][..count].convert_to_f32_slice(to),
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
