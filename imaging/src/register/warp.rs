//! A frame resampled to the reference's grid, and pictures that show how well the two fit.

use super::homography::Homography;
use crate::image::Image;

/// A frame on the reference's grid.
#[derive(Debug, Clone)]
pub struct Warped {
    /// The frame; black where it does not reach.
    pub image: Image,
    /// For each pixel, row by row, whether the frame reaches it.
    pub valid: Vec<bool>,
}

/// Resamples `frame` once, by `homography` (frame pixel to reference pixel), to a grid of `size`.
/// Bilinear; where the frame shrinks, from the mean of 2 x 2, 4 x 4, ... of its pixels, so that fine
/// texture does not alias. `None` where the homography has no inverse or the size no pixels.
pub fn warp(frame: &Image, homography: &Homography, size: (u32, u32)) -> Option<Warped> {
    let back = homography.inverse()?;
    let (width, height) = size;
    let step = back
        .area_scale([f64::from(width) / 2.0, f64::from(height) / 2.0])
        .abs()
        .sqrt();
    let (frame_width, frame_height) = frame.size();
    let mut source = Source {
        width: frame_width as usize,
        height: frame_height as usize,
        rgb: frame.rgb().to_vec(),
    };
    let mut factor = 1.0;
    // A step that is not a number compares false: no shrinking.
    while step / factor >= 1.7 && source.width.min(source.height) >= 2 {
        source = source.halved();
        factor *= 2.0;
    }
    let m = Homography::shrink(factor).after(&back).0;
    let pixels = width as usize * height as usize;
    let (mut rgb, mut valid) = (Vec::with_capacity(pixels * 3), Vec::with_capacity(pixels));
    let (right, bottom) = (source.width as f64 - 1.0, source.height as f64 - 1.0);
    for y in 0..height {
        for x in 0..width {
            let (fx, fy) = (f64::from(x), f64::from(y));
            let w = m[6] * fx + m[7] * fy + m[8];
            let (u, v) = (
                (m[0] * fx + m[1] * fy + m[2]) / w,
                (m[3] * fx + m[4] * fy + m[5]) / w,
            );
            let inside = w > 0.0 && u >= -0.5 && v >= -0.5 && u <= right + 0.5 && v <= bottom + 0.5;
            valid.push(inside);
            rgb.extend(if inside {
                source.bilinear(u.clamp(0.0, right), v.clamp(0.0, bottom))
            } else {
                [0; 3]
            });
        }
    }
    let image = Image::from_rgb(frame.name(), width, height, rgb).ok()?;
    Some(Warped { image, valid })
}

/// Squares of `cell` pixels from the reference and from the warped frame by turns: where the two fit,
/// roads and roofs run on across the seams. The reference alone where the frame does not reach.
/// `None` where the sizes differ.
pub fn checkerboard(reference: &Image, warped: &Warped, cell: u32) -> Option<Image> {
    let (width, _) = reference.size();
    let cell = cell.max(1);
    combine(reference, warped, |index, before, after, valid| {
        let (x, y) = (index as u32 % width, index as u32 / width);
        if valid && (x / cell + y / cell) % 2 == 1 {
            after
        } else {
            before
        }
    })
}

/// The absolute difference by channel; black where the frame does not reach. `None` where the sizes
/// differ.
pub fn difference(reference: &Image, warped: &Warped) -> Option<Image> {
    combine(reference, warped, |_, before, after, valid| {
        if valid {
            [0, 1, 2].map(|channel| before[channel].abs_diff(after[channel]))
        } else {
            [0; 3]
        }
    })
}

fn combine(
    reference: &Image,
    warped: &Warped,
    pixel: impl Fn(usize, [u8; 3], [u8; 3], bool) -> [u8; 3],
) -> Option<Image> {
    if reference.size() != warped.image.size() {
        return None;
    }
    let (before, after) = (
        reference.rgb().as_chunks::<3>().0,
        warped.image.rgb().as_chunks::<3>().0,
    );
    let rgb = before
        .iter()
        .zip(after)
        .zip(&warped.valid)
        .enumerate()
        .flat_map(|(index, ((before, after), valid))| pixel(index, *before, *after, *valid))
        .collect();
    let (width, height) = reference.size();
    Image::from_rgb(reference.name(), width, height, rgb).ok()
}

struct Source {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

impl Source {
    fn halved(&self) -> Source {
        let (width, height) = (self.width.div_ceil(2), self.height.div_ceil(2));
        let mut rgb = Vec::with_capacity(width * height * 3);
        for y in 0..height {
            let (top, bottom) = (2 * y, (2 * y + 1).min(self.height - 1));
            for x in 0..width {
                let (left, right) = (2 * x, (2 * x + 1).min(self.width - 1));
                for channel in 0..3 {
                    let at = |x: usize, y: usize| {
                        u16::from(self.rgb[(y * self.width + x) * 3 + channel])
                    };
                    rgb.push(
                        ((at(left, top)
                            + at(right, top)
                            + at(left, bottom)
                            + at(right, bottom)
                            + 2)
                            / 4) as u8,
                    );
                }
            }
        }
        Source { width, height, rgb }
    }

    fn bilinear(&self, x: f64, y: f64) -> [u8; 3] {
        let (left, top) = (x as usize, y as usize);
        let (fx, fy) = ((x - left as f64) as f32, (y - top as f64) as f32);
        let (right, bottom) = (
            (left + 1).min(self.width - 1),
            (top + 1).min(self.height - 1),
        );
        [0, 1, 2].map(|channel| {
            let at = |x: usize, y: usize| f32::from(self.rgb[(y * self.width + x) * 3 + channel]);
            let above = at(left, top) * (1.0 - fx) + at(right, top) * fx;
            let below = at(left, bottom) * (1.0 - fx) + at(right, bottom) * fx;
            (above * (1.0 - fy) + below * fy).round() as u8
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32, value: impl Fn(u32, u32) -> u8) -> Image {
        let rgb = (0..width * height)
            .flat_map(|i| [value(i % width, i / width); 3])
            .collect();
        Image::from_rgb("test", width, height, rgb).expect("sizes fit")
    }

    #[test]
    fn a_whole_shift_moves_pixels_and_marks_what_is_not_reached() {
        let frame = picture(8, 6, |x, y| (10 * x + y) as u8);
        let warped = warp(&frame, &Homography::translation(3.0, 1.0), (8, 6)).expect("invertible");
        assert_eq!(warped.image.rgb()[(8 + 3) * 3], 0, "pixel 0,0 of the frame");
        assert_eq!(
            warped.image.rgb()[(2 * 8 + 5) * 3],
            21,
            "pixel 2,1 of the frame"
        );
        assert!(!warped.valid[0] && warped.valid[8 + 3]);
    }

    #[test]
    fn what_shrinks_is_averaged_and_does_not_alias() {
        let frame = picture(64, 64, |x, y| if (x + y) % 2 == 0 { 0 } else { 200 });
        let warped = warp(&frame, &Homography::shrink(4.0), (16, 16)).expect("invertible");
        assert!(warped.image.rgb().iter().all(|&value| value == 100));
    }

    #[test]
    fn a_homography_without_inverse_is_refused() {
        let frame = picture(4, 4, |_, _| 7);
        assert!(warp(&frame, &Homography([0.0; 9]), (4, 4)).is_none());
        assert!(warp(&frame, &Homography([f64::NAN; 9]), (4, 4)).is_none());
    }

    #[test]
    fn equal_pictures_have_no_difference_and_a_seamless_checkerboard() {
        let frame = picture(20, 10, |x, y| (x * y) as u8);
        let warped = warp(&frame, &Homography::IDENTITY, (20, 10)).expect("invertible");
        assert!(
            difference(&frame, &warped)
                .expect("same size")
                .rgb()
                .iter()
                .all(|&value| value == 0)
        );
        assert_eq!(
            checkerboard(&frame, &warped, 4).expect("same size").rgb(),
            frame.rgb()
        );
    }
}
