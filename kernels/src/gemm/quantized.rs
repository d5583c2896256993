//! Products of activations and quantised weights: the entry point.

use std::cell::RefCell;

use super::dispatch::Kernel;
use super::driver::with_sums;
use super::epilogue::{Epilogue, Target};
use crate::activations::RowsView;
use crate::error::ShapeError;
use crate::layout::{QuantizedMatrix, check_length};
use crate::quantize_activations::QuantizedRows;
use crate::shared_slice::SharedSliceMut;
use crate::thread_pool::ThreadPool;

/// `out = x * weights^T + epilogue` for `x` of `M` rows; `M` follows from its
/// length.
///
/// Nothing is written if any of the shapes does not fit.
pub fn matmul(
    pool: &ThreadPool,
    x: &[f32],
    weights: &QuantizedMatrix<'_>,
    epilogue: Epilogue<'_>,
    out: &mut [f32],
) -> Result<(), ShapeError> {
    thread_local! {
        /// Kept from call to call: fresh memory costs as much as filling it.
        static ROWS: RefCell<QuantizedRows> = const { RefCell::new(QuantizedRows::empty()) };
    }
    let (k, n) = (weights.k(), weights.n());
    let m = x.len() / k;
    check_length("activations", m * k, x.len())?;
    let outputs = m.checked_mul(n).ok_or(ShapeError::Overflow)?;
    check_length("output", outputs, out.len())?;
    epilogue.check(outputs, n)?;
    if m == 0 {
        return Ok(());
    }
    ROWS.with_borrow_mut(|rows| {
        rows.fill(pool, x, k, weights.bits());
        multiply(
            pool,
            &rows.rows(),
            weights,
            epilogue,
            &SharedSliceMut::new(out),
        );
    });
    Ok(())
}

fn multiply(
    pool: &ThreadPool,
    rows: &RowsView<'_>,
    weights: &QuantizedMatrix<'_>,
    epilogue: Epilogue<'_>,
    out: &SharedSliceMut<'_, f32>,
) {
    let isa = pool.isa();
    let kernel = Kernel::of(isa);
    let grid = kernel.task_grid(rows.m, weights.n(), pool.threads());
    pool.run(grid.tasks(), |task| {
        let (gemv_rows, columns) = grid.tile(task);
        let target = Target {
            out,
            n: weights.n(),
            columns: columns.clone(),
            epilogue,
        };
        // SAFETY: the tasks cover disjoint rectangles of the output, and every row of
        // a rectangle is written once.
        let write = |rows, sums: &[f32], width| unsafe { target.finish(isa, rows, sums, width) };
        with_sums(kernel, rows, gemv_rows, weights, columns, write);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::isa::Isa;
    use crate::{Bits, Scales};

    /// The definition in the documentation of `gemm`, as plain loops that share
    /// nothing with tile, packing and matrix-vector product.
    fn specification(rows: &RowsView<'_>, matrix: &QuantizedMatrix<'_>) -> Vec<f32> {
        let mut out = Vec::new();
        for row in 0..rows.m {
            for column in 0..matrix.n() {
                let mut sum = 0.0_f32;
                for block in 0..rows.blocks {
                    let x = &rows.quants[row * rows.stride + block * 32..][..32];
                    // The order of the activations for 4-bit weights.
                    let x = |k: usize| match matrix.bits() {
                        Bits::Four => x[k % 2 * 16 + k / 2],
                        Bits::Eight => x[k],
                    };
                    let weights = matrix.block(column, block);
                    let dot: i32 = (0..32)
                        .map(|k| i32::from(x(k)) * i32::from(weights[k]))
                        .sum();
                    let scale = rows.scales[row * rows.blocks + block]
                        * matrix.scales().get(column * rows.blocks + block);
                    sum = (dot as f32).mul_add(scale, sum);
                }
                out.push(sum);
            }
        }
        out
    }

    #[test]
    fn every_instruction_set_computes_the_specification() {
        let mut state = 9_u32;
        let mut next = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        };
        for (bits, m, n, k) in [Bits::Four, Bits::Eight]
            .into_iter()
            .flat_map(|bits| [1, 3, 4, 5, 6, 7, 13].map(|m| (bits, m, 37, 35 * 32)))
        {
            let x: Vec<f32> = (0..m * k).map(|_| next() as f32 / 8e6 - 1.0).collect();
            let bytes = n * k / 32 * bits.block_bytes();
            let quants: Vec<u8> = (0..bytes).map(|_| next() as u8).collect();
            let scales: Vec<f32> = (0..n * k / 32).map(|_| next() as f32 / 1e7 - 0.5).collect();
            let matrix = QuantizedMatrix::new(bits, n, k, &quants, Scales::F32(&scales)).unwrap();
            let pool = ThreadPool::new(2).unwrap();
            let mut rows = QuantizedRows::empty();
            rows.fill(&pool, &x, k, bits);
            let expected = specification(&rows.rows(), &matrix);
            for isa in Isa::available() {
                let pool = pool.with_isa(isa).unwrap();
                let mut out = vec![0.0; m * n];
                matmul(&pool, &x, &matrix, Epilogue::default(), &mut out).unwrap();
                assert_eq!(out, expected, "{isa}, {bits:?}, {m} rows");
            }
        }
    }
}
