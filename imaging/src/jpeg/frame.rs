//! The frame: components with their sampling, coefficients and samples.

use super::bytes::{damaged, u16_at};
use super::idct;
use crate::error::ImageFault;

pub(super) struct Frame {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) is_progressive: bool,
    pub(super) components: Vec<Component>,
    pub(super) max_h: usize,
    pub(super) max_v: usize,
    /// MCUs across and down of an interleaved scan.
    pub(super) mcus: (usize, usize),
}

pub(super) struct Component {
    pub(super) id: u8,
    pub(super) h: usize,
    pub(super) v: usize,
    pub(super) quantisation: usize,
    /// As it stood when the component's first scan began.
    pub(super) table: Option<[u16; 64]>,
    /// Samples that carry the picture; the plane is wider by padding.
    pub(super) width: usize,
    pub(super) height: usize,
    /// Blocks across and down, padding included.
    pub(super) blocks: (usize, usize),
    /// By block, in natural order; empty once transformed.
    pub(super) coefficients: Vec<[i16; 64]>,
    /// `blocks.0 * 8` a row.
    pub(super) samples: Vec<u8>,
}

impl Frame {
    pub(super) fn parse(body: &[u8], is_progressive: bool) -> Result<Self, ImageFault> {
        let byte = |at: usize| {
            body.get(at)
                .copied()
                .ok_or_else(|| damaged("a header is too short"))
        };
        if byte(0)? != 8 {
            return Err(ImageFault::UnsupportedColour(format!(
                "{}-bit JPEG",
                byte(0)?
            )));
        }
        let (height, width) = (u16_at(body, 1)?, u16_at(body, 3)?);
        if width == 0 || height == 0 {
            return Err(ImageFault::NoPixels);
        }
        match byte(5)? {
            1..=4 => {}
            count => {
                return Err(ImageFault::UnsupportedColour(format!(
                    "of {count} components"
                )));
            }
        }
        let mut components = Vec::new();
        for index in 0..usize::from(byte(5)?) {
            let at = 6 + 3 * index;
            let sampling = byte(at + 1)?;
            let (h, v) = (usize::from(sampling >> 4), usize::from(sampling & 15));
            if !(1..=4).contains(&h) || !(1..=4).contains(&v) || byte(at + 2)? > 3 {
                return Err(damaged("an impossible component"));
            }
            components.push(Component {
                id: byte(at)?,
                h,
                v,
                quantisation: usize::from(byte(at + 2)?),
                table: None,
                width: 0,
                height: 0,
                blocks: (0, 0),
                coefficients: Vec::new(),
                samples: Vec::new(),
            });
        }
        if let [grey] = components.as_mut_slice() {
            // A single component is never subsampled, whatever it says.
            (grey.h, grey.v) = (1, 1);
        }
        let max_h = components.iter().map(|c| c.h).max().unwrap_or(1);
        let max_v = components.iter().map(|c| c.v).max().unwrap_or(1);
        let mcus = (width.div_ceil(8 * max_h), height.div_ceil(8 * max_v));
        for component in &mut components {
            if !max_h.is_multiple_of(component.h) || !max_v.is_multiple_of(component.v) {
                return Err(ImageFault::UnsupportedColour(
                    "sampled at uneven steps".to_owned(),
                ));
            }
            component.width = (width * component.h).div_ceil(max_h);
            component.height = (height * component.v).div_ceil(max_v);
            component.blocks = (mcus.0 * component.h, mcus.1 * component.v);
        }
        Ok(Self {
            width,
            height,
            is_progressive,
            components,
            max_h,
            max_v,
            mcus,
        })
    }

    /// Turns coefficients into samples, component by component.
    pub(super) fn transform(&mut self) -> Result<(), ImageFault> {
        for component in &mut self.components {
            let table = component
                .table
                .ok_or_else(|| damaged("a component without data"))?;
            let stride = component.blocks.0 * 8;
            let mut samples = vec![0; stride * component.blocks.1 * 8];
            for (index, block) in std::mem::take(&mut component.coefficients)
                .iter()
                .enumerate()
            {
                let (row, column) = (index / component.blocks.0, index % component.blocks.0);
                idct::block(
                    block,
                    &table,
                    &mut samples[row * 8 * stride + column * 8..],
                    stride,
                );
            }
            component.samples = samples;
        }
        Ok(())
    }
}
