//! Pillow's bicubic resampling for 8-bit channels, bit for bit: two passes with
//! antialiasing, fixed-point weights of 22 bits, rounding after each pass.

use std::borrow::Cow;

use crate::image::Image;

const PRECISION_BITS: u32 = 32 - 8 - 2;
/// Half the width of the cubic kernel, in pixels of the smaller side.
const SUPPORT: f64 = 2.0;

/// Resamples to `width` x `height`; returns RGB rows.
///
/// # Panics
/// When a side is 0.
pub fn resize(image: &Image, width: u32, height: u32) -> Vec<u8> {
    assert!(width > 0 && height > 0, "resampling to nothing");
    let (from_width, from_height) = image.size();
    let (wide, tall) = ((from_width, width), (from_height, height));
    let horizontally = |rows: Cow<'_, [u8]>| match wide {
        (from, to) if from != to => horizontal(&rows, from as usize, to as usize),
        _ => rows.into_owned(),
    };
    let vertically = |rows: Cow<'_, [u8]>, columns: u32| match tall {
        (from, to) if from != to => vertical(&rows, columns as usize, from as usize, to as usize),
        _ => rows.into_owned(),
    };
    let rows = Cow::Borrowed(image.rgb());
    // The order shows in the rounding. Earlier releases always began with the
    // horizontal pass; square images, such as those of training, are the same in both.
    let (less_wide, less_tall) = (shrinkage(wide), shrinkage(tall));
    if less_tall > 0 && less_tall > 2 * less_wide {
        horizontally(Cow::Owned(vertically(rows, from_width)))
    } else {
        vertically(Cow::Owned(horizontally(rows)), width)
    }
}

fn shrinkage((from, to): (u32, u32)) -> i64 {
    i64::from(from) - i64::from(to)
}

/// The input positions that one output position draws on, and their weights.
struct Window {
    first: usize,
    weights: Vec<i32>,
}

fn windows(from: usize, to: usize) -> Vec<Window> {
    let scale = from as f64 / to as f64;
    let filter_scale = scale.max(1.0);
    let support = SUPPORT * filter_scale;
    // Multiplied by, not divided by, so that the last bits are Pillow's too.
    let inverse = 1.0 / filter_scale;
    (0..to)
        .map(|index| {
            let center = (index as f64 + 0.5) * scale;
            // Truncation towards zero, as a C cast does.
            let first = ((center - support + 0.5) as i64).max(0) as usize;
            let end = ((center + support + 0.5) as i64).min(from as i64) as usize;
            let mut weights: Vec<f64> = (first..end)
                .map(|position| cubic((position as f64 - center + 0.5) * inverse))
                .collect();
            let sum: f64 = weights.iter().sum();
            if sum != 0.0 {
                weights.iter_mut().for_each(|weight| *weight /= sum);
            }
            Window {
                first,
                weights: weights.into_iter().map(fixed_point).collect(),
            }
        })
        .collect()
}

fn fixed_point(weight: f64) -> i32 {
    let scaled = weight * f64::from(1u32 << PRECISION_BITS);
    (scaled + if weight < 0.0 { -0.5 } else { 0.5 }) as i32
}

/// The cubic kernel with a = -0.5.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn clip(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

fn horizontal(rgb: &[u8], from: usize, to: usize) -> Vec<u8> {
    let windows = windows(from, to);
    let mut out = Vec::with_capacity(rgb.len() / from * to);
    for row in rgb.chunks_exact(from * 3) {
        for window in &windows {
            let mut sums = [1i32 << (PRECISION_BITS - 1); 3];
            let pixels = row[window.first * 3..].chunks_exact(3);
            for (pixel, weight) in pixels.zip(&window.weights) {
                for (sum, value) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(*value) * weight;
                }
            }
            out.extend(sums.map(clip));
        }
    }
    out
}

fn vertical(rgb: &[u8], width: usize, from: usize, to: usize) -> Vec<u8> {
    let stride = width * 3;
    let mut out = Vec::with_capacity(stride * to);
    let mut sums = vec![0i32; stride];
    for window in windows(from, to) {
        sums.fill(1 << (PRECISION_BITS - 1));
        let rows = rgb[window.first * stride..].chunks_exact(stride);
        for (row, weight) in rows.zip(&window.weights) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += i32::from(*value) * weight;
            }
        }
        out.extend(sums.iter().copied().map(clip));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_same_size_is_the_same_image() {
        let rgb: Vec<u8> = (0..48).collect();
        let image = Image::from_rgb("x", 4, 4, rgb.clone()).unwrap();
        assert_eq!(resize(&image, 4, 4), rgb);
    }

    proptest! {
        #[test]
        fn a_plain_colour_stays_what_it_is(
            value: u8, width in 1u32..40, height in 1u32..40, to in 1u32..40,
        ) {
            let rgb = vec![value; (width * height * 3) as usize];
            let image = Image::from_rgb("x", width, height, rgb).unwrap();
            prop_assert!(resize(&image, to, to).iter().all(|&v| v == value));
        }
    }
}
