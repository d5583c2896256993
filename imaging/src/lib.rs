//! Images: decoded within limits, placed on the ground, resampled and normalised as in
//! training, cut into tiles.
//!
//! Decoding and resampling equal what Pillow computes (`Image.open`,
//! `exif_transpose`, `convert("RGB")`, `resize(BICUBIC)`), because the model was
//! trained on that. Where Pillow would silently destroy an image, this does not
//! follow it: it would clip 16-bit grey to white ([`DecodeOptions::white`] says what
//! is done instead), and what is transparent or no data stays marked
//! ([`Image::validity`]).
//!
//! ```no_run
//! use std::path::Path;
//! use deltavlm_imaging::{DecodeOptions, Image, normalise, resize};
//!
//! let image = Image::open(Path::new("after.png"), &DecodeOptions::default())?;
//! let rgb = resize(&image, 224, 224);
//! let planes: Vec<f32> = normalise(&rgb, [0.5; 3], [0.5; 3]);
//! assert_eq!(planes.len(), 3 * 224 * 224);
//! # Ok::<(), deltavlm_imaging::ImageError>(())
//! ```
//!
//! # Invariants
//! It must never panic on a file whatever its content, allocate more than
//! [`DecodeOptions`] allows before it has checked the header, hand out pixels of a
//! file that breaks off, guess a place or a time that contradicts itself, know a model,
//! or touch the network.
//!
//! # Modules
//! `decode` reads files whole, with an own `jpeg` decoder, and `encode` writes them;
//! [`tiff`] reads windows of GeoTIFFs of any size; `image` holds pixels; `resample` and
//! `normalise` prepare them for the vision encoder; [`tiling`] covers large frames.
//! [`place`] says where and how a picture was taken, by the coordinate systems of
//! [`geo`]; [`register`] finds the transform between two pictures of one place.

#![forbid(unsafe_code)]

mod cmyk;
mod decode;
mod encode;
mod error;
pub mod geo;
mod ifd;
mod image;
mod jpeg;
mod levels;
mod metadata;
mod normalise;
mod options;
mod orientation;
pub mod place;
pub mod register;
mod resample;
pub mod tiff;
pub mod tiling;

pub use crate::encode::{write_grey_png, write_png};
pub use crate::error::{ImageError, ImageFault};
pub use crate::image::{Image, ImageSource};
pub use crate::normalise::normalise;
pub use crate::options::{DecodeOptions, Stretch};
pub use crate::orientation::Orientation;
pub use crate::resample::resize;
pub use crate::tiling::{Rect, Tiling};
