//! Views of attention heads in rows of activations, and rotary embedding.

use crate::error::ShapeError;
use crate::layout::check_length;

/// Vectors of heads inside wider rows: head `h` of position `i` begins at
/// `first + i * stride + h * width`.
#[derive(Clone, Copy, Debug)]
pub struct Heads<'a> {
    /// Rows of all positions of all sequences.
    pub values: &'a [f32],
    /// Where the first head of the first row begins.
    pub offset: usize,
    /// The length of a row.
    pub stride: usize,
}

impl Heads<'_> {
    pub(crate) fn check(
        &self,
        what: &'static str,
        positions: usize,
        width: usize,
    ) -> Result<(), ShapeError> {
        check_length(what, positions * self.stride, self.values.len())?;
        if self.offset + width > self.stride {
            return Err(ShapeError::Length {
                what,
                expected: self.offset + width,
                actual: self.stride,
            });
        }
        Ok(())
    }

    pub(crate) fn row(&self, position: usize, head: usize, width: usize) -> &[f32] {
        &self.values[position * self.stride + self.offset + head * width..][..width]
    }
}

/// Rotary position embedding (RoPE) in the rotate-half layout: channel `e` is
/// rotated together with channel `e + width / 2`.
#[derive(Clone, Copy, Debug)]
pub struct Rotary<'a> {
    /// Cosines, one row of the head's width per position of every sequence.
    pub cos: &'a [f32],
    /// Sines, likewise.
    pub sin: &'a [f32],
}

impl Rotary<'_> {
    pub(crate) fn check(&self, values: usize) -> Result<(), ShapeError> {
        check_length("cosines", values, self.cos.len())?;
        check_length("sines", values, self.sin.len())
    }

    #[inline(always)]
    pub(crate) fn apply(&self, position: usize, x: &[f32], factor: f32, out: &mut [f32]) {
        let (width, half) = (x.len(), x.len() / 2);
        let cos = &self.cos[position * width..][..width];
        let sin = &self.sin[position * width..][..width];
        for e in 0..half {
            let (a, b) = (x[e], x[e + half]);
            out[e] = (a * cos[e] + -b * sin[e]) * factor;
            out[e + half] = (b * cos[e + half] + a * sin[e + half]) * factor;
        }
    }
}
