//! Pictures: decoded within limits, resampled and normalised as in training.
//!
//! Everything here equals what Pillow computes (`Image.open`, `exif_transpose`,
//! `convert("RGB")`, `resize(BICUBIC)`), because the model was trained on that.
//! Where Pillow would silently destroy a picture, this does not follow it: it would
//! clip 16-bit grey to white ([`Limits::white`] says what is done instead), and CMYK,
//! which has no single meaning as RGB, is refused.

mod decode;
mod jpeg;
mod normalise;
mod resize;

use std::path::Path;

use sha2::{Digest, Sha256};

pub use normalise::normalise;
pub use resize::resize;

use crate::Error;

/// What a picture may cost, and what its values mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Width times height.
    pub max_pixels: u64,
    /// Size of the file.
    pub max_bytes: u64,
    /// The value of 16-bit channels that is white: values are scaled so that it becomes
    /// 255. Both pictures of a pair are read with the same one, or equal ground would
    /// look changed. `None` keeps the upper eight bits, as Pillow does with 16-bit
    /// colour; a grey picture without a value above 255 is taken as it is. `Some(255)`
    /// clips as Pillow does with 16-bit grey.
    pub white: Option<u16>,
}

impl Default for Limits {
    /// 120 megapixels and 512 MiB: a large frame, but no decompression bomb.
    fn default() -> Self {
        Self {
            max_pixels: 120_000_000,
            max_bytes: 512 << 20,
            white: None,
        }
    }
}

/// An 8-bit RGB picture in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    name: String,
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Picture {
    /// Reads and decodes a PNG, JPEG or TIFF file.
    ///
    /// # Errors
    /// [`Error::Picture`] names the file, the fault and the remedy.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self, Error> {
        decode::open(path, limits)
    }

    /// Decodes a PNG, JPEG or TIFF file held in memory; `name` is for errors.
    ///
    /// # Errors
    /// [`Error::Picture`].
    pub fn decode(name: &str, bytes: &[u8], limits: &Limits) -> Result<Self, Error> {
        decode::decode(name, bytes, limits)
    }

    /// A picture from its pixels, row by row, three bytes each.
    ///
    /// # Errors
    /// [`Error::Caller`] when the number of bytes does not fit the size, or a side is 0.
    pub fn from_rgb(name: &str, width: u32, height: u32, rgb: Vec<u8>) -> Result<Self, Error> {
        let expected = u64::from(width) * u64::from(height) * 3;
        if expected == 0 || rgb.len() as u64 != expected {
            return Err(Error::Caller(format!(
                "picture {name}: {} bytes do not make {width}x{height} RGB pixels",
                rgb.len()
            )));
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

    /// A part of the picture.
    ///
    /// # Panics
    /// When the part reaches outside the picture or has no pixels.
    pub fn crop(&self, x: u32, y: u32, width: u32, height: u32) -> Self {
        assert!(width > 0 && height > 0, "an empty part");
        assert!(
            x + width <= self.width && y + height <= self.height,
            "a part outside the picture"
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

    /// Hash over size and pixels: equal pictures have equal hashes whatever file
    /// they came from.
    pub(crate) fn hash(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(self.width.to_le_bytes());
        hasher.update(self.height.to_le_bytes());
        hasher.update(&self.rgb);
        hasher.finalize().into()
    }
}

/// Where a picture comes from.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// A file.
    Path(&'a Path),
    /// The content of a file.
    Bytes(&'a [u8]),
    /// Decoded already.
    Picture(&'a Picture),
}

impl<'a> From<&'a Path> for Source<'a> {
    fn from(path: &'a Path) -> Self {
        Self::Path(path)
    }
}

impl<'a> From<&'a std::path::PathBuf> for Source<'a> {
    fn from(path: &'a std::path::PathBuf) -> Self {
        Self::Path(path)
    }
}

impl<'a> From<&'a [u8]> for Source<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a> From<&'a Picture> for Source<'a> {
    fn from(picture: &'a Picture) -> Self {
        Self::Picture(picture)
    }
}

impl Source<'_> {
    /// Decodes where needed; `role` names a picture that has no file name.
    pub(crate) fn read(
        &self,
        role: &str,
        limits: &Limits,
    ) -> Result<std::borrow::Cow<'_, Picture>, Error> {
        use std::borrow::Cow;
        match self {
            Self::Path(path) => Picture::open(path, limits).map(Cow::Owned),
            Self::Bytes(bytes) => Picture::decode(role, bytes, limits).map(Cow::Owned),
            Self::Picture(picture) => Ok(Cow::Borrowed(picture)),
        }
    }
}
