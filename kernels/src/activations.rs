//! The format of quantised activations, and the rule for their scale.

/// Blocks whose largest magnitude is below this count as zero: 2^-110.
pub const MIN_BLOCK_MAGNITUDE: f32 = f32::from_bits((127 - 110) << 23);

/// Borrowed quantised activations, row by row. `stride` may exceed the values
/// of a row.
#[derive(Clone, Copy)]
pub(crate) struct RowsView<'a> {
    /// The number of rows.
    pub(crate) m: usize,
    /// The number of blocks in a row.
    pub(crate) blocks: usize,
    /// Row `i` begins at `i * stride` and holds `blocks * 32` values.
    pub(crate) quants: &'a [i8],
    /// The distance of two rows in `quants`.
    pub(crate) stride: usize,
    /// `[m, blocks]`
    pub(crate) scales: &'a [f32],
    /// `[m, blocks]`: minus the zero point times the sum of the block.
    pub(crate) compensation: &'a [i32],
}

/// Output buffers for quantising one row.
pub(crate) struct QuantizedRow<'a> {
    /// `blocks * 32` values.
    pub(crate) values: &'a mut [i8],
    /// One per block, as in [`RowsView`].
    pub(crate) compensation: &'a mut [i32],
    /// One per block.
    pub(crate) scales: &'a mut [f32],
}

/// The scale of a block, and what its values are multiplied with.
#[inline]
pub(crate) fn scale_and_inverse(max_abs_bits: i32) -> (f32, f32) {
    let largest = f32::from_bits(max_abs_bits as u32);
    if !largest.is_finite() {
        (f32::NAN, 0.0)
    } else if largest < MIN_BLOCK_MAGNITUDE {
        (0.0, 0.0)
    } else {
        (largest / 127.0, 127.0 / largest)
    }
}
