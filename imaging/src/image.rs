//! Pixels in memory, and where they come from.

use std::path::{Path, PathBuf};

use crate::error::ImageError;

/// An 8-bit RGB image in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    name: String,
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Image {
    /// An image from its pixels, row by row, three bytes each.
    ///
    /// # Errors
    /// [`ImageError::BufferSize`] when the number of bytes does not fit the size, or a side is 0.
    pub fn from_rgb(name: &str, width: u32, height: u32, rgb: Vec<u8>) -> Result<Self, ImageError> {
        let expected = u64::from(width) * u64::from(height) * 3;
        if expected == 0 || rgb.len() as u64 != expected {
            return Err(ImageError::BufferSize {
                name: name.to_owned(),
                bytes: rgb.len(),
                width,
                height,
            });
        }
        Ok(Self {
            name: name.to_owned(),
            width,
            height,
            rgb,
        })
    }

    /// The file, or what the caller called it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// The pixels, row by row, three bytes each.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// A part of the image.
    ///
    /// # Panics
    /// When the part reaches outside the image or has no pixels.
    pub fn crop(&self, x: u32, y: u32, width: u32, height: u32) -> Self {
        assert!(width > 0 && height > 0, "an empty part");
        assert!(
            x + width <= self.width && y + height <= self.height,
            "a part outside the image"
        );
        let mut rgb = Vec::with_capacity(width as usize * height as usize * 3);
        for row in y..y + height {
            let start = (row as usize * self.width as usize + x as usize) * 3;
            rgb.extend_from_slice(&self.rgb[start..start + width as usize * 3]);
        }
        Self {
            name: format!("{} at {x},{y}", self.name),
            width,
            height,
            rgb,
        }
    }
}

/// Where an image comes from.
#[derive(Debug, Clone, Copy)]
pub enum ImageSource<'a> {
    /// A file.
    Path(&'a Path),
    /// The content of a file.
    Bytes(&'a [u8]),
    /// Decoded already.
    Decoded(&'a Image),
}

impl<'a> From<&'a Path> for ImageSource<'a> {
    fn from(path: &'a Path) -> Self {
        Self::Path(path)
    }
}

impl<'a> From<&'a PathBuf> for ImageSource<'a> {
    fn from(path: &'a PathBuf) -> Self {
        Self::Path(path)
    }
}

impl<'a> From<&'a [u8]> for ImageSource<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a> From<&'a Image> for ImageSource<'a> {
    fn from(image: &'a Image) -> Self {
        Self::Decoded(image)
    }
}
