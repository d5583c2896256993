//! The verdict in numbers: whether two pictures show the same place, and how well they fit.

use super::consensus::Tie;
use super::homography::Homography;
use super::windows::Measured;

/// A window agrees when its own greatest correlation lies this near to where the transform puts it.
const AGREE_PX: f64 = 2.0;

/// What was measured of a registration.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    /// Root mean square distance of the agreeing windows from the transform, in reference pixels.
    pub residual_px: f64,
    /// Share of the frame (0 to 1) inside an agreeing window.
    pub coverage: f64,
    /// Share of the windows (0 to 1) that agree, each found on its own.
    pub agreeing: f64,
    /// Best correlation over the best at a distinct rotation, scale or shift.
    pub peak_ratio: f64,
    /// How many windows were compared.
    pub windows: usize,
    /// Mean correlation of all windows where the transform puts them, in the root mean square of
    /// their surroundings.
    pub support: f64,
    /// Mean correlation coefficient of the agreeing windows.
    pub coefficient: f64,
}

/// Agreement of the windows of a level with the transform under which they were measured, corrected
/// by `map`.
pub(super) fn agreement(
    measured: &Measured,
    map: &Homography,
    footprint_area: f64,
    window: usize,
) -> Evidence {
    let mut evidence = Evidence {
        windows: measured.windows.len(),
        ..Evidence::default()
    };
    if measured.windows.is_empty() {
        return evidence;
    }
    let mut agreeing = Vec::new();
    for w in &measured.windows {
        let [x, y] = map.apply(w.centre);
        let predicted = [x - w.centre[0], y - w.centre[1]];
        evidence.support += f64::from(w.value(predicted));
        if (predicted[0] - w.peak[0]).hypot(predicted[1] - w.peak[1]) < AGREE_PX {
            agreeing.push(w.centre);
            evidence.coefficient += f64::from(w.coefficient);
        }
    }
    let n = measured.windows.len() as f64;
    evidence.support /= n;
    evidence.agreeing = agreeing.len() as f64 / n;
    evidence.coefficient /= agreeing.len().max(1) as f64;
    // Covered area by sampling the box on a lattice: windows overlap.
    let b = measured.bounds;
    let half = window as f64 / 2.0;
    let (w, h) = (b[2] - b[0], b[3] - b[1]);
    const LATTICE: usize = 32;
    let covered = (0..LATTICE * LATTICE)
        .filter(|index| {
            let x = b[0] + ((index % LATTICE) as f64 + 0.5) / LATTICE as f64 * w;
            let y = b[1] + ((index / LATTICE) as f64 + 0.5) / LATTICE as f64 * h;
            agreeing
                .iter()
                .any(|c| (c[0] - x).abs() <= half && (c[1] - y).abs() <= half)
        })
        .count();
    evidence.coverage =
        (covered as f64 / (LATTICE * LATTICE) as f64 * w * h / footprint_area.max(1.0)).min(1.0);
    evidence
}

/// Root mean square residual of the ties within the bar of agreement.
pub(super) fn residual(ties: &[Tie]) -> f64 {
    let near: Vec<f64> = ties
        .iter()
        .map(|tie| tie.residual)
        .filter(|&residual| residual < AGREE_PX)
        .collect();
    if near.is_empty() {
        AGREE_PX
    } else {
        (near.iter().map(|r| r * r).sum::<f64>() / near.len() as f64).sqrt()
    }
}
