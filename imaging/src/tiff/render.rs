//! Samples to 8-bit RGB and to which pixels are data.

use crate::cmyk;
use crate::error::ImageFault;
use crate::levels::{Levels, warn_if_dark};
use crate::options::DecodeOptions;
use crate::tiff::layout::{Layout, Photometric, unsupported};
use crate::tiff::raster::{Raster, SampleKind};

/// Which bands (counted from 0) make the picture.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Selection {
    /// One for grey or palette, three for colour, four for CMYK; then alpha, if any.
    pub(crate) bands: Vec<usize>,
    pub(crate) colours: usize,
}

impl Selection {
    pub(crate) fn new(layout: &Layout, options: &DecodeOptions) -> Result<Self, ImageFault> {
        let mut bands: Vec<usize> = match layout.photometric {
            Photometric::Palette => vec![0],
            Photometric::Cmyk if options.bands.is_none() => vec![0, 1, 2, 3],
            _ => match options.bands {
                Some(bands) => {
                    let place = |band: u16| {
                        usize::from(band)
                            .checked_sub(1)
                            .filter(|&place| place < layout.bands)
                            .ok_or(ImageFault::NoBand {
                                band,
                                bands: layout.bands,
                            })
                    };
                    bands.into_iter().map(place).collect::<Result<_, _>>()?
                }
                None => {
                    let is_alpha = |band: &usize| Some(*band) == layout.alpha();
                    let colours: Vec<usize> = (0..layout.bands)
                        .filter(|band| !is_alpha(band))
                        .take(3)
                        .collect();
                    match colours.len() {
                        3 => colours,
                        // A lone alpha is taken as grey.
                        0 => vec![0],
                        _ => vec![colours[0]],
                    }
                }
            },
        };
        if bands.iter().any(|&band| band >= layout.bands) {
            return Err(ImageFault::damaged(
                "it has fewer bands than its colours need",
            ));
        }
        let colours = bands.len();
        bands.extend(layout.alpha());
        Ok(Self { bands, colours })
    }
}

/// Renders what was read with the bands of `selection`. `mask` says which pixels are data
/// where the file holds a mask of its own.
pub(crate) fn render(
    name: &str,
    layout: &Layout,
    selection: &Selection,
    raster: &Raster,
    mask: Option<Vec<bool>>,
    options: &DecodeOptions,
) -> Result<(Vec<u8>, Option<Vec<bool>>), ImageFault> {
    let pixels = raster.width as usize * raster.height as usize;
    let valid = validity(layout, selection, raster, mask, options.nodata);
    let is_valid = |pixel: usize| valid.as_ref().is_none_or(|valid| valid[pixel]);
    let (stride, colours) = (raster.bands, selection.colours);

    if layout.photometric == Photometric::Palette {
        if raster.kind != SampleKind::U8 {
            return Err(unsupported("a palette of more than 256"));
        }
        let colour = |pixel: usize| layout.palette.get(usize::from(raster.data[pixel * stride]));
        // An index beyond the palette is black, as in Pillow.
        let rgb = (0..pixels).flat_map(|p| colour(p).copied().unwrap_or([0; 3]));
        return Ok((rgb.collect(), valid));
    }
    if layout.photometric == Photometric::Cmyk && colours == 4 {
        if layout.bits != 8 {
            return Err(unsupported(format!("CMYK of {} bits", layout.bits)));
        }
        let rgb = raster
            .data
            .chunks_exact(stride)
            .flat_map(|p| cmyk::to_rgb([p[0], p[1], p[2], p[3]]))
            .collect();
        return Ok((rgb, valid));
    }
    if layout.photometric == Photometric::YCbCr && layout.compression != crate::tiff::codec::JPEG {
        return Err(unsupported("YCbCr that is not JPEG"));
    }

    let measured = options.stretch.and_then(|stretch| {
        Levels::measure(stretch, pixels * colours, |index| {
            let (pixel, band) = (index / colours, index % colours);
            is_valid(pixel).then(|| raster.sample(pixel * stride + band))
        })
    });
    let levels = measured.or_else(|| match raster.kind {
        // Eight bits have a white of their own.
        SampleKind::U8 => None,
        _ => Levels::declared(options),
    });
    let to_8 = convert(name, layout, raster, colours, levels)?;
    let invert = layout.photometric == Photometric::WhiteIsZero;
    let mut rgb = Vec::with_capacity(pixels * 3);
    for pixel in 0..pixels {
        let value = |band: usize| {
            let value = to_8(pixel * stride + band);
            if invert { 255 - value } else { value }
        };
        rgb.extend(match colours {
            1 => [value(0); 3],
            _ => [value(0), value(1), value(2)],
        });
    }
    Ok((rgb, valid))
}

/// The way from a sample to eight bits.
fn convert<'r>(
    name: &str,
    layout: &Layout,
    raster: &'r Raster,
    colours: usize,
    levels: Option<Levels>,
) -> Result<Box<dyn Fn(usize) -> u8 + 'r>, ImageFault> {
    let data = raster.data.as_slice();
    Ok(match (raster.kind, levels) {
        (SampleKind::U8, None) => {
            let white = (1u32 << layout.bits) - 1;
            match white {
                255 => Box::new(move |index| data[index]),
                _ => Box::new(move |index| (u32::from(data[index]) * 255 / white) as u8),
            }
        }
        (SampleKind::U16, levels) => {
            let table = match levels {
                Some(levels) => levels.table(),
                None if layout.bits < 16 => {
                    Levels::up_to(f64::from((1u32 << layout.bits) - 1)).table()
                }
                None => {
                    let highest = highest(raster, colours);
                    warn_if_dark(name, highest, colours == 1);
                    let is_8_bit = colours == 1 && highest <= 255;
                    (0..=u16::MAX)
                        .map(|v| if is_8_bit { v as u8 } else { (v >> 8) as u8 })
                        .collect()
                }
            };
            Box::new(move |index| {
                let value = u16::from_ne_bytes([data[2 * index], data[2 * index + 1]]);
                table[usize::from(value)]
            })
        }
        (_, Some(levels)) => Box::new(move |index| levels.apply(raster.sample(index))),
        (kind, None) => {
            return Err(ImageFault::Unscaled(match kind {
                SampleKind::F32 | SampleKind::F64 => "floating-point numbers",
                SampleKind::I16 | SampleKind::I32 => "signed numbers",
                _ => "32-bit numbers",
            }));
        }
    })
}

/// The highest value of the colours of a 16-bit raster.
fn highest(raster: &Raster, colours: usize) -> u16 {
    raster
        .data
        .chunks_exact(raster.bands * 2)
        .flat_map(|pixel| pixel[..colours * 2].as_chunks::<2>().0)
        .map(|bytes| u16::from_ne_bytes(*bytes))
        .max()
        .unwrap_or(0)
}

/// Transparent, masked, declared as no data in all colours, or not a number.
fn validity(
    layout: &Layout,
    selection: &Selection,
    raster: &Raster,
    mask: Option<Vec<bool>>,
    nodata: Option<f64>,
) -> Option<Vec<bool>> {
    let (stride, colours) = (raster.bands, selection.colours);
    let nodata = nodata.or(layout.nodata);
    let is_float = matches!(raster.kind, SampleKind::F32 | SampleKind::F64);
    let has_alpha = stride > colours;
    if nodata.is_none() && !is_float && !has_alpha {
        return mask;
    }
    let is_nodata = |value: f64| match nodata {
        // Written as text, it may have lost digits that the samples never had.
        Some(nodata) if raster.kind == SampleKind::F32 => value as f32 == nodata as f32,
        Some(nodata) => value == nodata,
        None => false,
    };
    let pixels = raster.width as usize * raster.height as usize;
    let mut valid = mask.unwrap_or_else(|| vec![true; pixels]);
    for (pixel, valid) in valid.iter_mut().enumerate() {
        let mut samples = (0..colours).map(|band| raster.sample(pixel * stride + band));
        let is_data = (!is_float || samples.clone().all(|value| !value.is_nan()))
            && !samples.all(is_nodata)
            && (!has_alpha || raster.sample(pixel * stride + colours) != 0.0);
        *valid &= is_data;
    }
    Some(valid)
}
