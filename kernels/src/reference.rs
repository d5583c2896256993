//! Products in f32, for measuring what fewer bits cost.
//!
//! Sixteen partial sums run side by side and are added up in a fixed order,
//! without fused operations. The code is written once and compiled for each
//! instruction set: the bits are the same everywhere.

use crate::error::ShapeError;
use crate::layout::check_length;
use crate::simd::isa::Isa;
use crate::simd::multiversion::multiversion;

/// Partial sums of one output.
const LANES: usize = 16;
/// Rows of the left side and of the weights that are multiplied at once.
const TILE: (usize, usize) = (4, 2);
/// Weights that stay in the cache while all rows of the left side pass by.
const CACHE_VALUES: usize = 1 << 16;

/// `x` `[m, k]` times the transpose of `weights` `[n, k]`: `[m, n]`.
pub fn matmul_f32(isa: Isa, x: &[f32], weights: &[f32], k: usize) -> Result<Vec<f32>, ShapeError> {
    if k == 0 {
        return Err(ShapeError::Zero { what: "k" });
    }
    check_length("activations", x.len() / k * k, x.len())?;
    check_length("weights", weights.len() / k * k, weights.len())?;
    let mut out = vec![0.0; x.len() / k * (weights.len() / k)];
    let isa = if isa.is_available() { isa } else { Isa::Scalar };
    product(isa, x, weights, k, &mut out);
    Ok(out)
}

multiversion!(fn product(x: &[f32], weights: &[f32], k: usize, out: &mut [f32]) = matmul_blocked);

/// What is compiled.
#[inline(always)]
fn matmul_blocked(x: &[f32], weights: &[f32], k: usize, out: &mut [f32]) {
    let (m, n) = (x.len() / k, weights.len() / k);
    let step = (CACHE_VALUES / k).max(1).next_multiple_of(TILE.1);
    for first in (0..n).step_by(step) {
        let last = n.min(first + step);
        for i in (0..m).step_by(TILE.0) {
            for j in (first..last).step_by(TILE.1) {
                if i + TILE.0 <= m && j + TILE.1 <= last {
                    tile::<{ TILE.0 }, { TILE.1 }>(x, weights, k, (i, j), out);
                } else {
                    for i in i..m.min(i + TILE.0) {
                        for j in j..last.min(j + TILE.1) {
                            tile::<1, 1>(x, weights, k, (i, j), out);
                        }
                    }
                }
            }
        }
    }
}

/// Outputs `i..i + R`, `j..j + C`.
#[inline(always)]
fn tile<const R: usize, const C: usize>(
    x: &[f32],
    weights: &[f32],
    k: usize,
    (i, j): (usize, usize),
    out: &mut [f32],
) {
    let n = weights.len() / k;
    let x: [_; R] = std::array::from_fn(|r| x[(i + r) * k..][..k].as_chunks::<LANES>());
    let w: [_; C] = std::array::from_fn(|c| weights[(j + c) * k..][..k].as_chunks::<LANES>());
    let mut sums = [[[0.0f32; LANES]; C]; R];
    for at in 0..k / LANES {
        let w = w.map(|(lanes, _)| lanes[at]);
        for (sums, (x, _)) in sums.iter_mut().zip(x) {
            for (sums, w) in sums.iter_mut().zip(w) {
                for ((sum, x), w) in sums.iter_mut().zip(x[at]).zip(w) {
                    *sum += x * w;
                }
            }
        }
    }
    for r in 0..R {
        for c in 0..C {
            let rest = x[r].1.iter().zip(w[c].1);
            let start = total(sums[r][c]);
            out[(i + r) * n + j + c] = rest.fold(start, |sum, (x, w)| sum + x * w);
        }
    }
}

/// The sum of all lanes, halves first.
#[inline(always)]
fn total(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: usize, step: usize) -> Vec<f32> {
        (0..count)
            .map(|i| ((i * step % 211) as f32 - 105.0) / 64.0)
            .collect()
    }

    #[test]
    fn sums_are_right_and_the_same_on_every_instruction_set() {
        // Neither rows nor columns nor the inner dimension are whole tiles.
        let (m, k, n) = (7, 83, 901);
        let (x, w) = (values(m * k, 37), values(n * k, 53));
        let expected = matmul_f32(Isa::Scalar, &x, &w, k).unwrap();
        for (at, found) in expected.iter().enumerate() {
            let (x, w) = (&x[at / n * k..][..k], &w[at % n * k..][..k]);
            let exact: f64 = (x.iter().zip(w))
                .map(|(x, w)| f64::from(*x) * f64::from(*w))
                .sum();
            assert!(
                (f64::from(*found) - exact).abs() < 1e-4,
                "{at}: {found} {exact}"
            );
        }
        for isa in Isa::available() {
            assert_eq!(matmul_f32(isa, &x, &w, k).unwrap(), expected, "{isa}");
        }
    }

    #[test]
    fn what_is_no_whole_row_is_refused() {
        let product = |x: &[f32], w: &[f32], k| matmul_f32(Isa::Scalar, x, w, k).is_err();
        assert!(product(&[0.0; 5], &[0.0; 4], 2));
        assert!(product(&[0.0; 4], &[0.0; 5], 2));
        assert!(product(&[], &[], 0));
    }
}
