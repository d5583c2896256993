//! Files to 8-bit RGB, with the colour conversions of Pillow.

use std::borrow::Cow;
use std::io::{Cursor, Read, Seek};
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};

use crate::cmyk;
use crate::error::{ImageError, ImageFault};
use crate::image::{Image, ImageSource};
use crate::jpeg;
use crate::levels::{Levels, warn_if_dark};
use crate::metadata;
use crate::options::DecodeOptions;
use crate::orientation::Orientation;
use crate::tiff::TiffFile;
use crate::tiling::Rect;

impl Image {
    /// Reads and decodes a JPEG, PNG, TIFF, WebP, BMP or GIF file.
    ///
    /// # Errors
    /// [`ImageError::Unusable`] names the file, the fault and the remedy.
    pub fn open(path: &Path, options: &DecodeOptions) -> Result<Self, ImageError> {
        open(path, options)
    }

    /// Decodes a JPEG, PNG, TIFF, WebP, BMP or GIF file held in memory; `name` is for errors.
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
    let mut head = [0; 4];
    let is_tiff = std::fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut head))
        .is_ok()
        && format(&head) == Some(ImageFormat::Tiff);
    if is_tiff {
        // Chunk by chunk, whatever the size of the file.
        return decode_tiff(&mut TiffFile::open(path)?, options);
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
    match format {
        ImageFormat::Tiff => decode_tiff(&mut TiffFile::new(name, Cursor::new(bytes))?, options),
        ImageFormat::Jpeg => {
            let (size, rgb, orientation) =
                decode_jpeg(bytes, options).map_err(|problem| fault(name, problem))?;
            finish(name, size, rgb, None, orientation, options)
        }
        _ => decode_other(name, bytes, format, options),
    }
}

/// By content, whatever the file is called.
fn format(bytes: &[u8]) -> Option<ImageFormat> {
    // TIFF with offsets of 64 bits, as large frames have; not known to `image`.
    if bytes.starts_with(b"II\x2b\0") || bytes.starts_with(b"MM\0\x2b") {
        return Some(ImageFormat::Tiff);
    }
    let read = [
        ImageFormat::Png,
        ImageFormat::Jpeg,
        ImageFormat::Tiff,
        ImageFormat::WebP,
        ImageFormat::Bmp,
        ImageFormat::Gif,
    ];
    image::guess_format(bytes)
        .ok()
        .filter(|format| read.contains(format))
}

fn decode_tiff<R: Read + Seek>(
    tiff: &mut TiffFile<R>,
    options: &DecodeOptions,
) -> Result<Image, ImageError> {
    let (width, height) = tiff.size();
    let whole = Rect {
        x: 0,
        y: 0,
        width,
        height,
    };
    let image = tiff.read_window(0, whole, options)?;
    Ok(image.oriented(tiff.orientation()))
}

type Pixels = ((u32, u32), Vec<u8>, Orientation);

fn decode_jpeg(bytes: &[u8], options: &DecodeOptions) -> Result<Pixels, ImageFault> {
    let size = jpeg::size(bytes)?;
    check_pixels(size, options)?;
    let jpeg::Decoded {
        components, rows, ..
    } = jpeg::decode(bytes, size)?;
    let rgb = match components {
        1 => rows.iter().flat_map(|&grey| [grey; 3]).collect(),
        3 => rows,
        // Pillow takes every such file as Adobe's, which stores the inverse.
        4 => rows
            .chunks_exact(4)
            .flat_map(|p| cmyk::to_rgb([p[0], p[1], p[2], p[3]].map(|ink| 255 - ink)))
            .collect(),
        count => {
            return Err(ImageFault::UnsupportedColour(format!(
                "of {count} components"
            )));
        }
    };
    Ok((size, rgb, metadata::orientation(bytes)))
}

/// The formats of the `image` library.
fn decode_other(
    name: &str,
    bytes: &[u8],
    format: ImageFormat,
    options: &DecodeOptions,
) -> Result<Image, ImageError> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut allocation = image::Limits::default();
    // Sixteen bytes a pixel cover the deepest format and the decoder's own buffers.
    allocation.max_alloc = Some(options.max_pixels.saturating_mul(16).max(1 << 24));
    reader.limits(allocation);
    let mut decoder = reader
        .into_decoder()
        .map_err(|error| damaged(name, error))?;
    let size = decoder.dimensions();
    check_pixels(size, options).map_err(|problem| fault(name, problem))?;
    let orientation = decoder
        .orientation()
        .map_err(|error| damaged(name, error))?;
    let orientation = Orientation::from_exif(u64::from(orientation.to_exif()));
    let image = DynamicImage::from_decoder(decoder).map_err(|error| damaged(name, error))?;
    let transparent = transparency(&image);
    let levels = Levels::declared(options);
    if let (None, Some((highest, is_grey))) = (levels, highest(&image)) {
        warn_if_dark(name, highest, is_grey);
    }
    let rgb = to_rgb(image, levels).map_err(|problem| fault(name, problem))?;
    finish(name, size, rgb, transparent, orientation, options)
}

/// What is done alike for every format but TIFF, which has its own no-data and depths.
fn finish(
    name: &str,
    (width, height): (u32, u32),
    mut rgb: Vec<u8>,
    valid: Option<Vec<bool>>,
    orientation: Orientation,
    options: &DecodeOptions,
) -> Result<Image, ImageError> {
    let mut valid = valid;
    if let Some(nodata) = options.nodata {
        let valid = valid.get_or_insert_with(|| vec![true; rgb.len() / 3]);
        for (valid, pixel) in valid.iter_mut().zip(rgb.chunks_exact(3)) {
            *valid &= !pixel.iter().all(|&value| f64::from(value) == nodata);
        }
    }
    if let Some(stretch) = options.stretch {
        let is_valid = |index: usize| valid.as_ref().is_none_or(|valid| valid[index / 3]);
        let levels = Levels::measure(stretch, rgb.len(), |index| {
            is_valid(index).then(|| f64::from(rgb[index]))
        });
        if let Some(levels) = levels {
            let table = levels.table();
            rgb.iter_mut().for_each(|v| *v = table[usize::from(*v)]);
        }
    }
    let image = Image::from_rgb(name, width, height, rgb)?;
    let image = match valid {
        Some(valid) => image.with_validity(valid)?,
        None => image,
    };
    Ok(image.oriented(orientation))
}

/// Which pixels are not wholly transparent; `None` for pictures without transparency.
fn transparency(image: &DynamicImage) -> Option<Vec<bool>> {
    Some(match image {
        DynamicImage::ImageRgba8(image) => image.pixels().map(|p| p[3] != 0).collect(),
        DynamicImage::ImageLumaA8(image) => image.pixels().map(|p| p[1] != 0).collect(),
        DynamicImage::ImageRgba16(image) => image.pixels().map(|p| p[3] != 0).collect(),
        DynamicImage::ImageLumaA16(image) => image.pixels().map(|p| p[1] != 0).collect(),
        _ => return None,
    })
}

/// Pillow's `convert("RGB")`: grey is repeated, transparency is dropped, of 16 bits
/// per colour the upper eight are kept. For 16-bit grey and for `levels` see
/// [`DecodeOptions`].
fn to_rgb(image: DynamicImage, levels: Option<Levels>) -> Result<Vec<u8>, ImageFault> {
    let grey = |values: &mut dyn Iterator<Item = u8>| values.flat_map(|v| [v, v, v]).collect();
    let high = |value: u16| match levels {
        None => (value >> 8) as u8,
        Some(levels) => levels.apply(f64::from(value)),
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
            match as_it_is.filter(|_| levels.is_none()) {
                Some(values) => grey(&mut values.into_iter()),
                None => grey(&mut image.pixels().map(|p| high(p[0]))),
            }
        }
        _ => return Err(ImageFault::Unscaled("floating-point numbers")),
    })
}

/// The highest value of a 16-bit picture, and whether it is grey.
fn highest(image: &DynamicImage) -> Option<(u16, bool)> {
    let (values, is_grey): (&[u16], bool) = match image {
        DynamicImage::ImageRgb16(image) => (image.as_raw(), false),
        DynamicImage::ImageLuma16(image) => (image.as_raw(), true),
        _ => return None,
    };
    Some((values.iter().copied().max()?, is_grey))
}

fn check_pixels((width, height): (u32, u32), options: &DecodeOptions) -> Result<(), ImageFault> {
    if width == 0 || height == 0 {
        return Err(ImageFault::NoPixels);
    }
    let limit = options.max_pixels;
    if u64::from(width) * u64::from(height) > limit {
        return Err(ImageFault::TooManyPixels {
            width,
            height,
            limit,
        });
    }
    Ok(())
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

    const FORMATS: [ImageFormat; 6] = [
        ImageFormat::Png,
        ImageFormat::Jpeg,
        ImageFormat::Tiff,
        ImageFormat::WebP,
        ImageFormat::Bmp,
        ImageFormat::Gif,
    ];

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
        for format in FORMATS {
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
        assert!(refusal(b"GIF89a.............").contains("over the limit"));
        assert!(refusal(b"just some text").contains("not a PNG, JPEG, TIFF"));
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
                (4095, Some(4095.0), 255),
                (2048, Some(4095.0), 128),
                (9000, Some(4095.0), 255),
                (200, Some(4095.0), 12),
            ] {
                assert_eq!(
                    level(grey(value), format, white),
                    expected,
                    "{value} {white:?}"
                );
            }
            assert_eq!(level(colour(200), format, None), 0);
            assert_eq!(level(colour(40_000), format, None), 156);
            assert_eq!(level(colour(5000), format, Some(10_000.0)), 128);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn damaged_bytes_never_panic(position in 0usize..4000, value: u8, kind in 0usize..6) {
            let format = FORMATS[kind];
            let mut bytes = encoded(&sample(), format);
            let position = position % bytes.len();
            bytes[position] = value;
            let _ = decode("x", &bytes, &DecodeOptions { max_pixels: 1 << 20, ..DecodeOptions::default() });
        }
    }
}
