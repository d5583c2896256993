//! Files to 8-bit RGB, with the colour conversions of Pillow.

use std::borrow::Cow;
use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageFormat, ImageReader};

use crate::error::{ImageError, ImageFault};
use crate::image::{Image, ImageSource};
use crate::jpeg;
use crate::options::DecodeOptions;

impl Image {
    /// Reads and decodes a PNG, JPEG or TIFF file.
    ///
    /// # Errors
    /// [`ImageError::Unusable`] names the file, the fault and the remedy.
    pub fn open(path: &Path, options: &DecodeOptions) -> Result<Self, ImageError> {
        open(path, options)
    }

    /// Decodes a PNG, JPEG or TIFF file held in memory; `name` is for errors.
    ///
    /// # Errors
    /// [`ImageError::Unusable`].
    pub fn decode(name: &str, bytes: &[u8], options: &DecodeOptions) -> Result<Self, ImageError> {
        decode(name, bytes, options)
    }
}

impl ImageSource<'_> {
    /// Decodes where needed; `name` is for errors about bytes, which have no file name.
    ///
    /// # Errors
    /// [`ImageError::Unusable`].
    pub fn read(&self, name: &str, options: &DecodeOptions) -> Result<Cow<'_, Image>, ImageError> {
        match self {
            Self::Path(path) => Image::open(path, options).map(Cow::Owned),
            Self::Bytes(bytes) => Image::decode(name, bytes, options).map(Cow::Owned),
            Self::Decoded(image) => Ok(Cow::Borrowed(image)),
        }
    }
}

fn open(path: &Path, options: &DecodeOptions) -> Result<Image, ImageError> {
    let name = path.display().to_string();
    let unreadable = |source| fault(&name, ImageFault::Unreadable(source));
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        // Reading a pipe may wait, and a device may give, for ever.
        let problem = match metadata.is_dir() {
            true => std::io::ErrorKind::IsADirectory.into(),
            false => std::io::Error::other("not an ordinary file"),
        };
        return Err(unreadable(problem));
    }
    check_bytes(&name, metadata.len(), options)?;
    let bytes = std::fs::read(path).map_err(unreadable)?;
    decode(&name, &bytes, options)
}

fn decode(name: &str, bytes: &[u8], options: &DecodeOptions) -> Result<Image, ImageError> {
    check_bytes(name, bytes.len() as u64, options)?;
    if bytes.is_empty() {
        return Err(fault(name, ImageFault::Empty));
    }
    let format = format(bytes).ok_or_else(|| fault(name, ImageFault::UnknownFormat))?;

    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut allocation = image::Limits::default();
    // Sixteen bytes a pixel cover the deepest format and the decoder's own buffers.
    allocation.max_alloc = Some(options.max_pixels.saturating_mul(16).max(1 << 24));
    reader.limits(allocation);
    let mut decoder = reader
        .into_decoder()
        .map_err(|error| damaged(name, error))?;

    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(fault(name, ImageFault::NoPixels));
    }
    if u64::from(width) * u64::from(height) > options.max_pixels {
        let limit = options.max_pixels;
        return Err(fault(
            name,
            ImageFault::TooManyPixels {
                width,
                height,
                limit,
            },
        ));
    }
    if matches!(
        decoder.original_color_type(),
        ExtendedColorType::Cmyk8 | ExtendedColorType::Cmyk16
    ) {
        return Err(fault(
            name,
            ImageFault::UnsupportedColour("CMYK".to_owned()),
        ));
    }
    let orientation = decoder
        .orientation()
        .map_err(|error| damaged(name, error))?;
    let mut image = if format == ImageFormat::Jpeg {
        jpeg_image(bytes, (width, height)).map_err(|problem| fault(name, problem))?
    } else {
        DynamicImage::from_decoder(decoder).map_err(|error| damaged(name, error))?
    };
    image.apply_orientation(orientation);
    let (width, height) = (image.width(), image.height());
    if options.white.is_none()
        && let Some(highest) = dark(&image)
    {
        log::warn!(
            "{name}: its 16-bit values reach only {highest} of 65535, so it becomes dark; state the \
             value that is white (4095 for a 12-bit camera)"
        );
    }
    let rgb = to_rgb(image, options.white).map_err(|problem| fault(name, problem))?;
    Image::from_rgb(name, width, height, rgb)
}

/// By content, whatever the file is called.
fn format(bytes: &[u8]) -> Option<ImageFormat> {
    // TIFF with offsets of 64 bits, as large frames have; not known to `image`.
    if bytes.starts_with(b"II\x2b\0") || bytes.starts_with(b"MM\0\x2b") {
        return Some(ImageFormat::Tiff);
    }
    let read = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Tiff];
    image::guess_format(bytes)
        .ok()
        .filter(|format| read.contains(format))
}

fn jpeg_image(bytes: &[u8], size: (u32, u32)) -> Result<DynamicImage, ImageFault> {
    let jpeg::Decoded {
        width,
        height,
        is_grey,
        rows,
    } = jpeg::decode(bytes, size)?;
    let image = if is_grey {
        image::GrayImage::from_raw(width, height, rows).map(DynamicImage::ImageLuma8)
    } else {
        image::RgbImage::from_raw(width, height, rows).map(DynamicImage::ImageRgb8)
    };
    image.ok_or_else(|| ImageFault::damaged("its rows do not fill it"))
}

/// Pillow's `convert("RGB")`: grey is repeated, transparency is dropped, of 16 bits
/// per colour the upper eight are kept. For 16-bit grey and for `white` see [`DecodeOptions`].
fn to_rgb(image: DynamicImage, white: Option<u16>) -> Result<Vec<u8>, ImageFault> {
    let grey = |values: &mut dyn Iterator<Item = u8>| values.flat_map(|v| [v, v, v]).collect();
    let high = |value: u16| match white {
        None => (value >> 8) as u8,
        Some(white) => {
            let white = u32::from(white.max(1));
            ((u32::from(value).min(white) * 255 + white / 2) / white) as u8
        }
    };
    Ok(match image {
        DynamicImage::ImageRgb8(image) => image.into_raw(),
        DynamicImage::ImageRgba8(image) => {
            image.pixels().flat_map(|p| [p[0], p[1], p[2]]).collect()
        }
        DynamicImage::ImageLuma8(image) => grey(&mut image.pixels().map(|p| p[0])),
        DynamicImage::ImageLumaA8(image) => grey(&mut image.pixels().map(|p| p[0])),
        DynamicImage::ImageRgb16(image) => image.into_raw().into_iter().map(high).collect(),
        DynamicImage::ImageRgba16(image) => image
            .pixels()
            .flat_map(|p| [high(p[0]), high(p[1]), high(p[2])])
            .collect(),
        DynamicImage::ImageLumaA16(image) => grey(&mut image.pixels().map(|p| high(p[0]))),
        DynamicImage::ImageLuma16(image) => {
            let as_it_is: Option<Vec<u8>> =
                image.pixels().map(|p| u8::try_from(p[0]).ok()).collect();
            match as_it_is.filter(|_| white.is_none()) {
                Some(values) => grey(&mut values.into_iter()),
                None => grey(&mut image.pixels().map(|p| high(p[0]))),
            }
        }
        _ => {
            return Err(ImageFault::UnsupportedColour(
                "floating-point numbers".to_owned(),
            ));
        }
    })
}

/// The highest value of a 16-bit picture that uses less than a quarter of its range.
fn dark(image: &DynamicImage) -> Option<u16> {
    let (values, least): (&[u16], u16) = match image {
        DynamicImage::ImageRgb16(image) => (image.as_raw(), 0),
        // Up to 255 it is taken as it is.
        DynamicImage::ImageLuma16(image) => (image.as_raw(), 256),
        _ => return None,
    };
    let highest = values.iter().copied().max()?;
    (least..1 << 14).contains(&highest).then_some(highest)
}

fn check_bytes(name: &str, bytes: u64, options: &DecodeOptions) -> Result<(), ImageError> {
    if bytes > options.max_bytes {
        let limit = options.max_bytes;
        return Err(fault(name, ImageFault::TooManyBytes { bytes, limit }));
    }
    Ok(())
}

fn fault(name: &str, fault: ImageFault) -> ImageError {
    ImageError::Unusable {
        name: name.to_owned(),
        fault,
    }
}

fn damaged(name: &str, error: image::ImageError) -> ImageError {
    let problem = match &error {
        image::ImageError::Unsupported(unsupported) => {
            let problem = format!("not supported ({unsupported})");
            return fault(name, ImageFault::UnsupportedColour(problem));
        }
        image::ImageError::Limits(limits) => format!("it asks for too much memory ({limits})"),
        // Some decoders' messages have several lines.
        other => {
            let problem = other.to_string();
            let words: Vec<&str> = problem.split_whitespace().collect();
            words.join(" ")
        }
    };
    let source = Some(error.into());
    fault(name, ImageFault::Damaged { problem, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn sample() -> DynamicImage {
        let image = image::RgbImage::from_fn(40, 30, |x, y| {
            image::Rgb([(x * 6) as u8, (y * 8) as u8, ((x * y) % 251) as u8])
        });
        DynamicImage::ImageRgb8(image)
    }

    fn refusal(bytes: &[u8]) -> String {
        decode("x.png", bytes, &DecodeOptions::default())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn every_truncation_is_an_error_that_names_the_file() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Tiff] {
            let whole = encoded(&sample(), format);
            decode("x.png", &whole, &DecodeOptions::default()).unwrap();
            // Behind the last pixels lie a few bytes that carry no picture.
            for length in (0..whole.len() - 16).step_by(7) {
                let error = refusal(&whole[..length]);
                assert!(error.contains("x.png"), "{format:?} {length}: {error}");
                assert!(!error.contains('\n'), "{format:?} {length}: {error}");
            }
        }
    }

    #[test]
    fn empty_foreign_and_oversized_files_say_so() {
        assert!(refusal(b"").contains("empty"));
        assert!(refusal(b"GIF89a.............").contains("not a PNG, JPEG or TIFF"));
        assert!(refusal(b"just some text").contains("not a PNG, JPEG or TIFF"));
        let small = DecodeOptions {
            max_pixels: 1000,
            ..DecodeOptions::default()
        };
        let error = decode("x.png", &encoded(&sample(), ImageFormat::Png), &small).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("40x30 is over the limit of 1000 pixels"),
            "{error}"
        );
    }

    #[test]
    fn a_bomb_is_refused_by_its_header() {
        // A 60000x60000 header in front of nothing at all.
        let mut bytes = encoded(&sample(), ImageFormat::Png);
        bytes[16..20].copy_from_slice(&60_000u32.to_be_bytes());
        bytes[20..24].copy_from_slice(&60_000u32.to_be_bytes());
        let checksum = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
        let error = refusal(&bytes);
        assert!(
            error.contains("60000x60000") || error.contains("too much memory"),
            "{error}"
        );
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc: u32, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
            })
        })
    }

    #[test]
    fn deep_pictures_are_scaled_and_never_clipped() {
        let level = |image: DynamicImage, format, white| {
            let limits = DecodeOptions {
                white,
                ..DecodeOptions::default()
            };
            let picture = decode("x", &encoded(&image, format), &limits).unwrap();
            assert!(picture.rgb().iter().all(|value| *value == picture.rgb()[0]));
            picture.rgb()[0]
        };
        let grey = |value| {
            DynamicImage::ImageLuma16(image::ImageBuffer::from_pixel(2, 2, image::Luma([value])))
        };
        let colour = |value| {
            DynamicImage::ImageRgb16(image::ImageBuffer::from_pixel(2, 2, image::Rgb([value; 3])))
        };
        for format in [ImageFormat::Png, ImageFormat::Tiff] {
            for (value, white, expected) in [
                (200, None, 200),
                (256, None, 1),
                (40_000, None, 156),
                (u16::MAX, None, 255),
                (4095, Some(4095), 255),
                (2048, Some(4095), 128),
                (9000, Some(4095), 255),
                (200, Some(4095), 12),
            ] {
                assert_eq!(
                    level(grey(value), format, white),
                    expected,
                    "{value} {white:?}"
                );
            }
            assert_eq!(level(colour(200), format, None), 0);
            assert_eq!(level(colour(40_000), format, None), 156);
            assert_eq!(level(colour(5000), format, Some(10_000)), 128);
        }
    }

    #[test]
    fn a_picture_that_becomes_dark_is_noticed() {
        let grey = |value| {
            DynamicImage::ImageLuma16(image::ImageBuffer::from_pixel(2, 2, image::Luma([value])))
        };
        let found = [200, 256, 4095, 16_383, 16_384].map(|value| dark(&grey(value)));
        assert_eq!(found, [None, Some(256), Some(4095), Some(16_383), None]);
        assert_eq!(dark(&sample()), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn damaged_bytes_never_panic(position in 0usize..4000, value: u8, kind in 0usize..3) {
            let format = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Tiff][kind];
            let mut bytes = encoded(&sample(), format);
            let position = position % bytes.len();
            bytes[position] = value;
            let _ = decode("x", &bytes, &DecodeOptions { max_pixels: 1 << 20, ..DecodeOptions::default() });
        }
    }
}
