//! Planes to rows: triangular upsampling and the fixed-point colour conversion.

use super::frame::{Component, Frame};
use crate::error::ImageFault;

/// Decoded rows, the components of a pixel side by side: one is grey, three are red,
/// green and blue, four are cyan, magenta, yellow and black as the file stores them.
pub(crate) struct Decoded {
    pub(crate) components: usize,
    pub(crate) rows: Vec<u8>,
}

/// Who says what the components are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColourModel {
    /// The stream itself, by its markers.
    Stated,
    /// Brightness and two colour differences.
    YCbCr,
    /// Whatever they are, they stay as they stand.
    Plain,
}

/// What is known about the colours.
pub(super) struct Hints {
    model: ColourModel,
    pub(super) jfif: bool,
    /// The transform that an Adobe marker names.
    pub(super) adobe: Option<u8>,
}

/// What is done to the components of a pixel.
enum Conversion {
    None,
    YCbCr,
    /// Adobe's YCCK: the first three are the inverse of a colour, black stands as it is.
    Ycck,
}

impl Hints {
    pub(super) fn new(model: ColourModel) -> Self {
        Self {
            model,
            jfif: false,
            adobe: None,
        }
    }

    fn conversion(&self, frame: &Frame) -> Conversion {
        match (self.model, frame.components.len()) {
            (ColourModel::YCbCr, 3) => Conversion::YCbCr,
            (ColourModel::Stated, 3) if !self.is_rgb(frame) => Conversion::YCbCr,
            (ColourModel::Stated, 4) if self.adobe == Some(2) => Conversion::Ycck,
            _ => Conversion::None,
        }
    }

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
    let components = frame.components.len();
    let conversion = hints.conversion(frame);
    let mut rows = Vec::with_capacity(width * height * components);
    let mut lines = vec![Vec::with_capacity(width + 8); components];
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
        match (lines.as_slice(), &conversion) {
            ([a, b, c], Conversion::YCbCr) => {
                let pixels = a.iter().zip(b).zip(c).take(width);
                rows.extend(pixels.flat_map(|((&y, &cb), &cr)| rgb(y, cb, cr)));
            }
            ([a, b, c], _) => {
                let pixels = a.iter().zip(b).zip(c).take(width);
                rows.extend(pixels.flat_map(|((&r, &g), &b)| [r, g, b]));
            }
            ([a, b, c, k], Conversion::Ycck) => {
                let pixels = a.iter().zip(b).zip(c).zip(k).take(width);
                rows.extend(pixels.flat_map(|(((&y, &cb), &cr), &k)| {
                    let [r, g, b] = rgb(y, cb, cr);
                    [255 - r, 255 - g, 255 - b, k]
                }));
            }
            ([only], _) => rows.extend(&only[..width]),
            (lines, _) => {
                for x in 0..width {
                    rows.extend(lines.iter().map(|line| line[x]));
                }
            }
        }
    }
    Ok(Decoded { components, rows })
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
