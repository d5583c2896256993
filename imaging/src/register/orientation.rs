//! The orientation field: what is compared instead of brightness.
//!
//! At each pixel the gradient `g = gx + i gy` becomes `g^2 / (m (m + k))` with `m = |g|` and `k` the
//! local median: the angle is doubled, so that an edge counts alike whichever side is brighter (snow,
//! dry grass, a new roof), and the length is bounded by one, so that no strong edge outvotes the rest.
//! The real part of the correlation of two such fields is the sum of `cos 2 (difference of angle)`.

use rustfft::num_complex::Complex32;

/// Gradients below this many levels of 255 a pixel are noise of the sensor and of JPEG.
const NOISE: f32 = 1.0;

/// A complex field on a grid.
#[derive(Clone)]
pub(super) struct Field {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) values: Vec<Complex32>,
}

impl Field {
    /// The orientation field of brightness with `NAN` as no data; zero there and on its rim.
    pub(super) fn of(brightness: &[f32], width: usize, height: usize) -> Self {
        let mut gradient = vec![Complex32::default(); width * height];
        let mut lengths = Vec::with_capacity(width * height);
        for y in 1..height.saturating_sub(1) {
            let row = |offset: usize| &brightness[(y + offset - 1) * width..][..width];
            let (above, here, below) = (row(0), row(1), row(2));
            for x in 1..width - 1 {
                // Scharr: the direction is right to a few tenths of a degree.
                let gx = 3.0 * (above[x + 1] - above[x - 1] + below[x + 1] - below[x - 1])
                    + 10.0 * (here[x + 1] - here[x - 1]);
                let gy = 3.0 * (below[x - 1] - above[x - 1] + below[x + 1] - above[x + 1])
                    + 10.0 * (below[x] - above[x]);
                let g = Complex32::new(gx, gy) * (1.0 / 32.0);
                let length = g.norm();
                if length.is_finite() {
                    gradient[y * width + x] = g;
                    lengths.push(length);
                }
            }
        }
        let middle = lengths.len() / 2;
        let median = if lengths.is_empty() {
            0.0
        } else {
            *lengths.select_nth_unstable_by(middle, f32::total_cmp).1
        };
        let softness = median.max(NOISE);
        for g in &mut gradient {
            let length = g.norm();
            if length > 0.0 {
                *g = *g * *g * (1.0 / (length * (length + softness)));
            }
        }
        Field {
            width,
            height,
            values: gradient,
        }
    }

    /// Half the size: the mean orientation of four pixels.
    pub(super) fn halved(&self) -> Field {
        let (width, height) = (self.width / 2, self.height / 2);
        let mut values = Vec::with_capacity(width * height);
        for y in 0..height {
            for x in 0..width {
                let at = 2 * y * self.width + 2 * x;
                let v = &self.values;
                values
                    .push((v[at] + v[at + 1] + v[at + self.width] + v[at + self.width + 1]) * 0.25);
            }
        }
        Field {
            width,
            height,
            values,
        }
    }

    /// Less the mean orientation around each place (a square of `2 reach + 1`): where plough lines or
    /// streets run one way all over, that way fits everywhere and says nothing. No data stays zero.
    pub(super) fn less_local_mean(mut self, reach: usize) -> Field {
        let (width, height) = (self.width, self.height);
        // Sums over all pixels above and to the left, one row and one column of zeros in front.
        let mut sums = vec![Complex32::default(); (width + 1) * (height + 1)];
        for y in 0..height {
            let mut row = Complex32::default();
            for x in 0..width {
                row += self.values[y * width + x];
                sums[(y + 1) * (width + 1) + x + 1] = sums[y * (width + 1) + x + 1] + row;
            }
        }
        for y in 0..height {
            let (top, bottom) = (y.saturating_sub(reach), (y + reach + 1).min(height));
            for x in 0..width {
                let value = &mut self.values[y * width + x];
                if value.norm_sqr() == 0.0 {
                    continue;
                }
                let (left, right) = (x.saturating_sub(reach), (x + reach + 1).min(width));
                let at = |x: usize, y: usize| sums[y * (width + 1) + x];
                let sum = at(right, bottom) - at(left, bottom) - at(right, top) + at(left, top);
                *value -= sum * (1.0 / ((right - left) * (bottom - top)) as f32);
            }
        }
        self
    }

    /// Sum of squared lengths.
    pub(super) fn energy(&self) -> f32 {
        self.values.iter().map(Complex32::norm_sqr).sum()
    }
}

impl Field {
    /// Bilinear; zero beyond the grid.
    #[inline]
    pub(super) fn at(&self, [x, y]: [f64; 2]) -> Complex32 {
        if !(x >= 0.0 && y >= 0.0 && x < (self.width - 1) as f64 && y < (self.height - 1) as f64) {
            return Complex32::default();
        }
        let (left, top) = (x as usize, y as usize);
        let (fx, fy) = ((x - left as f64) as f32, (y - top as f64) as f32);
        let at = top * self.width + left;
        let v = &self.values;
        let above = v[at] * (1.0 - fx) + v[at + 1] * fx;
        let below = v[at + self.width] * (1.0 - fx) + v[at + self.width + 1] * fx;
        above * (1.0 - fy) + below * fy
    }
}

/// Brightness smoothed by a binomial of five, a Gaussian of one pixel; `NAN` spreads by two.
pub(super) fn smooth(brightness: &[f32], width: usize, height: usize) -> Vec<f32> {
    let mut values = brightness.to_vec();
    let mut before = values.clone();
    for step in [1, width, 1, width] {
        before.copy_from_slice(&values);
        // The rim keeps its values; its gradient is not taken.
        let inner = step..(width * height).saturating_sub(step);
        for index in inner {
            values[index] =
                0.25 * (before[index - step] + before[index + step]) + 0.5 * before[index];
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_direction_everywhere_is_no_structure_once_its_mean_is_taken_off() {
        let (width, height) = (64, 48);
        let furrows: Vec<f32> = (0..width * height)
            .map(|index| 100.0 + 50.0 * ((index % width) as f32 * 0.9).sin())
            .collect();
        let field = Field::of(&furrows, width, height);
        let all = field.energy();
        assert!(field.less_local_mean(12).energy() < 0.2 * all);
    }

    #[test]
    fn no_data_stays_without_orientation() {
        let (width, height) = (32, 32);
        let mut brightness: Vec<f32> = (0..width * height)
            .map(|i| (i * 7919 % 251) as f32)
            .collect();
        brightness[..width * 16].fill(f32::NAN);
        let smoothed = smooth(&brightness, width, height);
        let field = Field::of(&smoothed, width, height).less_local_mean(4);
        assert!(
            field.values[..width * 16]
                .iter()
                .all(|value| value.norm_sqr() == 0.0)
        );
        assert!(
            field.values[width * 20..]
                .iter()
                .any(|value| value.norm_sqr() > 0.0)
        );
    }
}
