//! The transform that most windows agree on.
//!
//! Every window gives a whole surface of correlation, not a point, so a hypothesis is scored by what
//! all windows say at the displacement that it predicts for each. Hypotheses come from random pairs
//! and triples of window peaks (RANSAC, Fischler and Bolles 1981) and are then climbed by direct
//! search; the last fit is least squares on the peaks close by, reweighted (Tukey's biweight).

use super::homography::Homography;
use super::pattern::Pattern;
use super::windows::{Measured, Window};

/// What one window can add to a score: none outvotes several others.
const CAP: f32 = 5.0;

/// The score of a correction `map` of the level's grid.
fn score(windows: &[Window], map: &Homography) -> f64 {
    let sum: f32 = windows
        .iter()
        .map(|window| {
            let [x, y] = map.apply(window.centre);
            window
                .value([x - window.centre[0], y - window.centre[1]])
                .clamp(-1.0, CAP)
        })
        .sum();
    f64::from(sum)
}

/// How far a transform is from a similarity, the expected transform of a camera that looks down.
pub(super) struct Shape {
    corners: [[f64; 2]; 4],
    images: [[f64; 2]; 4],
    expected: f64,
}

impl Shape {
    /// `map` brings the frame's pixels to the level's grid.
    pub(super) fn new(map: &Homography, frame: (usize, usize)) -> Self {
        let (w, h) = (frame.0 as f64 - 1.0, frame.1 as f64 - 1.0);
        let corners = [
            [-w / 2.0, -h / 2.0],
            [w / 2.0, -h / 2.0],
            [w / 2.0, h / 2.0],
            [-w / 2.0, h / 2.0],
        ];
        let images = corners.map(|[x, y]| map.apply([x + w / 2.0, y + h / 2.0]));
        let side = (images[1][0] - images[0][0]).hypot(images[1][1] - images[0][1]);
        Shape {
            corners,
            images,
            expected: 0.03 * side,
        }
    }

    /// Cost of the frame's shape after a correction `map` of the level's grid: the squared distance of
    /// its corners from the closest similarity, in the expected one.
    fn cost(&self, map: &Homography) -> f64 {
        let images = self.images.map(|image| map.apply(image));
        let mean = images
            .iter()
            .fold([0.0; 2], |m, p| [m[0] + p[0] / 4.0, m[1] + p[1] / 4.0]);
        let (mut c, mut s, mut square) = (0.0, 0.0, 0.0);
        for (p, q) in self.corners.iter().zip(&images) {
            let (x, y) = (q[0] - mean[0], q[1] - mean[1]);
            c += p[0] * x + p[1] * y;
            s += p[0] * y - p[1] * x;
            square += p[0] * p[0] + p[1] * p[1];
        }
        let (c, s) = (c / square, s / square);
        let rest: f64 = self
            .corners
            .iter()
            .zip(&images)
            .map(|(p, q)| {
                let (x, y) = (mean[0] + c * p[0] - s * p[1], mean[1] + s * p[0] + c * p[1]);
                (q[0] - x).powi(2) + (q[1] - y).powi(2)
            })
            .sum();
        rest / 4.0 / (self.expected * self.expected)
    }
}

/// The best correction of the level's grid and its score.
pub(super) fn agree(measured: &Measured, shape: &Shape, hypotheses: usize) -> (Homography, f64) {
    let windows = &measured.windows;
    let b = measured.bounds;
    let pattern = Pattern::new([[b[0], b[1]], [b[2], b[1]], [b[2], b[3]], [b[0], b[3]]]);
    let score = |map: &Homography| score(windows, map) - shape.cost(map);
    let mut starts = vec![(Homography::IDENTITY, score(&Homography::IDENTITY))];
    let mut order: Vec<usize> = (0..windows.len()).collect();
    order.sort_by(|&i, &j| windows[j].height.total_cmp(&windows[i].height));
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for trial in 0..hypotheses {
        // The strongest first (PROSAC, Chum and Matas 2005): the pool grows with the trials.
        let pool = (4 + trial * order.len() / hypotheses.max(1)).min(order.len());
        if pool < 2 {
            break;
        }
        let (i, j) = (order[random.below(pool)], order[random.below(pool)]);
        if let Some(map) = similarity_of(&windows[i], &windows[j]) {
            starts.push((map, score(&map)));
        }
    }
    starts.sort_by(|a, b| b.1.total_cmp(&a.1));
    starts.truncate(4);
    let mut best = (Homography::IDENTITY, f64::NEG_INFINITY);
    for (start, _) in &starts {
        let similar = pattern.climb(start, &[4.0, 2.0, 1.0, 0.5], 4, score);
        let found = pattern.climb(&similar.0, &[4.0, 2.0, 1.0, 0.5, 0.25], 8, score);
        if found.1 > best.1 {
            best = found;
        }
    }
    best
}

fn similarity_of(a: &Window, b: &Window) -> Option<Homography> {
    let (p, q) = (a.centre, b.centre);
    let (u, v) = (
        [p[0] + a.peak[0], p[1] + a.peak[1]],
        [q[0] + b.peak[0], q[1] + b.peak[1]],
    );
    let (from, to) = ([q[0] - p[0], q[1] - p[1]], [v[0] - u[0], v[1] - u[1]]);
    let square = from[0] * from[0] + from[1] * from[1];
    if square < 100.0 {
        return None;
    }
    let (c, s) = (
        (from[0] * to[0] + from[1] * to[1]) / square,
        (from[0] * to[1] - from[1] * to[0]) / square,
    );
    let near = (c - 1.0).hypot(s) < 0.15;
    near.then(|| {
        Homography([
            c,
            -s,
            u[0] - c * p[0] + s * p[1],
            s,
            c,
            u[1] - s * p[0] - c * p[1],
            0.0,
            0.0,
            1.0,
        ])
    })
}

/// A window that agrees: where it lies, where it was found, how far that is from the fit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tie {
    pub(super) centre: [f64; 2],
    pub(super) found: [f64; 2],
    pub(super) residual: f64,
    pub(super) weight: f64,
}

/// Reweighted least squares on the peaks within `reach` of what `map` predicts.
pub(super) fn fit(
    measured: &Measured,
    map: &Homography,
    reach: f64,
) -> Option<(Homography, Vec<Tie>)> {
    let mut ties: Vec<Tie> = measured
        .windows
        .iter()
        .filter_map(|window| {
            let [x, y] = map.apply(window.centre);
            let predicted = [x - window.centre[0], y - window.centre[1]];
            let peak = window.peak_near(predicted, reach)?;
            let height = window.value(peak);
            (height > 1.0).then(|| Tie {
                centre: window.centre,
                found: [window.centre[0] + peak[0], window.centre[1] + peak[1]],
                residual: (peak[0] - predicted[0]).hypot(peak[1] - predicted[1]),
                weight: f64::from(height.min(8.0)).powi(2),
            })
        })
        .collect();
    if ties.len() < 6 {
        return None;
    }
    let from: Vec<_> = ties.iter().map(|tie| tie.centre).collect();
    let to: Vec<_> = ties.iter().map(|tie| tie.found).collect();
    let mut fitted = *map;
    for _ in 0..8 {
        let mut sorted: Vec<f64> = ties.iter().map(|tie| tie.residual).collect();
        sorted.sort_by(f64::total_cmp);
        let cut = (4.0 * sorted[sorted.len() / 2]).max(0.2);
        let weights: Vec<f64> = ties
            .iter()
            .map(|tie| tie.weight * (1.0 - (tie.residual / cut).min(1.0).powi(2)).powi(2))
            .collect();
        fitted = Homography::fit(&from, &to, &weights)?;
        for tie in &mut ties {
            let [x, y] = fitted.apply(tie.centre);
            tie.residual = (tie.found[0] - x).hypot(tie.found[1] - y);
        }
    }
    Some((fitted, ties))
}

/// SplitMix64: the same pictures give the same answer on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % count.max(1) as u64) as usize
    }
}
