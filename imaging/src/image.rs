//! Pixels in memory, and where they come from.

use std::path::{Path, PathBuf};

use crate::error::ImageError;
use crate::orientation::Orientation;

/// An 8-bit RGB image in memory, and which of its pixels were seen at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    name: String,
    width: u32,
    height: u32,
    rgb: Vec<u8>,
    /// By pixel; `None` when all are data.
    valid: Option<Vec<bool>>,
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
            valid: None,
        })
    }

    /// The same image with pixels that are no data (transparent, outside of an
    /// orthophoto, declared as such) marked `false`, row by row. Their colours mean
    /// nothing.
    ///
    /// # Errors
    /// [`ImageError::BufferSize`] when there is not one value a pixel.
    pub fn with_validity(mut self, valid: Vec<bool>) -> Result<Self, ImageError> {
        if valid.len() != self.width as usize * self.height as usize {
            return Err(ImageError::BufferSize {
                name: self.name,
                bytes: valid.len(),
                width: self.width,
                height: self.height,
            });
        }
        self.valid = valid.contains(&false).then_some(valid);
        Ok(self)
    }

    /// Which pixels are data, row by row; `None` when all are.
    pub fn validity(&self) -> Option<&[bool]> {
        self.valid.as_deref()
    }

    /// Whether a pixel is data.
    ///
    /// # Panics
    /// When it lies outside.
    pub fn is_valid(&self, x: u32, y: u32) -> bool {
        assert!(x < self.width && y < self.height, "a pixel outside");
        let index = y as usize * self.width as usize + x as usize;
        self.valid.as_ref().is_none_or(|valid| valid[index])
    }

    /// Share of the pixels that are data, 0 to 1.
    pub fn valid_share(&self) -> f64 {
        self.valid.as_ref().map_or(1.0, |valid| {
            valid.iter().filter(|&&v| v).count() as f64 / valid.len() as f64
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

    /// The image turned for display.
    pub(crate) fn oriented(self, orientation: Orientation) -> Self {
        let size = (self.width, self.height);
        let (rgb, (width, height)) = orientation.apply(self.rgb, 3, size);
        let valid = self.valid.map(|valid| orientation.apply(valid, 1, size).0);
        Self {
            name: self.name,
            width,
            height,
            rgb,
            valid,
        }
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
        let valid = self.valid.as_ref().map(|valid| {
            let row = |row: u32| {
                let start = row as usize * self.width as usize + x as usize;
                &valid[start..start + width as usize]
            };
            (y..y + height).flat_map(row).copied().collect::<Vec<_>>()
        });
        Self {
            name: format!("{} at {x},{y}", self.name),
            width,
            height,
            rgb,
            valid: valid.filter(|valid| valid.contains(&false)),
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
