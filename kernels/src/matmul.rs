//! Products of activations and quantised weights: the entry points.

use std::cell::RefCell;

use crate::compiled::compiled;
use crate::disjoint::Disjoint;
use crate::error::ShapeError;
use crate::isa::Isa;
use crate::kernel::{self, Kernel};
use crate::layout::{QuantizedMatrix, check_length};
use crate::pool::Pool;
use crate::quantize::QuantizedRows;
use crate::values::{Activation, activate};

/// What is done to a product before it is written:
/// `activation(sum + bias) + residual`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// One value per output column.
    pub bias: Option<&'a [f32]>,
    /// Applied once the bias is added.
    pub activation: Activation,
    /// One value per output, `[M, N]`.
    pub residual: Option<&'a [f32]>,
}

impl Epilogue<'_> {
    /// Whether the lengths fit a product of `outputs` values in rows of `n`.
    pub(crate) fn check(&self, outputs: usize, n: usize) -> Result<(), ShapeError> {
        if let Some(bias) = self.bias {
            check_length("bias", n, bias.len())?;
        }
        if let Some(residual) = self.residual {
            check_length("residual", outputs, residual.len())?;
        }
        Ok(())
    }
}

/// One of several products that share their activations.
#[derive(Debug)]
pub struct Product<'a> {
    /// The weights.
    pub weights: QuantizedMatrix<'a>,
    /// What is added.
    pub epilogue: Epilogue<'a>,
    /// Where the result goes, `[M, N]`.
    pub out: &'a mut [f32],
}

/// `out = x * weights^T + epilogue` for `x` of `M` rows; `M` follows from its
/// length.
pub fn matmul(
    pool: &Pool,
    x: &[f32],
    weights: &QuantizedMatrix<'_>,
    epilogue: Epilogue<'_>,
    out: &mut [f32],
) -> Result<(), ShapeError> {
    thread_local! {
        /// Kept from call to call: fresh memory costs as much as filling it.
        static ROWS: RefCell<QuantizedRows> = const { RefCell::new(QuantizedRows::empty()) };
    }
    ROWS.with_borrow_mut(|rows| {
        rows.fill(pool, x, weights.k())?;
        matmul_rows(pool, rows, weights, epilogue, out)
    })
}

/// The same for activations that are already quantised.
pub fn matmul_rows(
    pool: &Pool,
    rows: &QuantizedRows,
    weights: &QuantizedMatrix<'_>,
    epilogue: Epilogue<'_>,
    out: &mut [f32],
) -> Result<(), ShapeError> {
    matmul_many(
        pool,
        rows,
        &mut [Product {
            weights: *weights,
            epilogue,
            out,
        }],
    )
}

/// Several products over the same activations, as one job of the pool.
///
/// Nothing is written if any of the shapes does not fit.
pub fn matmul_many(
    pool: &Pool,
    rows: &QuantizedRows,
    products: &mut [Product<'_>],
) -> Result<(), ShapeError> {
    for product in products.iter() {
        check(rows, product)?;
    }
    if rows.m() == 0 {
        return Ok(());
    }
    let isa = pool.isa();
    let kernel = Kernel::of(isa);
    let mut plans = Vec::with_capacity(products.len());
    let mut tasks = 0;
    for product in products {
        let grid = Grid::new(rows.m(), product.weights.n(), kernel, pool.threads());
        plans.push(Plan {
            first: tasks,
            grid,
            weights: product.weights,
            epilogue: product.epilogue,
            out: Disjoint::new(&mut *product.out),
        });
        tasks += grid.tasks();
    }
    pool.run(tasks, |index| {
        let plan = match plans.binary_search_by_key(&index, |plan| plan.first) {
            Ok(exact) => &plans[exact],
            Err(after) => &plans[after - 1],
        };
        plan.run(isa, rows, index - plan.first);
    });
    Ok(())
}

fn check(rows: &QuantizedRows, product: &Product<'_>) -> Result<(), ShapeError> {
    let weights = &product.weights;
    if rows.k() != weights.k() {
        return Err(ShapeError::InnerMismatch {
            rows: rows.k(),
            weights: weights.k(),
        });
    }
    let outputs = rows
        .m()
        .checked_mul(weights.n())
        .ok_or(ShapeError::Overflow)?;
    check_length("output", outputs, product.out.len())?;
    product.epilogue.check(outputs, weights.n())
}

/// One product, and its share of the job's tasks.
struct Plan<'a> {
    first: usize,
    grid: Grid,
    weights: QuantizedMatrix<'a>,
    epilogue: Epilogue<'a>,
    out: Disjoint<'a, f32>,
}

impl Plan<'_> {
    fn run(&self, isa: Isa, rows: &QuantizedRows, task: usize) {
        let kernel = Kernel::of(isa);
        let rows = rows.ordered(self.weights.bits());
        let (row_range, column_range) = self.grid.part(task);
        let target = Target {
            out: &self.out,
            n: self.weights.n(),
            columns: column_range.clone(),
            epilogue: self.epilogue,
        };
        kernel::with_sums(
            kernel,
            &rows,
            row_range,
            &self.weights,
            column_range,
            // SAFETY: the tasks of a grid cover disjoint rectangles of the output, and
            // every row of a rectangle is written once.
            |rows, sums, width| unsafe { target.finish(isa, rows, sums, width) },
        );
    }
}

/// The columns of an output that a task writes.
pub(crate) struct Target<'a> {
    pub(crate) out: &'a Disjoint<'a, f32>,
    /// Columns of the whole output.
    pub(crate) n: usize,
    pub(crate) columns: std::ops::Range<usize>,
    pub(crate) epilogue: Epilogue<'a>,
}

impl Target<'_> {
    /// Writes what the epilogue makes of the sums of some rows, `width` apart.
    ///
    /// # Safety
    /// No other thread may write these rows of these columns.
    pub(crate) unsafe fn finish(
        &self,
        isa: Isa,
        rows: std::ops::Range<usize>,
        sums: &[f32],
        width: usize,
    ) {
        finish(isa, self, rows, sums, width);
    }
}

compiled! {
    fn finish(target: &Target<'_>, rows: std::ops::Range<usize>, sums: &[f32], width: usize) = finish_of
}

#[inline(always)]
fn finish_of(target: &Target<'_>, rows: std::ops::Range<usize>, sums: &[f32], width: usize) {
    let columns = target.columns.clone();
    let bias = target.epilogue.bias.map(|bias| &bias[columns.clone()]);
    for (row, sums) in rows.zip(sums.chunks(width)) {
        let at = row * target.n + columns.start..row * target.n + columns.end;
        // SAFETY: the promise of the only caller, `Target::finish`.
        let out = unsafe { target.out.part(at.clone()) };
        match bias {
            None => out.copy_from_slice(&sums[..out.len()]),
            Some(bias) => {
                let all = out.iter_mut().zip(sums.iter().zip(bias));
                all.for_each(|(out, (sum, bias))| *out = sum + bias);
            }
        }
        activate(target.epilogue.activation, out);
        if let Some(residual) = target.epilogue.residual {
            let all = out.iter_mut().zip(&residual[at]);
            all.for_each(|(out, residual)| *out += residual);
        }
    }
}

/// How the output of one product is cut into tasks.
///
/// The cut depends on the number of threads; the results do not, since every
/// output is computed whole by one task.
#[derive(Clone, Copy, Debug)]
struct Grid {
    m: usize,
    n: usize,
    rows: usize,
    columns: usize,
}

/// Rows beyond this are another task, which unpacks the weights again.
const MOST_ROWS: usize = 384;
/// Tasks per thread, so that a thread that is interrupted holds up little.
const TASKS_PER_THREAD: usize = 4;

impl Grid {
    fn new(m: usize, n: usize, kernel: &Kernel, threads: usize) -> Self {
        let row_parts = m.div_ceil(MOST_ROWS);
        let rows = m.div_ceil(row_parts).next_multiple_of(kernel.tile_rows);
        let columns = if m <= kernel.direct_rows {
            // Each column is read once: long runs, but enough of them.
            let share = n.div_ceil(threads * TASKS_PER_THREAD);
            share
                .next_multiple_of(kernel.lanes)
                .clamp(kernel.lanes, 8 * kernel.panel)
        } else {
            kernel.panel
        };
        Self {
            m,
            n,
            rows,
            columns,
        }
    }

    fn tasks(&self) -> usize {
        self.m.div_ceil(self.rows) * self.n.div_ceil(self.columns)
    }

    /// Tasks that share rows follow each other, as these rows are then warm.
    fn part(&self, task: usize) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
        let across = self.n.div_ceil(self.columns);
        let (row, column) = (task / across * self.rows, task % across * self.columns);
        (
            row..self.m.min(row + self.rows),
            column..self.n.min(column + self.columns),
        )
    }
}
