//! Steps between products: norms, gates and activations, row by row.

use crate::compiled::compiled;
use crate::error::ShapeError;
use crate::layout::check_length;
use crate::math;
use crate::pool::Pool;

/// Values whose sum is kept in one lane each.
const LANES: usize = 16;
/// Fewer values than this are not worth waking a worker.
const PARALLEL: usize = 1 << 14;

/// What is done to every value of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// `x * P(a normal variable is below x)`.
    Gelu,
}

/// Applies an activation in place.
#[inline(always)]
pub(crate) fn activate(activation: Activation, values: &mut [f32]) {
    match activation {
        Activation::None => {}
        Activation::Gelu => {
            for value in values {
                *value = math::gelu(*value);
            }
        }
    }
}

/// How rows are normalised: `(x - mean) / sqrt(variance + epsilon) * scale + shift`.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// One factor per column.
    pub scale: &'a [f32],
    /// One summand per column. Without it the norm is that of root mean squares:
    /// the mean is not subtracted.
    pub shift: Option<&'a [f32]>,
    /// Added to the variance.
    pub epsilon: f32,
}

/// Normalises every row of `x`; a row is as long as the scale.
///
/// # Errors
/// If the lengths do not fit.
pub fn normalise(
    pool: &Pool,
    x: &[f32],
    norm: &Norm<'_>,
    out: &mut [f32],
) -> Result<(), ShapeError> {
    let width = norm.scale.len();
    if width == 0 {
        return Err(ShapeError::Zero { what: "norm width" });
    }
    if let Some(shift) = norm.shift {
        check_length("shift", width, shift.len())?;
    }
    check_length("output", x.len(), out.len())?;
    check_length("input", x.len() / width * width, x.len())?;
    let isa = pool.isa();
    pool.for_each_piece(out, rows_per_piece(width) * width, |piece, out| {
        let x = &x[piece * rows_per_piece(width) * width..][..out.len()];
        normalise_rows(isa, x, norm, out);
    });
    Ok(())
}

fn rows_per_piece(width: usize) -> usize {
    PARALLEL.div_ceil(width)
}

compiled! {
    fn normalise_rows(x: &[f32], norm: &Norm<'_>, out: &mut [f32]) = normalise_rows_of
}

#[inline(always)]
fn normalise_rows_of(x: &[f32], norm: &Norm<'_>, out: &mut [f32]) {
    let width = norm.scale.len();
    for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let count = width as f32;
        match norm.shift {
            Some(shift) => {
                let mean = sum_of(x, |x| x) / count;
                let variance = sum_of(x, |x| (x - mean) * (x - mean)) / count;
                let factor = 1.0 / (variance + norm.epsilon).sqrt();
                for (((out, x), scale), shift) in out.iter_mut().zip(x).zip(norm.scale).zip(shift) {
                    *out = ((x - mean) * factor).mul_add(*scale, *shift);
                }
            }
            None => {
                let factor = 1.0 / (sum_of(x, |x| x * x) / count + norm.epsilon).sqrt();
                for ((out, x), scale) in out.iter_mut().zip(x).zip(norm.scale) {
                    *out = x * factor * scale;
                }
            }
        }
    }
}

/// The sum of `term` over all values: lane by lane, then the lanes by halves.
#[inline(always)]
pub(crate) fn sum_of(values: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for values in whole {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += term(*value);
        }
    }
    for (sum, value) in sums.iter_mut().zip(rest) {
        *sum += term(*value);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}

/// The largest value, or NaN if one is NaN.
#[inline(always)]
pub(crate) fn largest(values: &[f32]) -> f32 {
    let greater = |a: f32, b: f32| if a > b || a.is_nan() { a } else { b };
    let mut most = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for values in whole {
        for (most, value) in most.iter_mut().zip(values) {
            *most = greater(*value, *most);
        }
    }
    for (most, value) in most.iter_mut().zip(rest) {
        *most = greater(*value, *most);
    }
    most.into_iter()
        .fold(f32::NEG_INFINITY, |a, b| greater(b, a))
}

/// The function that opens a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Gate {
    /// `gate * sigmoid(gate) * value`; the gate is the first half of a row.
    Silu,
    /// `sigmoid(gate) * tanh(value)`; the gate is the second half of a row.
    Tanh,
}

/// Rows of `2 * width` values to rows of `width`.
///
/// # Errors
/// If the lengths do not fit.
pub fn gated(
    pool: &Pool,
    gate: Gate,
    x: &[f32],
    width: usize,
    out: &mut [f32],
) -> Result<(), ShapeError> {
    if width == 0 {
        return Err(ShapeError::Zero { what: "gate width" });
    }
    check_length("output", x.len() / (2 * width) * width, out.len())?;
    check_length("input", 2 * out.len(), x.len())?;
    let isa = pool.isa();
    let rows = rows_per_piece(width);
    pool.for_each_piece(out, rows * width, |piece, out| {
        gate_rows(
            isa,
            gate,
            &x[2 * piece * rows * width..][..2 * out.len()],
            width,
            out,
        );
    });
    Ok(())
}

compiled! {
    fn gate_rows(gate: Gate, x: &[f32], width: usize, out: &mut [f32]) = gate_rows_of
}

#[inline(always)]
fn gate_rows_of(gate: Gate, x: &[f32], width: usize, out: &mut [f32]) {
    for (x, out) in x.chunks_exact(2 * width).zip(out.chunks_exact_mut(width)) {
        let (first, second) = x.split_at(width);
        match gate {
            Gate::Silu => {
                for (out, (gate, value)) in out.iter_mut().zip(first.iter().zip(second)) {
                    *out = math::silu(*gate) * value;
                }
            }
            // One exponential per loop: the compiler makes vectors of no more.
            Gate::Tanh => {
                for (out, value) in out.iter_mut().zip(first) {
                    *out = math::tanh(*value);
                }
                for (out, gate) in out.iter_mut().zip(second) {
                    *out *= math::sigmoid(*gate);
                }
            }
        }
    }
}
