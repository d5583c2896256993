//! From a registered frame to the changes in it.
//!
//! A frame is larger than what the model looks at, and parts of it cannot be judged: they
//! were not seen twice, or lie under clouds. So it is cut into tiles by size on the ground
//! ([`tiles`]), each is held against the limits of [`quality`], those with most changed
//! structure come first ([`gate`]), and as many as the budget allows are asked. What
//! neighbouring and overlapping tiles answer becomes changes, each told once ([`clusters`]).
//!
//! ```no_run
//! use deltavlm_frame::{Settings, View, survey};
//! use deltavlm_imaging::{DecodeOptions, Image};
//! use deltavlm_runtime::{Budget, Model, Options};
//! use std::path::Path;
//!
//! let mut model = Model::open("models/nano/bundle", &Options::default())?;
//! let open = |path: &str| Image::open(Path::new(path), &DecodeOptions::default());
//! let (before, after) = (open("before.png")?, open("after_registered.png")?);
//! let view = View { before: &before, after: &after, origin: None, ground_m_per_px: Some(0.5) };
//! let found = survey(&mut model, &view, &Settings::default(), Budget::UNLIMITED, &mut |_, _| ())?;
//! for change in &found.changes {
//!     println!("{:?}: {} buildings, {}", change.bounds, change.buildings, change.text);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Invariants
//! It must never ask about ground that was not seen twice, tell one change twice, or leave
//! out a tile without counting it.

#![forbid(unsafe_code)]

pub mod clusters;
mod error;
pub mod gate;
pub mod quality;
mod survey;
pub mod tiles;
mod view;

pub use clusters::Change;
pub use error::FrameError;
pub use quality::{Limits, TileFault};
pub use survey::{Judged, Survey, TileCounts, survey};
pub use view::{Settings, View};
