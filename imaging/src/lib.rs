//! Images: decoded within limits, resampled and normalised as in training, cut
//! into tiles.
//!
//! Decoding and resampling equal what Pillow computes (`Image.open`,
//! `exif_transpose`, `convert("RGB")`, `resize(BICUBIC)`), because the model was
//! trained on that. Where Pillow would silently destroy an image, this does not
//! follow it: it would clip 16-bit grey to white ([`DecodeOptions::white`] says what
//! is done instead), and CMYK, which has no single meaning as RGB, is refused.
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
//! file that breaks off, know a model, or touch the network.
//!
//! # Modules
//! `decode` reads files, with an own `jpeg` decoder, and `encode` writes them; `image` holds pixels; `resample`
//! and `normalise` prepare them for the vision encoder; [`tiling`] covers large
//! frames.

#![forbid(unsafe_code)]

mod decode;
mod encode;
mod error;
mod image;
mod jpeg;
mod normalise;
mod options;
mod resample;
pub mod tiling;

pub use crate::encode::write_grey_png;
pub use crate::error::{ImageError, ImageFault};
pub use crate::image::{Image, ImageSource};
pub use crate::normalise::normalise;
pub use crate::options::DecodeOptions;
pub use crate::resample::resize;
pub use crate::tiling::{Rect, Tiling};
