//! Answers questions about a before and an after picture, on board.
//!
//! Open a bundle, make a pair, ask. The pair is encoded once; every question
//! about it costs only the Q-Former and the language model.
//!
//! ```no_run
//! use std::path::Path;
//! use deltavlm_runtime::{Body, Instruction, Model, Options, Request};
//!
//! let mut model = Model::open(Path::new("models/nano/bundle"), &Options::default())?;
//! let pair = model.pair(Path::new("before.png"), Path::new("after.png"))?;
//!
//! let answer = model.ask(&pair, &Request::fixed(Instruction::Classify))?;
//! if let Body::Classify { changed: true } = answer.body {
//!     println!("changed, {:.0} % sure", 100.0 * answer.confidence);
//! }
//!
//! let survey = model.survey(&pair)?;
//! for answer in &survey.answers {
//!     println!("{}: {}", answer.body.instruction_name(), answer.text);
//! }
//! # Ok::<(), deltavlm_runtime::Error>(())
//! ```
//!
//! What it must never do: guess when an input is unusable, answer from anything
//! but the model's output, hold a second copy of a memory-mapped weight, grow
//! with the number of questions asked, touch the network, or panic on a picture
//! or a bundle.
//!
//! Pictures are read by `deltavlm-imaging`. The rooms: [`engine`] runs graphs, `decode`
//! chooses tokens, [`tile`] covers large frames.

#![deny(unsafe_code, missing_docs)]

mod answer;
mod bundle;
mod cache;
mod decode;
mod dialogue;
pub mod engine;
mod error;
mod map;
mod mask;
mod memory;
mod model;
mod options;
mod pair;
pub mod parse;
mod prompt;
mod request;
pub mod tile;
mod timing;

pub use answer::{Answer, Body, Counted, Located};
pub use deltavlm_bundle::Turn;
pub use deltavlm_imaging::{
    DecodeOptions, Image, ImageError, ImageFault, ImageSource, Rect, Tiling,
};
pub use deltavlm_messages::{Cell, CellSet, Instruction};
pub use engine::EngineReport;
pub use error::{Error, Fault};
pub use mask::Mask;
pub use memory::{MemoryEstimate, available_bytes, peak_rss_bytes, resident_bytes};
pub use model::{Model, Survey};
pub use options::{CacheOptions, Check, EngineChoice, Options, Provider};
pub use pair::Pair;
pub use request::{Decoding, Guard, Request};
pub use timing::Timing;
