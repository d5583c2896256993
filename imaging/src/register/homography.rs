//! Plane-to-plane projective transforms and their fit from point pairs.
//!
//! Row-major 3 x 3 in `f64`; pixel centres lie at integers. The direct linear transform is
//! normalised after Hartley (1997): without it, coordinates of thousands of pixels beside ones lose
//! half of the digits.

/// A projective transform of the plane, row by row, scaled so that the last entry is one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Homography(pub [f64; 9]);

impl Homography {
    /// Leaves every point where it is.
    pub const IDENTITY: Homography = Homography([1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);

    /// `x' = scale * R(angle) * x + shift`; the angle in radians turns x towards y.
    pub fn similarity(scale: f64, angle: f64, shift: [f64; 2]) -> Self {
        let (sin, cos) = angle.sin_cos();
        Homography([
            scale * cos,
            -scale * sin,
            shift[0],
            scale * sin,
            scale * cos,
            shift[1],
            0.0,
            0.0,
            1.0,
        ])
    }

    /// A shift alone, in pixels.
    pub fn translation(x: f64, y: f64) -> Self {
        Homography([1.0, 0.0, x, 0.0, 1.0, y, 0.0, 0.0, 1.0])
    }

    /// From the pixels of a picture to those of the same picture with pixels `factor` times as large.
    /// Pixel centres at integers: the corner of a picture lies at -0.5 in both.
    pub fn shrink(factor: f64) -> Self {
        let shift = 0.5 / factor - 0.5;
        Homography([
            1.0 / factor,
            0.0,
            shift,
            0.0,
            1.0 / factor,
            shift,
            0.0,
            0.0,
            1.0,
        ])
    }

    /// Where a point goes. Not finite for a point on the horizon.
    pub fn apply(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let m = &self.0;
        let w = m[6] * x + m[7] * y + m[8];
        [
            (m[0] * x + m[1] * y + m[2]) / w,
            (m[3] * x + m[4] * y + m[5]) / w,
        ]
    }

    /// First `first`, then `self`.
    pub fn after(&self, first: &Homography) -> Homography {
        let (a, b) = (&self.0, &first.0);
        let mut product = [0.0; 9];
        for row in 0..3 {
            for column in 0..3 {
                product[row * 3 + column] =
                    (0..3).map(|k| a[row * 3 + k] * b[k * 3 + column]).sum();
            }
        }
        Homography(product).scaled()
    }

    /// The way back; `None` where the transform flattens the plane.
    pub fn inverse(&self) -> Option<Homography> {
        let m = &self.0;
        let adjugate = [
            m[4] * m[8] - m[5] * m[7],
            m[2] * m[7] - m[1] * m[8],
            m[1] * m[5] - m[2] * m[4],
            m[5] * m[6] - m[3] * m[8],
            m[0] * m[8] - m[2] * m[6],
            m[2] * m[3] - m[0] * m[5],
            m[3] * m[7] - m[4] * m[6],
            m[1] * m[6] - m[0] * m[7],
            m[0] * m[4] - m[1] * m[3],
        ];
        let determinant = m[0] * adjugate[0] + m[1] * adjugate[3] + m[2] * adjugate[6];
        let inverse = Homography(adjugate).scaled();
        (determinant.abs() > 1e-12 && inverse.is_finite()).then_some(inverse)
    }

    /// No entry is infinite or not a number.
    pub fn is_finite(&self) -> bool {
        self.0.iter().all(|value| value.is_finite())
    }

    /// Local change of area at a point; negative where the picture is mirrored or lies behind the
    /// horizon.
    pub fn area_scale(&self, [x, y]: [f64; 2]) -> f64 {
        let m = &self.0;
        let w = m[6] * x + m[7] * y + m[8];
        let determinant = m[0] * (m[4] * m[8] - m[5] * m[7]) - m[1] * (m[3] * m[8] - m[5] * m[6])
            + m[2] * (m[3] * m[7] - m[4] * m[6]);
        determinant / (w * w * w)
    }

    /// The transform that brings four points onto four others: the minimal case of the normalised
    /// direct linear transform. `None` where three of them lie on a line.
    pub fn from_four(from: &[[f64; 2]; 4], to: &[[f64; 2]; 4]) -> Option<Homography> {
        let (from_unit, to_unit) = (normalising(from)?, normalising(to)?);
        let mut rows = [[0.0; 9]; 8];
        for (index, (a, b)) in from.iter().zip(to).enumerate() {
            let ([x, y], [u, v]) = (from_unit.apply(*a), to_unit.apply(*b));
            rows[2 * index] = [x, y, 1.0, 0.0, 0.0, 0.0, -u * x, -u * y, u];
            rows[2 * index + 1] = [0.0, 0.0, 0.0, x, y, 1.0, -v * x, -v * y, v];
        }
        let h = solve(rows)?;
        let unit = Homography([h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7], 1.0]);
        let fitted = to_unit.inverse()?.after(&unit).after(&from_unit);
        fitted.is_finite().then_some(fitted)
    }

    /// The weighted least-squares fit of the normalised direct linear transform to any number of
    /// point pairs. `None` below four pairs, or where they do not determine it.
    pub fn fit(from: &[[f64; 2]], to: &[[f64; 2]], weights: &[f64]) -> Option<Homography> {
        if from.len() < 4 || from.len() != to.len() || from.len() != weights.len() {
            return None;
        }
        let (from_unit, to_unit) = (normalising(from)?, normalising(to)?);
        let mut normal = [[0.0; 9]; 8];
        for ((a, b), weight) in from.iter().zip(to).zip(weights) {
            let ([x, y], [u, v]) = (from_unit.apply(*a), to_unit.apply(*b));
            for row in [
                [x, y, 1.0, 0.0, 0.0, 0.0, -u * x, -u * y, u],
                [0.0, 0.0, 0.0, x, y, 1.0, -v * x, -v * y, v],
            ] {
                for i in 0..8 {
                    for j in 0..9 {
                        normal[i][j] += weight * row[i] * row[j];
                    }
                }
            }
        }
        let h = solve(normal)?;
        let unit = Homography([h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7], 1.0]);
        let fitted = to_unit.inverse()?.after(&unit).after(&from_unit);
        fitted.is_finite().then_some(fitted)
    }

    fn scaled(mut self) -> Self {
        let last = self.0[8];
        if last != 0.0 {
            for value in &mut self.0 {
                *value /= last;
            }
        }
        self
    }
}

/// Hartley's normalisation: the mean to the origin, the mean distance to the square root of two.
fn normalising(points: &[[f64; 2]]) -> Option<Homography> {
    let n = points.len() as f64;
    let mean = points
        .iter()
        .fold([0.0; 2], |sum, p| [sum[0] + p[0] / n, sum[1] + p[1] / n]);
    let spread = points
        .iter()
        .map(|p| (p[0] - mean[0]).hypot(p[1] - mean[1]))
        .sum::<f64>()
        / n;
    if !(spread > 1e-9 && spread.is_finite()) {
        return None;
    }
    let scale = std::f64::consts::SQRT_2 / spread;
    Some(Homography::similarity(
        scale,
        0.0,
        [-scale * mean[0], -scale * mean[1]],
    ))
}

/// Eight equations with the right-hand side in the ninth column, by elimination with partial
/// pivoting. `None` where they are (nearly) dependent.
pub(super) fn solve(mut rows: [[f64; 9]; 8]) -> Option<[f64; 8]> {
    for column in 0..8 {
        let pivot =
            (column..8).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()))?;
        rows.swap(column, pivot);
        let divisor = rows[column][column];
        if divisor.is_nan() || divisor.abs() <= 1e-10 {
            return None;
        }
        let pivot_row = rows[column];
        for row in &mut rows[column + 1..] {
            let factor = row[column] / divisor;
            for (value, of_pivot) in row.iter_mut().zip(&pivot_row).skip(column) {
                *value -= factor * of_pivot;
            }
        }
    }
    let mut solution = [0.0; 8];
    for column in (0..8).rev() {
        let known: f64 = (column + 1..8).map(|k| rows[column][k] * solution[k]).sum();
        solution[column] = (rows[column][8] - known) / rows[column][column];
    }
    solution
        .iter()
        .all(|value| value.is_finite())
        .then_some(solution)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: [f64; 2], b: [f64; 2]) -> bool {
        (a[0] - b[0]).hypot(a[1] - b[1]) < 1e-6
    }

    #[test]
    fn a_transform_and_its_inverse_cancel() {
        let h = Homography([1.02, -0.2, 40.0, 0.19, 0.98, -25.0, 4e-5, -3e-5, 1.0]);
        let back = h.inverse().expect("invertible");
        assert!(close(back.apply(h.apply([812.0, 77.0])), [812.0, 77.0]));
    }

    #[test]
    fn four_points_and_least_squares_give_the_same_transform() {
        let h = Homography([0.93, 0.11, -60.0, -0.12, 0.95, 31.0, -2e-5, 5e-5, 1.0]);
        let corners = [[0.0, 0.0], [4000.0, 0.0], [4000.0, 3000.0], [0.0, 3000.0]];
        let moved = corners.map(|corner| h.apply(corner));
        let four =
            Homography::from_four(&corners, &moved).expect("four points in general position");
        let many = Homography::fit(&corners, &moved, &[1.0; 4]).expect("determined");
        for point in [[10.0, 20.0], [2000.0, 1500.0], [3990.0, 5.0]] {
            assert!(close(four.apply(point), h.apply(point)));
            assert!(close(many.apply(point), h.apply(point)));
        }
    }

    #[test]
    fn points_on_a_line_determine_nothing() {
        let line: Vec<[f64; 2]> = (0..6).map(|i| [f64::from(i), 2.0 * f64::from(i)]).collect();
        assert_eq!(Homography::fit(&line, &line, &[1.0; 6]), None);
        let same = [[5.0, 5.0]; 4];
        assert_eq!(Homography::from_four(&same, &same), None);
    }

    #[test]
    fn a_flat_transform_has_no_inverse() {
        assert_eq!(Homography([0.0; 9]).inverse(), None);
        assert_eq!(Homography([f64::NAN; 9]).inverse(), None);
    }
}
