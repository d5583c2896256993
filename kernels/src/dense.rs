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
use crate::layout::check_length;
use crate::matmul::{Epilogue, finish};
use crate::pool::Pool;
use crate::scratch::Buffer;
use crate::tile::{COLUMNS, Tiles};

/// Output columns of a task.
const PANEL: usize = 64;
/// Rows of the weights that are copied at a time, so that a panel's piece stays
/// in the first-level cache.
const CHUNK: usize = 128;
/// Rows beyond this are another task, which copies the weights again.
const MOST_ROWS: usize = 384;

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
    let panels = n.div_ceil(PANEL);
    let rows = m.div_ceil(m.div_ceil(MOST_ROWS).max(1));
    let tasks = if m == 0 { 0 } else { panels * m.div_ceil(rows) };
    let isa = pool.isa();
    pool.run(tasks, |task| {
        let (first, column) = (task / panels * rows, task % panels * PANEL);
        let rows = first..m.min(first + rows);
        let columns = column..n.min(column + PANEL);
        with_sums(isa, x, rows, weights, columns.clone(), |row, sums| {
            let at = row * n + columns.start..row * n + columns.end;
            // SAFETY: tasks cover disjoint rectangles of the output, and a rectangle
            // is written by one task, row by row.
            let out = unsafe { out.part(at.clone()) };
            let bias = epilogue.bias.map(|bias| &bias[columns.clone()]);
            let residual = epilogue.residual.map(|residual| &residual[at]);
            finish(isa, sums, bias, epilogue.activation, residual, out);
        });
    });
    Ok(())
}

thread_local! {
    /// A piece of the weights, and sums.
    static SCRATCH: RefCell<(Buffer<f32>, Buffer<f32>)> =
        const { RefCell::new((Buffer::new(), Buffer::new())) };
}

fn with_sums(
    isa: crate::Isa,
    x: &[f32],
    rows: Range<usize>,
    weights: &DenseMatrix<'_>,
    columns: Range<usize>,
    mut write: impl FnMut(usize, &[f32]),
) {
    let k = weights.k;
    let x = &x[rows.start * k..rows.end * k];
    SCRATCH.with_borrow_mut(|(panel, sums)| {
        let width = columns.len().next_multiple_of(COLUMNS);
        panel.grow(CHUNK * width);
        sums.grow(rows.len() * width);
        let (panel, sums) = (panel.values(), &mut sums.values()[..rows.len() * width]);
        for start in (0..k).step_by(CHUNK) {
            let chunk = start..k.min(start + CHUNK);
            pack(isa, weights, chunk.clone(), columns.clone(), width, panel);
            let tiles = Tiles {
                rows: rows.len(),
                inner: chunk.len(),
                columns: width,
                x: x[start..].as_ptr(),
                x_stride: k,
                w: panel.as_ptr(),
                w_stride: width,
                out: sums.as_mut_ptr(),
                out_stride: width,
                goes_on: start > 0,
            };
            // SAFETY: the instruction set is a pool's, hence available. `x` holds
            // whole rows of `k` values of which this is a part, the panel holds
            // `chunk` rows of `width`, and the sums `rows` of `width`.
            unsafe { tiles.multiply(isa) };
        }
        for (sums, row) in sums.chunks(width).zip(rows) {
            write(row, &sums[..columns.len()]);
        }
    });
}

compiled! {
    /// Copies the columns of some rows of the weights, `width` apart.
    fn pack(
        weights: &DenseMatrix<'_>,
        rows: Range<usize>,
        columns: Range<usize>,
        width: usize,
        panel: &mut [f32],
    ) = pack_of
}

#[inline(always)]
fn pack_of(
    weights: &DenseMatrix<'_>,
    rows: Range<usize>,
    columns: Range<usize>,
    width: usize,
    panel: &mut [f32],
) {
    /// Rows between the one that is copied and the one that is fetched.
    const AHEAD: usize = 16;
    let n = weights.n;
    for (row, panel) in rows.zip(panel.chunks_exact_mut(width)) {
        let at = row * n + columns.start..row * n + columns.end;
        match weights.values {
            Values::F32(values) => {
                prefetch::<4, true>(values.as_ptr().wrapping_add(at.start + AHEAD * n).cast());
                panel[..columns.len()].copy_from_slice(&values[at]);
            }
            Values::F16(values) => values[at].convert_to_f32_slice(&mut panel[..columns.len()]),
        }
    }
}
