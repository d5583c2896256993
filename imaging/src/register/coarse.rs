//! The coarse search: rotation, scale and shift between two orientation fields.
//!
//! The frame is brought to the reference by the start transform, at about 128 pixels along its longer
//! side. Two fields are compared together: of edges as fine as that resolution shows, and of what is
//! two to three times as coarse, because roads and the outlines of woods and fields outlast what
//! stands on them. For every rotation and scale of the search one Fourier correlation gives the best shift; the
//! best few are then refined with all eight parameters of a homography by direct search.

use rustfft::num_complex::Complex32;

use super::fourier::{Fourier, quick_size};
use super::gray::Pyramid;
use super::homography::Homography;
use super::orientation::{Field, smooth};
use super::pattern::Pattern;
use super::prior::Prior;

/// The longer side of the frame in the coarse search, in pixels.
const FRAME_SIDE: f64 = 128.0;
/// The longest side of the reference that is searched, in the same pixels.
const REFERENCE_SIDE: f64 = 640.0;
/// Steps of the search: at the rim of 128 pixels each moves a point by less than the width of a peak.
const ROTATION_STEP: f64 = 2.5;
const SCALE_STEP: f64 = 0.05;
/// A shift is considered where at least this share of the greatest overlap remains.
const OVERLAP: f32 = 0.35;
/// How many distinct candidates are refined.
const CANDIDATES: usize = 6;
/// Weight of the coarser field beside the finer one.
const COARSER: f32 = 0.7;
/// Half of the side of the square over which the mean orientation is taken off, in pixels.
const MEAN_REACH: usize = 20;

/// A transform that the coarse search proposes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Frame pixel to reference pixel.
    pub(super) homography: Homography,
    /// Correlation over the root of the overlapping energy, in its standard deviations.
    pub(super) score: f64,
}

/// Fine and coarse structure on one grid, the coarse weighted.
struct Fields {
    width: usize,
    height: usize,
    of: [Field; 2],
}

impl Fields {
    /// `pixels` holds the brightness at twice the resolution of `width` x `height`.
    fn of(pixels: &[f32], width: usize, height: usize) -> Fields {
        let (twice_width, twice_height) = (2 * width, 2 * height);
        let smoothed = smooth(pixels, twice_width, twice_height);
        let fine = Field::of(&smoothed, twice_width, twice_height).halved();
        let mut half = Vec::with_capacity(width * height);
        for y in 0..height {
            for x in 0..width {
                let at = 2 * y * twice_width + 2 * x;
                let below = at + twice_width;
                half.push(0.25 * (pixels[at] + pixels[at + 1] + pixels[below] + pixels[below + 1]));
            }
        }
        let mut coarse = Field::of(&smooth(&half, width, height), width, height);
        for value in &mut coarse.values {
            *value *= COARSER;
        }
        Fields {
            width,
            height,
            of: [fine, coarse].map(|field| field.less_local_mean(MEAN_REACH)),
        }
    }

    fn energy(&self) -> f32 {
        self.of.iter().map(Field::energy).sum()
    }
}

struct Search {
    reference: Fields,
    frame: Fields,
    /// Template pixel (of the frame brought to the reference) to reference pixel of this level,
    /// before any rotation.
    offset: [f64; 2],
    /// This level's reference pixel to the reference's own.
    to_reference: Homography,
    /// Greatest shift away from the start, in pixels of this level.
    reach: f64,
    /// The smaller of the two fields' energies.
    energy: f32,
}

/// The best distinct transforms, the best first. Empty where nothing overlaps or nothing has texture.
pub(super) fn search(
    frame: &Pyramid<'_>,
    reference: &Pyramid<'_>,
    prior: &Prior,
) -> Vec<Candidate> {
    let Some(search) = Search::prepare(frame, reference, prior) else {
        return Vec::new();
    };
    let mut found = search.sweep(prior);
    found.sort_by(|a, b| b.1.total_cmp(&a.1));
    let centre = [
        search.frame.width as f64 / 2.0,
        search.frame.height as f64 / 2.0,
    ];
    let corners = [
        [0.0, 0.0],
        [2.0 * centre[0], 0.0],
        [2.0 * centre[0], 2.0 * centre[1]],
        [0.0, 2.0 * centre[1]],
    ];
    let far = |a: &Homography, b: &Homography, distance: f64| {
        corners.iter().chain([&centre]).any(|&corner| {
            let (p, q) = (a.apply(corner), b.apply(corner));
            (p[0] - q[0]).hypot(p[1] - q[1]) > distance
        })
    };
    let mut distinct: Vec<Homography> = Vec::new();
    for (map, _) in &found {
        if distinct.len() < CANDIDATES && distinct.iter().all(|other| far(map, other, 7.0)) {
            distinct.push(*map);
        }
    }
    let noise = search.noise();
    let mut refined: Vec<(Homography, f64)> = distinct
        .iter()
        .map(|map| search.refine(map, &corners))
        .collect();
    refined.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut kept: Vec<(Homography, f64)> = Vec::new();
    for (map, score) in refined {
        if kept.iter().all(|(other, _)| far(&map, other, 7.0)) {
            kept.push((map, score));
        }
    }
    let to_template = search.template_map();
    kept.iter()
        .map(|(map, score)| Candidate {
            homography: search
                .to_reference
                .after(map)
                .after(&to_template)
                .after(&prior.start),
            score: score / noise,
        })
        .collect()
}

impl Search {
    fn prepare(frame: &Pyramid<'_>, reference: &Pyramid<'_>, prior: &Prior) -> Option<Search> {
        let (frame_box, reference_box) = (
            prior.footprint(frame.size())?,
            prior.searched(frame.size(), reference.size())?,
        );
        let side = |b: &[f64; 4]| (b[2] - b[0]).max(b[3] - b[1]);
        // Fields are made at twice the resolution of the search: their mean keeps the direction of
        // what is too fine for it.
        let scale = (side(&frame_box) / FRAME_SIDE).max(side(&reference_box) / REFERENCE_SIDE);
        if !(scale.is_finite() && scale > 0.0) {
            return None;
        }
        let half = scale / 2.0;
        let grid = |b: &[f64; 4], margin: f64| {
            let (w, h) = ((b[2] - b[0]) / half, (b[3] - b[1]) / half);
            (
                ((w * margin) as usize / 2 * 2).max(16),
                ((h * margin) as usize / 2 * 2).max(16),
            )
        };
        let (width, height) = grid(&reference_box, 1.0);
        let start = [reference_box[0], reference_box[1]];
        let place = |origin: [f64; 2]| {
            Homography::translation(origin[0], origin[1]).after(&Homography::shrink(1.0 / half))
        };
        let pixels = reference.sample(&place(start), width, height);
        let reference_fields = Fields::of(&pixels, width / 2, height / 2);
        let (width, height) = grid(&frame_box, 1.2);
        let centre = [
            (frame_box[0] + frame_box[2]) / 2.0,
            (frame_box[1] + frame_box[3]) / 2.0,
        ];
        let origin = [
            centre[0] - width as f64 * half / 2.0,
            centre[1] - height as f64 * half / 2.0,
        ];
        let back = prior.start.inverse()?;
        let pixels = frame.sample(&back.after(&place(origin)), width, height);
        let frame_fields = Fields::of(&pixels, width / 2, height / 2);
        let energy = reference_fields.energy().min(frame_fields.energy());
        if energy < 1.0 {
            return None;
        }
        Some(Search {
            reference: reference_fields,
            frame: frame_fields,
            offset: [
                (origin[0] - start[0]) / scale,
                (origin[1] - start[1]) / scale,
            ],
            to_reference: Homography::translation(start[0], start[1])
                .after(&Homography::shrink(1.0 / scale)),
            reach: prior.shift_px / scale,
            energy,
        })
    }

    /// Reference pixel, by the start transform, to template pixel.
    fn template_map(&self) -> Homography {
        let level = self.to_reference.inverse().unwrap_or(Homography::IDENTITY);
        Homography::translation(-self.offset[0], -self.offset[1]).after(&level)
    }

    /// For every rotation and scale the best shift: template pixel to reference pixel of this level,
    /// and its score.
    fn sweep(&self, prior: &Prior) -> Vec<(Homography, f64)> {
        // Shifts that leave less than the overlap asked for may wrap around; the fields must fit.
        let pad = |r: usize, f: usize| quick_size((r + f * 3 / 5).max(f));
        let (width, height) = (
            pad(self.reference.width, self.frame.width),
            pad(self.reference.height, self.frame.height),
        );
        let mut fourier = Fourier::new(width, height);
        let reference = self.reference.of.each_ref().map(|field| {
            let mut spectrum = padded(field, width, height);
            fourier.forward(&mut spectrum);
            spectrum
        });
        let mut overlap = energy_overlap(&self.reference, &self.frame, &mut fourier);
        let most = overlap.iter().copied().fold(0.0, f32::max);
        for value in &mut overlap {
            *value = if *value >= OVERLAP * most {
                1.0 / (*value + 0.1 * most).sqrt()
            } else {
                0.0
            };
        }
        let rotations = steps(prior.rotation_deg, ROTATION_STEP);
        let scales = steps(prior.scale.max(1.0).ln(), SCALE_STEP);
        let mut found = Vec::new();
        for &log_scale in &scales {
            for &degrees in &rotations {
                let mut spectrum = vec![Complex32::default(); width * height];
                let turned = self.turned(log_scale.exp(), degrees.to_radians());
                for (template, reference) in turned.iter().zip(&reference) {
                    let mut one = padded(template, width, height);
                    fourier.forward(&mut one);
                    for ((sum, value), r) in spectrum.iter_mut().zip(&one).zip(reference) {
                        *sum += r * value.conj();
                    }
                }
                fourier.inverse(&mut spectrum);
                if let Some((dx, dy, score)) = self.best_shift(&spectrum, &overlap, width, height) {
                    let map = Homography::translation(dx, dy)
                        .after(&self.about_centre(log_scale.exp(), degrees.to_radians()));
                    found.push((map, f64::from(score)));
                }
            }
        }
        found
    }

    fn best_shift(
        &self,
        correlation: &[Complex32],
        overlap: &[f32],
        width: usize,
        height: usize,
    ) -> Option<(f64, f64, f32)> {
        let signed = |at: usize, size: usize, reference: usize| {
            if at >= reference {
                at as f64 - size as f64
            } else {
                at as f64
            }
        };
        let mut best = None;
        for y in 0..height {
            let dy = signed(y, height, self.reference.height);
            if (dy - self.offset[1]).abs() > self.reach + 1.0 {
                continue;
            }
            for x in 0..width {
                let score = correlation[y * width + x].re * overlap[y * width + x];
                if score > best.map_or(0.0, |(_, _, score)| score) {
                    let dx = signed(x, width, self.reference.width);
                    if (dx - self.offset[0]).abs() <= self.reach + 1.0 {
                        best = Some((dx, dy, score));
                    }
                }
            }
        }
        best
    }

    fn about_centre(&self, scale: f64, angle: f64) -> Homography {
        let centre = [
            self.frame.width as f64 / 2.0 - 0.5,
            self.frame.height as f64 / 2.0 - 0.5,
        ];
        Homography::translation(centre[0], centre[1])
            .after(&Homography::similarity(scale, angle, [0.0, 0.0]))
            .after(&Homography::translation(-centre[0], -centre[1]))
    }

    /// The frame's fields turned and scaled about its centre.
    fn turned(&self, scale: f64, angle: f64) -> [Field; 2] {
        let map = self
            .about_centre(scale, angle)
            .inverse()
            .unwrap_or(Homography::IDENTITY);
        let (sin, cos) = (2.0 * angle).sin_cos();
        let turn = Complex32::new(cos as f32, sin as f32);
        let (width, height) = (self.frame.width, self.frame.height);
        let m = map.0;
        self.frame.of.each_ref().map(|field| {
            let mut values = Vec::with_capacity(width * height);
            for y in 0..height {
                let (mut u, mut v) = (m[1] * y as f64 + m[2], m[4] * y as f64 + m[5]);
                for _ in 0..width {
                    values.push(field.at([u, v]) * turn);
                    u += m[0];
                    v += m[3];
                }
            }
            Field {
                width,
                height,
                values,
            }
        })
    }

    /// The correlation under a map of template to reference pixels, over the root of the energy that
    /// overlaps.
    fn score(&self, map: &Homography) -> f64 {
        let (width, height) = (self.frame.width, self.frame.height);
        let centre = [width as f64 / 2.0, height as f64 / 2.0];
        let (a, b) = (map.apply(centre), map.apply([centre[0] + 1.0, centre[1]]));
        let angle = (b[1] - a[1]).atan2(b[0] - a[0]);
        let (sin, cos) = (2.0 * angle).sin_cos();
        let turn = Complex32::new(cos as f32, -sin as f32);
        let m = map.0;
        let (mut sum, mut energy) = (Complex32::default(), 0.0f32);
        for y in (0..height).step_by(2) {
            let fy = y as f64;
            for x in (0..width).step_by(2) {
                let index = y * width + x;
                if self.frame.of[1].values[index].norm_sqr() == 0.0 {
                    continue;
                }
                let fx = x as f64;
                let w = 1.0 / (m[6] * fx + m[7] * fy + m[8]);
                let place = [
                    (m[0] * fx + m[1] * fy + m[2]) * w,
                    (m[3] * fx + m[4] * fy + m[5]) * w,
                ];
                for (frame, reference) in self.frame.of.iter().zip(&self.reference.of) {
                    let (value, there) = (frame.values[index], reference.at(place));
                    sum += there * value.conj();
                    energy += there.norm_sqr() * value.norm_sqr();
                }
            }
        }
        let sum = (sum * turn).re;
        let all = 0.25 * self.energy;
        let mean = all / (width * height) as f32;
        f64::from(sum / (energy + 0.1 * all * mean).sqrt())
    }

    /// What a wrong map scores: the root of the mean square over shifts far apart.
    fn noise(&self) -> f64 {
        let base = Homography::translation(self.offset[0], self.offset[1]);
        let (mut squares, mut count) = (0.0, 0.0);
        for y in -3..=3 {
            for x in -3..=3 {
                if x == 0 && y == 0 {
                    continue;
                }
                let shift = Homography::translation(f64::from(x) * 11.0, f64::from(y) * 11.0);
                squares += self.score(&shift.after(&base)).powi(2);
                count += 1.0;
            }
        }
        f64::max((squares / count).sqrt(), 1e-6)
    }

    fn refine(&self, map: &Homography, corners: &[[f64; 2]; 4]) -> (Homography, f64) {
        let pattern = Pattern::new(*corners);
        let tuned = pattern.climb(map, &[2.0, 1.0, 0.5], 4, |map| self.score(map));
        pattern.climb(&tuned.0, &[1.0, 0.5], 8, |map| self.score(map))
    }
}

fn steps(reach: f64, step: f64) -> Vec<f64> {
    let count = (reach / step).ceil().max(0.0) as i32;
    let step = if count == 0 {
        0.0
    } else {
        reach / f64::from(count)
    };
    (-count..=count)
        .map(|index| f64::from(index) * step)
        .collect()
}

fn padded(field: &Field, width: usize, height: usize) -> Vec<Complex32> {
    let mut values = vec![Complex32::default(); width * height];
    for (row, from) in values
        .chunks_exact_mut(width)
        .zip(field.values.chunks_exact(field.width))
    {
        row[..field.width].copy_from_slice(from);
    }
    values
}

/// For every shift the energy of the fields where they overlap.
fn energy_overlap(reference: &Fields, frame: &Fields, fourier: &mut Fourier) -> Vec<f32> {
    let square = |fields: &Fields| Field {
        width: fields.width,
        height: fields.height,
        values: fields.of[0]
            .values
            .iter()
            .zip(&fields.of[1].values)
            .map(|(fine, coarse)| Complex32::new(fine.norm_sqr() + coarse.norm_sqr(), 0.0))
            .collect(),
    };
    let (width, height) = (fourier.width, fourier.height);
    let mut a = padded(&square(reference), width, height);
    let mut b = padded(&square(frame), width, height);
    fourier.forward(&mut a);
    fourier.forward(&mut b);
    for (value, other) in a.iter_mut().zip(&b) {
        *value *= other.conj();
    }
    fourier.inverse(&mut a);
    let scale = 1.0 / (width * height) as f32;
    a.iter().map(|value| (value.re * scale).max(0.0)).collect()
}
