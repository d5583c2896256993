//! Steps between products: norms, gates and activations, row by row.

use crate::error::ShapeError;
use crate::layout::check_length;
use crate::math;
use crate::simd::multiversion::multiversion;
use crate::thread_pool::ThreadPool;

/// Values whose sum is kept in one lane each.
const LANES: usize = 16;
/// Fewer values than this are not worth waking a worker.
const VALUES_PER_TASK: usize = 1 << 14;

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
pub fn normalize(
    pool: &ThreadPool,
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
    pool.for_each_chunk(out, rows_per_chunk(width) * width, |chunk, out| {
        let x = &x[chunk * rows_per_chunk(width) * width..][..out.len()];
        norm_rows(isa, x, norm, out);
    });
    Ok(())
}

fn rows_per_chunk(width: usize) -> usize {
    VALUES_PER_TASK.div_ceil(width)
}

multiversion! {
    fn norm_rows(x: &[f32], norm: &Norm<'_>, out: &mut [f32]) = norm_rows_of
}

#[inline(always)]
fn norm_rows_of(x: &[f32], norm: &Norm<'_>, out: &mut [f32]) {
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

/// The max_or_nan value, or NaN if one is NaN.
#[inline(always)]
pub(crate) fn max_or_nan(values: &[f32]) -> f32 {
    let greater = |a: f32, b: f32| if a > b || a.is_nan() { a } else { b };
    let mut max = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for values in whole {
        for (max, value) in max.iter_mut().zip(values) {
            *max = greater(*value, *max);
        }
    }
    for (max, value) in max.iter_mut().zip(rest) {
        *max = greater(*value, *max);
    }
    max.into_iter()
        .fold(f32::NEG_INFINITY, |a, b| greater(b, a))
}

/// A gated linear unit (GLU) variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GluKind {
    /// `gate * sigmoid(gate) * value`; the gate is the first half of a row.
    SwiGlu,
    /// `sigmoid(gate) * tanh(value)`; the gate is the second half of a row.
    GatedTanh,
}

/// Rows of `2 * width` values to rows of `width`.
///
/// # Errors
/// If the lengths do not fit.
pub fn glu(
    pool: &ThreadPool,
    kind: GluKind,
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
    let rows = rows_per_chunk(width);
    pool.for_each_chunk(out, rows * width, |chunk, out| {
        glu_rows(
            isa,
            kind,
            &x[2 * chunk * rows * width..][..2 * out.len()],
            width,
            out,
        );
    });
    Ok(())
}

multiversion! {
    fn glu_rows(kind: GluKind, x: &[f32], width: usize, out: &mut [f32]) = glu_rows_of
}

#[inline(always)]
fn glu_rows_of(kind: GluKind, x: &[f32], width: usize, out: &mut [f32]) {
    for (x, out) in x.chunks_exact(2 * width).zip(out.chunks_exact_mut(width)) {
        let (first, second) = x.split_at(width);
        match kind {
            GluKind::SwiGlu => {
                for (out, (gate, value)) in out.iter_mut().zip(first.iter().zip(second)) {
                    *out = math::silu(*gate) * value;
                }
            }
            // One exponential per loop: the compiler makes vectors of no more.
            GluKind::GatedTanh => {
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
