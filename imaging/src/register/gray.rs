//! Brightness with validity, its pyramid, and resampling through a homography.

use super::homography::Homography;
use crate::image::Image;

/// One channel of brightness (0 to 255) and which pixels hold data.
#[derive(Clone, Debug, Default)]
pub struct Gray {
    width: usize,
    height: usize,
    /// `NAN` where there is no data.
    values: Vec<f32>,
}

impl Gray {
    /// From 8-bit RGB, row by row, and a mask (`false`: no data) of as many pixels where there is one.
    /// `None` where the lengths do not fit the size.
    pub fn from_rgb(
        width: usize,
        height: usize,
        rgb: &[u8],
        valid: Option<&[bool]>,
    ) -> Option<Self> {
        let pixels = width.checked_mul(height)?;
        if rgb.len() != pixels.checked_mul(3)? || valid.is_some_and(|mask| mask.len() != pixels) {
            return None;
        }
        let mut values: Vec<f32> = rgb
            .as_chunks::<3>()
            .0
            .iter()
            .map(|&[r, g, b]| 0.299 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b))
            .collect();
        blank_black_margin(&mut values, width);
        for (value, &valid) in values.iter_mut().zip(valid.unwrap_or(&[])) {
            if !valid {
                *value = f32::NAN;
            }
        }
        Some(Gray {
            width,
            height,
            values,
        })
    }

    /// Size in pixels: columns, rows.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// Half the size, each pixel the mean of the four (fewer at no data) below it.
    fn halved(&self) -> Gray {
        let (width, height) = (self.width.div_ceil(2), self.height.div_ceil(2));
        let mut values = Vec::with_capacity(width * height);
        for y in 0..height {
            let upper = &self.values[2 * y * self.width..][..self.width];
            let lower = if 2 * y + 1 < self.height {
                &self.values[(2 * y + 1) * self.width..][..self.width]
            } else {
                upper
            };
            for x in 0..width {
                let right = (2 * x + 1).min(self.width - 1);
                let sum = upper[2 * x] + upper[right] + lower[2 * x] + lower[right];
                values.push(0.25 * sum);
            }
        }
        Gray {
            width,
            height,
            values,
        }
    }
}

impl From<&Image> for Gray {
    fn from(image: &Image) -> Self {
        let (width, height) = image.size();
        // The image keeps its buffer as long as its size asks.
        Gray::from_rgb(
            width as usize,
            height as usize,
            image.rgb(),
            image.validity(),
        )
        .unwrap_or_default()
    }
}

/// Black at the rim of a picture is where a mosaic or a warp ends, though no mask says so: its long
/// straight border would be the strongest structure of all. Runs from the left or right edge that are
/// darker than any lit ground become no data, with two pixels of ringing beyond them.
fn blank_black_margin(values: &mut [f32], width: usize) {
    const BLACK: f32 = 6.0;
    const SHORTEST: usize = 8;
    if width == 0 {
        return;
    }
    for row in values.chunks_exact_mut(width) {
        let left = row.iter().take_while(|value| **value < BLACK).count();
        let right = row.iter().rev().take_while(|value| **value < BLACK).count();
        if left >= SHORTEST {
            row[..(left + 2).min(width)].fill(f32::NAN);
        }
        if right >= SHORTEST {
            row[width.saturating_sub(right + 2)..].fill(f32::NAN);
        }
    }
}

/// A picture at full, half, quarter... size. The full size is borrowed: of 12 megapixels a copy would
/// cost 48 MB.
pub(super) struct Pyramid<'a> {
    full: &'a Gray,
    smaller: Vec<Gray>,
}

impl<'a> Pyramid<'a> {
    pub(super) fn new(full: &'a Gray) -> Self {
        let mut smaller: Vec<Gray> = Vec::new();
        loop {
            let last = smaller.last().unwrap_or(full);
            if last.width.min(last.height) <= 32 {
                break;
            }
            let half = last.halved();
            smaller.push(half);
        }
        Pyramid { full, smaller }
    }

    pub(super) fn size(&self) -> (usize, usize) {
        self.full.size()
    }

    /// `width` x `height` samples at `map(x, y)`, from the level whose pixels are as large as the
    /// step between the samples (or the next finer); `NAN` beyond the picture.
    pub(super) fn sample(&self, map: &Homography, width: usize, height: usize) -> Vec<f32> {
        let centre = [width as f64 / 2.0, height as f64 / 2.0];
        let step = map.area_scale(centre).abs().sqrt();
        let level = if step.is_finite() {
            step.max(1.0).log2().mul_add(1.0, 0.25).floor() as usize
        } else {
            0
        };
        let level = level.min(self.smaller.len());
        let picture = match level {
            0 => self.full,
            _ => &self.smaller[level - 1],
        };
        let map = Homography::shrink((1u32 << level) as f64).after(map);
        let m = map.0;
        let mut samples = Vec::with_capacity(width * height);
        let (right, bottom) = (picture.width as f64 - 1.0, picture.height as f64 - 1.0);
        for y in 0..height {
            let y = y as f64;
            let (mut u, mut v, mut w) = (m[1] * y + m[2], m[4] * y + m[5], m[7] * y + m[8]);
            for _ in 0..width {
                let inverse = 1.0 / w;
                let (px, py) = (u * inverse, v * inverse);
                // Half a pixel beyond the outermost centres still belongs to the picture.
                let inside =
                    px >= -0.5 && py >= -0.5 && px <= right + 0.5 && py <= bottom + 0.5 && w > 0.0;
                samples.push(if inside {
                    picture.bilinear(px.clamp(0.0, right), py.clamp(0.0, bottom))
                } else {
                    f32::NAN
                });
                u += m[0];
                v += m[3];
                w += m[6];
            }
        }
        samples
    }
}

impl Gray {
    #[inline]
    fn bilinear(&self, x: f64, y: f64) -> f32 {
        let (left, top) = (x as usize, y as usize);
        let (fx, fy) = ((x - left as f64) as f32, (y - top as f64) as f32);
        let right = (left + 1).min(self.width - 1);
        let (upper, lower) = (
            top * self.width,
            (top + 1).min(self.height - 1) * self.width,
        );
        let above = self.values[upper + left] * (1.0 - fx) + self.values[upper + right] * fx;
        let below = self.values[lower + left] * (1.0 - fx) + self.values[lower + right] * fx;
        above * (1.0 - fy) + below * fy
    }
}
