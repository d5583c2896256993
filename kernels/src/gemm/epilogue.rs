//! What is fused into a product before its result is written.

use crate::elementwise::{Activation, activate};
use crate::error::ShapeError;
use crate::layout::check_length;
use crate::shared_slice::SharedSliceMut;
use crate::simd::isa::Isa;
use crate::simd::multiversion::multiversion;

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

/// The columns of an output that a task writes.
pub(crate) struct Target<'a> {
    pub(crate) out: &'a SharedSliceMut<'a, f32>,
    /// ColumnPtrs of the whole output.
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

multiversion! {
    fn finish(target: &Target<'_>, rows: std::ops::Range<usize>, sums: &[f32], width: usize) = finish_of
}

#[inline(always)]
fn finish_of(target: &Target<'_>, rows: std::ops::Range<usize>, sums: &[f32], width: usize) {
    let columns = target.columns.clone();
    let bias = target.epilogue.bias.map(|bias| &bias[columns.clone()]);
    for (row, sums) in rows.zip(sums.chunks(width)) {
        let at = row * target.n + columns.start..row * target.n + columns.end;
        // SAFETY: the promise of the only caller, `Target::finish`.
        let out = unsafe { target.out.slice_mut(at.clone()) };
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
