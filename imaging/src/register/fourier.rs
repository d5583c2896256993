//! Two-dimensional Fourier transforms of complex fields, for correlation.

use std::sync::Arc;

use rustfft::num_complex::Complex32;
use rustfft::{Fft, FftPlanner};

/// Forward and inverse transform of one size, with their buffers.
pub(super) struct Fourier {
    pub(super) width: usize,
    pub(super) height: usize,
    rows: [Arc<dyn Fft<f32>>; 2],
    columns: [Arc<dyn Fft<f32>>; 2],
    turned: Vec<Complex32>,
    scratch: Vec<Complex32>,
}

impl Fourier {
    pub(super) fn new(width: usize, height: usize) -> Self {
        let mut planner = FftPlanner::new();
        let rows = [
            planner.plan_fft_forward(width),
            planner.plan_fft_inverse(width),
        ];
        let columns = [
            planner.plan_fft_forward(height),
            planner.plan_fft_inverse(height),
        ];
        let scratch = rows
            .iter()
            .chain(&columns)
            .map(|plan| plan.get_inplace_scratch_len())
            .max()
            .unwrap_or(0);
        Fourier {
            width,
            height,
            rows,
            columns,
            turned: vec![Complex32::default(); width * height],
            scratch: vec![Complex32::default(); scratch],
        }
    }

    /// The spectrum, transposed: every spectrum of one size is, so products need no transposition.
    pub(super) fn forward(&mut self, field: &mut [Complex32]) {
        self.rows[0].process_with_scratch(field, &mut self.scratch);
        transpose(field, &mut self.turned, self.width, self.height);
        self.columns[0].process_with_scratch(&mut self.turned, &mut self.scratch);
        field.copy_from_slice(&self.turned);
    }

    /// Back from a transposed spectrum, not divided by the number of samples.
    pub(super) fn inverse(&mut self, spectrum: &mut [Complex32]) {
        self.columns[1].process_with_scratch(spectrum, &mut self.scratch);
        transpose(spectrum, &mut self.turned, self.height, self.width);
        self.rows[1].process_with_scratch(&mut self.turned, &mut self.scratch);
        spectrum.copy_from_slice(&self.turned);
    }
}

fn transpose(from: &[Complex32], to: &mut [Complex32], width: usize, height: usize) {
    const BLOCK: usize = 16;
    for top in (0..height).step_by(BLOCK) {
        for left in (0..width).step_by(BLOCK) {
            for y in top..(top + BLOCK).min(height) {
                for x in left..(left + BLOCK).min(width) {
                    to[x * height + y] = from[y * width + x];
                }
            }
        }
    }
}

/// The next size that the transform does quickly: a product of twos, threes and at most one five.
pub(super) fn quick_size(at_least: usize) -> usize {
    (at_least.max(1)..)
        .find(|&size| {
            let mut rest = size;
            for factor in [2, 3] {
                while rest % factor == 0 {
                    rest /= factor;
                }
            }
            rest == 1 || rest == 5
        })
        .unwrap_or(at_least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlation_finds_a_shift() {
        let (width, height) = (24, 20);
        let mut fourier = Fourier::new(width, height);
        let mut a = vec![Complex32::default(); width * height];
        let mut b = a.clone();
        a[7 * width + 9] = Complex32::new(0.0, 1.0);
        b[4 * width + 7] = Complex32::new(0.0, 1.0);
        fourier.forward(&mut a);
        fourier.forward(&mut b);
        let mut product: Vec<_> = a.iter().zip(&b).map(|(a, b)| a * b.conj()).collect();
        fourier.inverse(&mut product);
        let best = (0..product.len()).max_by(|&i, &j| product[i].re.total_cmp(&product[j].re));
        assert_eq!(best, Some(3 * width + 2));
    }

    #[test]
    fn quick_sizes_have_small_factors() {
        assert_eq!(
            [1, 7, 11, 97, 121, 200].map(quick_size),
            [1, 8, 12, 108, 128, 216]
        );
    }
}
