//! Correlation in windows: where each small piece of the frame fits best near where it is expected.

use rustfft::num_complex::Complex32;

use super::fourier::{Fourier, quick_size};
use super::gray::Pyramid;
use super::homography::Homography;
use super::orientation::Field;
use super::prior::bounds;

/// At which resolution, in which windows, how far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    /// Reference pixels to one pixel of the level.
    pub(super) scale: f64,
    /// Side of a window.
    pub(super) window: usize,
    /// Greatest displacement looked at, either way.
    pub(super) radius: usize,
    /// Windows along the longer side of the frame.
    pub(super) along: usize,
}

/// One window's correlation with the reference.
pub(super) struct Window {
    /// Its centre on the reference's grid at this level.
    pub(super) centre: [f64; 2],
    /// Correlation by displacement, `2 * radius + 1` squared, in its own root mean square.
    surface: Vec<f32>,
    radius: usize,
    /// Displacement of the greatest value, to a fraction of a pixel.
    pub(super) peak: [f64; 2],
    /// The greatest value.
    pub(super) height: f32,
    /// Correlation coefficient of the two fields at the peak.
    pub(super) coefficient: f32,
}

/// The windows of one level under one transform.
pub(super) struct Measured {
    pub(super) windows: Vec<Window>,
    /// Reference pixel to pixel of the level.
    pub(super) to_level: Homography,
    /// The box of the frame at this level, clipped to the reference.
    pub(super) bounds: [f64; 4],
}

/// Correlates the windows of a level, `homography` (frame to reference) predicting where they lie.
pub(super) fn measure(
    frame: &Pyramid<'_>,
    reference: &Pyramid<'_>,
    homography: &Homography,
    level: &Level,
) -> Option<Measured> {
    let to_level = Homography::shrink(level.scale);
    let from_level = to_level.inverse()?;
    let back = homography.inverse()?;
    let footprint = bounds(&to_level.after(homography), frame.size())?;
    let whole = bounds(&to_level, reference.size())?;
    let clipped = [
        footprint[0].max(whole[0]),
        footprint[1].max(whole[1]),
        footprint[2].min(whole[2]),
        footprint[3].min(whole[3]),
    ];
    let (w, h) = (clipped[2] - clipped[0], clipped[3] - clipped[1]);
    let n = level.window;
    if !(w >= n as f64 && h >= n as f64) {
        return None;
    }
    // Spaced by the whole frame, not by what is left of it in the reference: windows crowded into
    // a small overlap would share their pixels and agree with each other about nothing.
    let whole_side = (footprint[2] - footprint[0]).max(footprint[3] - footprint[1]);
    let step = (whole_side - n as f64) / (level.along.max(2) - 1) as f64;
    let places = |extent: f64| {
        let count = ((extent - n as f64) / step.max(1.0)).floor() as usize + 1;

        (0..count).map(move |index| (index as f64 * step).round())
    };
    let search = n + 2 * level.radius;
    let size = quick_size(search);
    let mut fourier = Fourier::new(size, size);
    let taper = taper(n);
    let mut windows = Vec::new();
    for top in places(h) {
        for left in places(w) {
            // Whole pixels, so that at full size the reference is read and not interpolated.
            let corner = [(clipped[0] + left).round(), (clipped[1] + top).round()];
            let at = |grow: usize| {
                let map = Homography::translation(corner[0] - grow as f64, corner[1] - grow as f64);
                (from_level.after(&map), n + 2 * grow)
            };
            let (map, side) = at(1);
            let pixels = frame.sample(&back.after(&map), side, side);
            if missing(&pixels) > 0.3 {
                continue;
            }
            let template = Field::of(&pixels, side, side);
            let (map, side) = at(level.radius + 1);
            let pixels = reference.sample(&map, side, side);
            if missing(&pixels) > 0.3 {
                continue;
            }
            let searched = Field::of(&pixels, side, side);
            let centre = [
                corner[0] + (n as f64 - 1.0) / 2.0,
                corner[1] + (n as f64 - 1.0) / 2.0,
            ];
            windows.extend(correlate(
                &template,
                &searched,
                &taper,
                level,
                &mut fourier,
                centre,
            ));
        }
    }
    Some(Measured {
        windows,
        to_level,
        bounds: clipped,
    })
}

fn missing(pixels: &[f32]) -> f64 {
    pixels.iter().filter(|value| value.is_nan()).count() as f64 / pixels.len().max(1) as f64
}

fn correlate(
    template: &Field,
    searched: &Field,
    taper: &[f32],
    level: &Level,
    fourier: &mut Fourier,
    centre: [f64; 2],
) -> Option<Window> {
    let (n, size) = (level.window, fourier.width);
    let side = n + 2 * level.radius;
    let mut a = vec![Complex32::default(); size * size];
    let mut b = a.clone();
    let mut energy = 0.0;
    for y in 0..n {
        for x in 0..n {
            let value = template.values[(y + 1) * template.width + x + 1] * (taper[y] * taper[x]);
            energy += value.norm_sqr();
            b[y * size + x] = value;
        }
    }
    let mut there = 0.0;
    for y in 0..side {
        for x in 0..side {
            let value = searched.values[(y + 1) * searched.width + x + 1];
            there += value.norm_sqr();
            a[y * size + x] = value;
        }
    }
    // A flat window says nothing: less than a hundredth of what full texture has.
    let tapered: f32 = taper.iter().map(|t| t * t).sum();
    if energy < 0.02 * tapered * tapered || there < 0.02 * (side * side) as f32 {
        return None;
    }
    fourier.forward(&mut a);
    fourier.forward(&mut b);
    for (value, other) in a.iter_mut().zip(&b) {
        *value *= other.conj();
    }
    fourier.inverse(&mut a);
    let width = 2 * level.radius + 1;
    let mut surface: Vec<f32> = Vec::with_capacity(width * width);
    for y in 0..width {
        surface.extend(a[y * size..][..width].iter().map(|value| value.re));
    }
    let rms =
        (surface.iter().map(|value| value * value).sum::<f32>() / surface.len() as f32).sqrt();
    if rms.is_nan() || rms <= 0.0 {
        return None;
    }
    let mean_there = there / (side * side) as f32;
    let full = (energy * mean_there * tapered * tapered).sqrt() * (size * size) as f32;
    let best = (0..surface.len()).max_by(|&i, &j| surface[i].total_cmp(&surface[j]))?;
    let coefficient = surface[best] / full;
    for value in &mut surface {
        *value /= rms;
    }
    let height = surface[best];
    let mut window = Window {
        centre,
        surface,
        radius: level.radius,
        peak: [0.0; 2],
        height,
        coefficient,
    };
    let whole = [
        (best % width) as f64 - level.radius as f64,
        (best / width) as f64 - level.radius as f64,
    ];
    window.peak = window.peak_near(whole, 0.5).unwrap_or(whole);
    Some(window)
}

impl Window {
    /// The correlation at a displacement, bilinear; zero beyond the radius.
    #[inline]
    pub(super) fn value(&self, [dx, dy]: [f64; 2]) -> f32 {
        let (x, y) = (dx + self.radius as f64, dy + self.radius as f64);
        let width = 2 * self.radius + 1;
        let last = (width - 1) as f64;
        if !(x >= 0.0 && y >= 0.0 && x < last && y < last) {
            return 0.0;
        }
        let (left, top) = (x as usize, y as usize);
        let (fx, fy) = ((x - left as f64) as f32, (y - top as f64) as f32);
        let s = &self.surface[top * width + left..];
        (s[0] * (1.0 - fx) + s[1] * fx) * (1.0 - fy)
            + (s[width] * (1.0 - fx) + s[width + 1] * fx) * fy
    }

    /// The greatest value within `reach` of a displacement, by a parabola to a fraction of a pixel.
    /// `None` where it lies at the edge: the true peak is elsewhere.
    pub(super) fn peak_near(&self, around: [f64; 2], reach: f64) -> Option<[f64; 2]> {
        let width = 2 * self.radius + 1;
        let radius = self.radius as f64;
        let range = |v: f64| {
            let low = (v + radius - reach).ceil().max(1.0) as usize;
            let high = (v + radius + reach).floor().min((width - 2) as f64);
            low..=(high.max(0.0) as usize)
        };
        let mut best: Option<(usize, usize)> = None;
        for y in range(around[1]) {
            for x in range(around[0]) {
                if best.is_none_or(|(bx, by)| {
                    self.surface[y * width + x] > self.surface[by * width + bx]
                }) {
                    best = Some((x, y));
                }
            }
        }
        let (x, y) = best?;
        let s = |dx: isize, dy: isize| {
            f64::from(self.surface[(y as isize + dy) as usize * width + (x as isize + dx) as usize])
        };
        let here = s(0, 0);
        if s(1, 0) > here || s(-1, 0) > here || s(0, 1) > here || s(0, -1) > here {
            return None;
        }
        let vertex = |before: f64, after: f64| {
            let curvature = before + after - 2.0 * here;
            if curvature < 0.0 {
                (0.5 * (before - after) / curvature).clamp(-0.5, 0.5)
            } else {
                0.0
            }
        };
        Some([
            x as f64 - radius + vertex(s(-1, 0), s(1, 0)),
            y as f64 - radius + vertex(s(0, -1), s(0, 1)),
        ])
    }
}

/// Flat in the middle half, falling like a cosine to the edges.
fn taper(n: usize) -> Vec<f32> {
    (0..n)
        .map(|index| {
            let edge = (index as f32 + 0.5).min(n as f32 - index as f32 - 0.5) / (n as f32 / 4.0);
            if edge >= 1.0 {
                1.0
            } else {
                0.5 - 0.5 * (std::f32::consts::PI * edge).cos()
            }
        })
        .collect()
}
