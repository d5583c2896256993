//! Writing images.

use std::path::Path;

use crate::error::ImageError;
use crate::image::Image;

/// Writes a grey PNG of 8 bits: `values` row by row, one byte a pixel.
///
/// # Errors
/// [`ImageError::BufferSize`] when the number of values does not fit the size,
/// [`ImageError::Unwritable`] when the file cannot be written.
pub fn write_grey_png(
    path: &Path,
    width: u32,
    height: u32,
    values: &[u8],
) -> Result<(), ImageError> {
    if values.len() as u64 != u64::from(width) * u64::from(height) {
        return Err(ImageError::BufferSize {
            name: path.display().to_string(),
            bytes: values.len(),
            width,
            height,
        });
    }
    write(path, width, height, values, image::ColorType::L8)
}

/// Writes an RGB PNG of 8 bits a channel.
///
/// # Errors
/// [`ImageError::Unwritable`] when the file cannot be written.
pub fn write_png(path: &Path, image: &Image) -> Result<(), ImageError> {
    let (width, height) = image.size();
    write(path, width, height, image.rgb(), image::ColorType::Rgb8)
}

fn write(
    path: &Path,
    width: u32,
    height: u32,
    bytes: &[u8],
    colour: image::ColorType,
) -> Result<(), ImageError> {
    let format = image::ImageFormat::Png;
    image::save_buffer_with_format(path, bytes, width, height, colour, format).map_err(|error| {
        ImageError::Unwritable {
            name: path.display().to_string(),
            source: match error {
                image::ImageError::IoError(source) => source,
                other => std::io::Error::other(other),
            },
        }
    })
}
