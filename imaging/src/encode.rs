//! Writing images.

use std::path::Path;

use crate::error::ImageError;

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
    let (format, colour) = (image::ImageFormat::Png, image::ColorType::L8);
    image::save_buffer_with_format(path, values, width, height, colour, format).map_err(|error| {
        ImageError::Unwritable {
            name: path.display().to_string(),
            source: match error {
                image::ImageError::IoError(source) => source,
                other => std::io::Error::other(other),
            },
        }
    })
}
