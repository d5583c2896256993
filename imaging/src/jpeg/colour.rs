//! Planes to rows: triangular upsampling and the fixed-point colour conversion.

use super::frame::{Component, Frame};
use crate::error::ImageFault;

/// Decoded rows: three bytes a pixel, or one for grey.
pub(crate) struct Decoded {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) is_grey: bool,
    pub(crate) rows: Vec<u8>,
}

/// What the file says about its colours.
#[derive(Default)]
pub(super) struct Hints {
    pub(super) jfif: bool,
    /// The transform that an Adobe marker names.
    pub(super) adobe: Option<u8>,
}

impl Hints {
    /// Whether three components are red, green and blue as they stand.
    fn is_rgb(&self, frame: &Frame) -> bool {
        match self.adobe {
            _ if self.jfif => false,
            Some(transform) => transform == 0,
            None => frame
                .components
                .iter()
                .map(|component| component.id)
                .eq(*b"RGB"),
        }
    }
}

pub(super) fn rows(frame: &Frame, hints: &Hints) -> Result<Decoded, ImageFault> {
    let (width, height) = (frame.width, frame.height);
    let is_grey = frame.components.len() == 1;
    let is_rgb = hints.is_rgb(frame);
    let mut rows = Vec::with_capacity(width * height * if is_grey { 1 } else { 3 });
    let mut lines = vec![Vec::with_capacity(width + 8); frame.components.len()];
    for y in 0..height {
        for (line, component) in lines.iter_mut().zip(&frame.components) {
            line.clear();
            upsample(
                component,
                frame.max_h / component.h,
                frame.max_v / component.v,
                y,
                line,
            );
        }
        match lines.as_slice() {
            [a, b, c] => {
                let pixels = a.iter().zip(b).zip(c).take(width);
                if is_rgb {
                    rows.extend(pixels.flat_map(|((&r, &g), &b)| [r, g, b]));
                } else {
                    rows.extend(pixels.flat_map(|((&y, &cb), &cr)| rgb(y, cb, cr)));
                }
            }
            _ => rows.extend(&lines[0][..width]),
        }
    }
    Ok(Decoded {
        // Sides come from 16-bit fields.
        width: width as u32,
        height: height as u32,
        is_grey,
        rows,
    })
}

/// Row `y` of the picture from a component that has one sample for `h` x `v` pixels.
fn upsample(component: &Component, h: usize, v: usize, y: usize, out: &mut Vec<u8>) {
    let stride = component.blocks.0 * 8;
    let row = |index: usize| &component.samples[index * stride..][..component.width];
    let near = row((y / v).min(component.height - 1));
    // The row that the pixel leans towards: above for the upper half, below for the lower.
    let is_upper = y.is_multiple_of(2);
    let far = || {
        let index = y / 2;
        row(if is_upper {
            index.saturating_sub(1)
        } else {
            (index + 1).min(component.height - 1)
        })
    };
    match (h, v) {
        (1, 1) => out.extend_from_slice(near),
        (2, 1) if near.len() > 2 => widen(near, out),
        (2, 2) if near.len() > 2 => widen_blend(near, far(), out),
        (1, 2) => {
            let bias = if is_upper { 1 } else { 2 };
            let blend =
                |(&n, &f): (&u8, &u8)| ((u16::from(n) * 3 + u16::from(f) + bias) >> 2) as u8;
            out.extend(near.iter().zip(far()).map(blend));
        }
        _ => out.extend(
            near.iter()
                .flat_map(|&sample| std::iter::repeat_n(sample, h)),
        ),
    }
}

/// Each pixel is three parts its sample and one part the neighbour on its side.
fn widen(samples: &[u8], out: &mut Vec<u8>) {
    let last = samples.len() - 1;
    for (index, &sample) in samples.iter().enumerate() {
        let triple = u16::from(sample) * 3;
        let blend =
            |other: usize, bias: u16| ((triple + u16::from(samples[other]) + bias) >> 2) as u8;
        out.push(if index == 0 {
            sample
        } else {
            blend(index - 1, 1)
        });
        out.push(if index == last {
            sample
        } else {
            blend(index + 1, 2)
        });
    }
}

/// The same in both directions, rounded once.
fn widen_blend(near: &[u8], far: &[u8], out: &mut Vec<u8>) {
    let sum = |index: usize| u16::from(near[index]) * 3 + u16::from(far[index]);
    let last = near.len() - 1;
    for index in 0..near.len() {
        let this = sum(index);
        let left = if index == 0 { this } else { sum(index - 1) };
        let right = if index == last { this } else { sum(index + 1) };
        out.push(((this * 3 + left + 8) >> 4) as u8);
        out.push(((this * 3 + right + 7) >> 4) as u8);
    }
}

/// Full-range BT.601 in 16-bit fixed point.
fn rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let red = y + ((91_881 * cr + HALF) >> 16);
    let green = y + ((-22_554 * cb - 46_802 * cr + HALF) >> 16);
    let blue = y + ((116_130 * cb + HALF) >> 16);
    [red, green, blue].map(|value| value.clamp(0, 255) as u8)
}
