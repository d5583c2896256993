//! Registration: the transform between two pictures of one place, and whether to believe it.
//!
//! Corners and their descriptors do not survive a season or a rebuilt quarter; the direction of edges
//! does. So structure is correlated: the gradient's orientation with doubled angle, first over
//! rotation, scale and shift of the whole frame, then in windows, whose surfaces of correlation
//! together choose a homography. `docs/registration.md` holds method, measurements and references.
//!
//! ```no_run
//! # use std::path::Path;
//! use deltavlm_imaging::register::{Gray, Prior, Settings, register, warp};
//! use deltavlm_imaging::{DecodeOptions, Image};
//!
//! let reference = Image::open(Path::new("orthophoto.png"), &DecodeOptions::default())?;
//! let frame = Image::open(Path::new("frame.jpg"), &DecodeOptions::default())?;
//! let found = register(&Gray::from(&frame), &Gray::from(&reference), &Prior::unknown(), &Settings::default());
//! match found.refused {
//!     None => { let after = warp(&frame, &found.homography, reference.size()); }
//!     Some(why) => println!("unaligned: {why}; {:?}", found.evidence),
//! }
//! # Ok::<(), deltavlm_imaging::ImageError>(())
//! ```
//!
//! # Invariants
//! It must never panic whatever the pixels, the mask or the prior, accept a transform because of the
//! prior alone, or give two answers for one input.

mod coarse;
mod consensus;
mod fourier;
mod gray;
mod homography;
mod of_places;
mod orientation;
mod outcome;
mod pattern;
mod pipeline;
mod prior;
mod reference;
mod verdict;
mod warp;
mod windows;

pub use gray::Gray;
pub use homography::Homography;
pub use outcome::{Bar, Registration, Settings, Unaligned};
pub use pipeline::register;
pub use prior::Prior;
pub use reference::Reference;
pub use verdict::Evidence;
pub use warp::{Warped, checkerboard, difference, warp};
