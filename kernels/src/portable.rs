//! The specification, in portable code.
//!
//! For row `m`, column `n` and block `b` let `d` be the integer dot product of
//! the 32 quantised activations and the 32 weights, and `s` the activation's
//! scale times the weight's. Then, with one rounding per step,
//!
//! ```text
//! sum = 0;  for b in 0..K/32: sum = fma(d, s, sum);  out = (sum + bias) + residual
//! ```
//!
//! `d` is at most 32 * 127 * 128 in magnitude, so it is exact both as an
//! integer of 32 bits and in single precision. Every other kernel does exactly
//! these steps in this order, for its own number of columns side by side:
//! results depend neither on the instruction set, nor on the number of
//! threads, nor on which other rows are in the same call.

use crate::layout::QuantizedMatrix;
use crate::quantize_activations::RowsView;

/// The most rows whose sums are kept while a column's weights are read.
const ROWS: usize = 16;

/// Writes `sum` of each given row and column to `sums[row][column]`, rows
/// `width` apart.
pub(crate) fn sums(
    rows: &RowsView<'_>,
    rows_range: std::ops::Range<usize>,
    matrix: &QuantizedMatrix<'_>,
    columns: std::ops::Range<usize>,
    sums: &mut [f32],
    width: usize,
) {
    let blocks = rows.blocks;
    let first = rows_range.start;
    for start in rows_range.clone().step_by(ROWS) {
        let group = start..rows_range.end.min(start + ROWS);
        for (j, column) in columns.clone().enumerate() {
            let mut totals = [0.0_f32; ROWS];
            for block in 0..blocks {
                let weights = ordered_block(matrix, column, block);
                let scale = matrix.scales().get(column * blocks + block);
                for (total, row) in totals.iter_mut().zip(group.clone()) {
                    let x = &rows.quants[row * rows.stride + block * 32..][..32];
                    let dot = dot(x, &weights);
                    *total =
                        (dot as f32).mul_add(rows.scales[row * blocks + block] * scale, *total);
                }
            }
            for (total, row) in totals.iter().zip(group.clone()) {
                sums[(row - first) * width + j] = *total;
            }
        }
    }
}

#[inline(always)]
fn dot(x: &[i8], weights: &[i8; 32]) -> i32 {
    x.iter()
        .zip(weights)
        .map(|(x, w)| i32::from(i16::from(*x) * i16::from(*w)))
        .sum()
}

/// A block of weights in the order of the activations that go with it.
fn ordered_block(matrix: &QuantizedMatrix<'_>, column: usize, block: usize) -> [i8; 32] {
    let values = matrix.block(column, block);
    match matrix.bits() {
        crate::Bits::Eight => values,
        crate::Bits::Four => {
            let mut ordered = [0; 32];
            for j in 0..16 {
                ordered[j] = values[2 * j];
                ordered[16 + j] = values[2 * j + 1];
            }
            ordered
        }
    }
}
