//! All steps in order: coarse search, windows, finer levels, verdict.

use super::coarse;
use super::consensus::{self, Shape};
use super::gray::{Gray, Pyramid};
use super::homography::Homography;
use super::outcome::{Registration, Settings, Unaligned};
use super::prior::{Prior, bounds};
use super::verdict::{self, Evidence};
use super::windows::{self, Level, Measured};

/// Longer side of the frame, in pixels, at the level where the verdict is taken: always the same, so
/// that its numbers mean the same for every camera.
const VERDICT_SIDE: f64 = 256.0;
/// Side of a window at every level.
const WINDOW: usize = 64;
/// Windows along the longer side of the frame where the verdict is taken.
const ALONG: usize = 7;
/// Longer sides of the finer levels, in pixels.
const FINER: [f64; 4] = [512.0, 1024.0, 2048.0, 4096.0];
/// Candidates of the coarse search that the windows judge.
const JUDGED: usize = 4;
/// Transforms whose corners lie this far apart, in sides of the frame, are not the same.
const RIVAL: f64 = 0.08;
/// Greatest ratio of the scales of area between corners: a tilt of some 5 degrees at wide angle.
const GREATEST_TILT: f64 = 2.0;
/// Below this many windows nothing is fitted.
const FEWEST_WINDOWS: usize = 6;
/// A finer level is believed when this share of its windows agrees, and at least half of the share of
/// the level above: two dates often agree only in what is coarse.
const FINER_SHARE: f64 = 0.35;

/// Finds the transform from `frame` to `reference`, starting from `prior`, and says whether it may be
/// believed. Every input gives an answer: what cannot be registered is refused.
pub fn register(
    frame: &Gray,
    reference: &Gray,
    prior: &Prior,
    settings: &Settings,
) -> Registration {
    let refused = |why| Registration {
        homography: prior.start,
        evidence: Evidence::default(),
        refused: Some(why),
    };
    if !prior.is_usable() {
        return refused(Unaligned::UnusablePrior);
    }
    let (frame, reference) = (Pyramid::new(frame), Pyramid::new(reference));
    let candidates = coarse::search(&frame, &reference, prior);
    if candidates.is_empty() {
        return refused(Unaligned::NoStructure);
    }
    let Some(best) = Best::of(&frame, &reference, &candidates) else {
        return refused(Unaligned::NoStructure);
    };
    let Some((homography, mut evidence)) = judge(&frame, &reference, &best.homography) else {
        return refused(Unaligned::NoStructure);
    };
    evidence.peak_ratio = best.peak_ratio;
    let homography = sharpen(&frame, &reference, homography, &mut evidence);
    let refused = if is_plausible(&homography, prior, &frame) {
        settings.refusal(&evidence)
    } else {
        Some(Unaligned::Implausible)
    };
    Registration {
        homography,
        evidence,
        refused,
    }
}

/// One level under one transform.
struct Step {
    measured: Measured,
    map: Homography,
    score: f64,
}

impl Step {
    fn take(
        frame: &Pyramid<'_>,
        reference: &Pyramid<'_>,
        before: &Homography,
        level: &Level,
        hypotheses: usize,
    ) -> Option<Step> {
        let measured = windows::measure(frame, reference, before, level)?;
        if measured.windows.len() < FEWEST_WINDOWS {
            return None;
        }
        let shape = Shape::new(&measured.to_level.after(before), frame.size());
        let (map, score) = consensus::agree(&measured, &shape, hypotheses);
        Some(Step {
            measured,
            map,
            score,
        })
    }

    /// The transform corrected by a map of the level's grid.
    fn corrected(&self, before: &Homography, map: &Homography) -> Option<Homography> {
        let to_level = &self.measured.to_level;
        let corrected = to_level.inverse()?.after(map).after(to_level).after(before);
        corrected.is_finite().then_some(corrected)
    }

    fn agreement(&self, before: &Homography, frame: &Pyramid<'_>) -> Evidence {
        let (width, height) = frame.size();
        let (width, height) = (width as f64, height as f64);
        let scale = self
            .measured
            .to_level
            .after(before)
            .area_scale([width / 2.0, height / 2.0])
            .abs();
        verdict::agreement(&self.measured, &self.map, scale * width * height, WINDOW)
    }
}

/// The candidate on which most windows agree.
struct Best {
    homography: Homography,
    peak_ratio: f64,
}

impl Best {
    fn of(
        frame: &Pyramid<'_>,
        reference: &Pyramid<'_>,
        candidates: &[coarse::Candidate],
    ) -> Option<Best> {
        let mut outcomes = Vec::new();
        for candidate in &candidates[..candidates.len().min(JUDGED)] {
            let start = &candidate.homography;
            let Some(side) = longer_side(start, frame) else {
                continue;
            };
            let level = Level {
                scale: side / VERDICT_SIDE,
                window: WINDOW,
                radius: 14,
                along: ALONG,
            };
            let Some(step) = Step::take(frame, reference, start, &level, 300) else {
                continue;
            };
            let Some(homography) = step.corrected(start, &step.map) else {
                continue;
            };
            // The sum over n independent windows has a deviation of the root of n.
            let significance = step.score / (step.measured.windows.len() as f64).sqrt();
            outcomes.push((homography, significance, candidate.score));
        }
        let (homography, _, score) = outcomes.into_iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        // Several candidates may have climbed to one transform: a rival is one that lies elsewhere.
        let is_rival =
            |other: &Homography| distance(other, &homography, frame).is_none_or(|far| far > RIVAL);
        let (mut own, mut rival) = (score, 1.0f64);
        for candidate in candidates {
            // A score of one is what noise reaches.
            let side = if is_rival(&candidate.homography) {
                &mut rival
            } else {
                &mut own
            };
            *side = side.max(candidate.score);
        }
        let score = own;
        Some(Best {
            homography,
            peak_ratio: score / rival,
        })
    }
}

/// Fits at the level of the verdict, twice, and takes the evidence there.
fn judge(
    frame: &Pyramid<'_>,
    reference: &Pyramid<'_>,
    start: &Homography,
) -> Option<(Homography, Evidence)> {
    let mut homography = *start;
    let mut evidence = Evidence::default();
    for _ in 0..2 {
        let side = longer_side(&homography, frame)?;
        let level = Level {
            scale: side / VERDICT_SIDE,
            window: WINDOW,
            radius: 12,
            along: ALONG,
        };
        let step = Step::take(frame, reference, &homography, &level, 0)?;
        evidence = step.agreement(&homography, frame);
        let (fitted, ties) = consensus::fit(&step.measured, &step.map, 2.5)?;
        evidence.residual_px = verdict::residual(&ties) * level.scale;
        homography = step.corrected(&homography, &fitted)?;
    }
    Some((homography, evidence))
}

/// Finer levels for as long as they agree, the last of them twice.
fn sharpen(
    frame: &Pyramid<'_>,
    reference: &Pyramid<'_>,
    start: Homography,
    evidence: &mut Evidence,
) -> Homography {
    let mut homography = start;
    let mut share = evidence.agreeing;
    let mut last = None;
    let levels = FINER.iter().copied().map(Some).chain([None]);
    for side in levels {
        let Some(now) = longer_side(&homography, frame) else {
            break;
        };
        // At most the reference's own pixels, rounded to them where they are near.
        let Some(size) = side.filter(|&size| size <= 1.3 * now).or(last) else {
            break;
        };
        let again = last == Some(size);
        last = Some(size);
        let scale = if (0.8..1.25).contains(&(now / size)) {
            1.0
        } else {
            now / size
        };
        let level = Level {
            scale,
            window: WINDOW,
            radius: 8,
            along: 8,
        };
        let Some(step) = Step::take(frame, reference, &homography, &level, 0) else {
            break;
        };
        let finer = step.agreement(&homography, frame);
        if finer.agreeing < FINER_SHARE.max(0.5 * share) {
            break;
        }
        let Some((fitted, ties)) = consensus::fit(&step.measured, &step.map, 2.0) else {
            break;
        };
        let Some(corrected) = step.corrected(&homography, &fitted) else {
            break;
        };
        homography = corrected;
        share = finer.agreeing;
        evidence.residual_px = verdict::residual(&ties) * level.scale;
        if again {
            break;
        }
    }
    homography
}

/// Greatest distance of the frame's corners under two transforms, in longer sides of the frame.
fn distance(a: &Homography, b: &Homography, frame: &Pyramid<'_>) -> Option<f64> {
    let (width, height) = (frame.size().0 as f64, frame.size().1 as f64);
    let side = longer_side(b, frame)?;
    let corners = [[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]];
    let far = corners.iter().map(|&corner| {
        let (p, q) = (a.apply(corner), b.apply(corner));
        (p[0] - q[0]).hypot(p[1] - q[1])
    });
    Some(far.fold(0.0, f64::max) / side)
}

/// Rotation, scale and tilt lie where the prior and a camera that looks down allow them.
fn is_plausible(found: &Homography, prior: &Prior, frame: &Pyramid<'_>) -> bool {
    let (width, height) = (frame.size().0 as f64, frame.size().1 as f64);
    let corners = [[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]];
    // Between corners, beside what the start itself says of the tilt.
    let areas = corners.map(|corner| found.area_scale(corner) / prior.start.area_scale(corner));
    let (least, most) = areas.iter().fold((f64::INFINITY, 0.0), |(l, m), &a| {
        (f64::min(l, a), f64::max(m, a))
    });
    let centre = [width / 2.0, height / 2.0];
    let scale = (found.area_scale(centre) / prior.start.area_scale(centre)).sqrt();
    let heading = |map: &Homography| {
        let (a, b) = (map.apply(centre), map.apply([centre[0] + 1.0, centre[1]]));
        (b[1] - a[1]).atan2(b[0] - a[0]).to_degrees()
    };
    let turned = (heading(found) - heading(&prior.start) + 540.0).rem_euclid(360.0) - 180.0;
    let greatest = prior.scale * 1.05;
    least > 0.0
        && most / least < GREATEST_TILT
        && (1.0 / greatest..greatest).contains(&scale)
        && turned.abs() < prior.rotation_deg + 3.0
}

fn longer_side(map: &Homography, frame: &Pyramid<'_>) -> Option<f64> {
    let b = bounds(map, frame.size())?;
    let side = (b[2] - b[0]).max(b[3] - b[1]);
    (side.is_finite() && side >= 16.0).then_some(side)
}
