//! Direct search over the eight parameters of a homography.
//!
//! The parameters are modes of motion of the four corners of a box, each scaled to move a corner by
//! one pixel: shift, rotation, scale, then shear and stretch, then perspective. In these units one
//! step size serves all eight, and the first four alone are a similarity.

use super::homography::Homography;

/// Corner motions (x and y of the four corners) of the eight modes, for a square.
const MODES: [[f64; 8]; 8] = [
    [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0],
    [0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0],
    [0.7, -0.7, 0.7, 0.7, -0.7, 0.7, -0.7, -0.7],
    [-0.7, -0.7, 0.7, -0.7, 0.7, 0.7, -0.7, 0.7],
    [0.7, -0.7, 0.7, 0.7, -0.7, -0.7, -0.7, 0.7],
    [-0.7, 0.7, 0.7, 0.7, 0.7, -0.7, -0.7, -0.7],
    [1.0, 0.0, -1.0, 0.0, 1.0, 0.0, -1.0, 0.0],
    [0.0, 1.0, 0.0, -1.0, 0.0, 1.0, 0.0, -1.0],
];

/// The box whose corners are moved.
pub(super) struct Pattern {
    corners: [[f64; 2]; 4],
}

impl Pattern {
    /// Corners in the order left top, right top, right bottom, left bottom.
    pub(super) fn new(corners: [[f64; 2]; 4]) -> Self {
        Pattern { corners }
    }

    /// `map` with the images of the box's corners moved by `amount` along one mode.
    fn moved(&self, map: &Homography, mode: usize, amount: f64) -> Option<Homography> {
        let mut targets = self.corners.map(|corner| map.apply(corner));
        for (corner, motion) in targets.iter_mut().zip(MODES[mode].as_chunks::<2>().0) {
            corner[0] += amount * motion[0];
            corner[1] += amount * motion[1];
        }
        Homography::from_four(&self.corners, &targets)
    }

    /// Climbs from `map` by single-mode steps of falling size to a maximum of `score`, moving along
    /// the first `modes` modes. Returns it with its score.
    pub(super) fn climb(
        &self,
        map: &Homography,
        steps: &[f64],
        modes: usize,
        mut score: impl FnMut(&Homography) -> f64,
    ) -> (Homography, f64) {
        let (mut best, mut best_score) = (*map, score(map));
        for &step in steps {
            // A bound, not a hope: a ridge of rounding errors must not hold a board up.
            for _ in 0..6 {
                let before = best_score;
                for mode in 0..modes {
                    for amount in [step, -step] {
                        let mut walked = 0;
                        while walked < 4
                            && let Some(next) = self.moved(&best, mode, amount)
                        {
                            let next_score = score(&next);
                            if next_score <= best_score {
                                break;
                            }
                            (best, best_score) = (next, next_score);
                            walked += 1;
                        }
                        if walked > 0 {
                            break;
                        }
                    }
                }
                if best_score <= before {
                    break;
                }
            }
        }
        (best, best_score)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_climbs_to_a_known_homography() {
        let corners = [[0.0, 0.0], [100.0, 0.0], [100.0, 80.0], [0.0, 80.0]];
        let truth = Homography([1.02, 0.03, 2.0, -0.02, 0.99, -3.0, 1e-4, -5e-5, 1.0]);
        let pattern = Pattern::new(corners);
        let distance = |map: &Homography| {
            -corners
                .iter()
                .map(|&corner| {
                    let (a, b) = (map.apply(corner), truth.apply(corner));
                    (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2)
                })
                .sum::<f64>()
        };
        let (_, score) = pattern.climb(
            &Homography::IDENTITY,
            &[2.0, 1.0, 0.5, 0.25, 0.1, 0.05],
            8,
            distance,
        );
        assert!(score > -0.05, "{score}");
    }
}
