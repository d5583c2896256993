//! Answers questions about a before and an after picture, on board.
//!
//! Open a bundle, make a pair, ask. The pair is encoded once; every question
//! about it costs only the Q-Former and the language model.
//!
//! ```no_run
//! use deltavlm_runtime::{AnswerContent, Instruction, Model, Options, Request};
//! use std::path::Path;
//!
//! let mut model = Model::open("models/nano/bundle", &Options::default())?;
//! let pair = model.pair(Path::new("before.png"), Path::new("after.png"))?;
//!
//! let answer = model.ask(&pair, &Request::fixed(Instruction::Classify))?;
//! if let AnswerContent::Classify { changed: true } = answer.content {
//!     println!("changed, {:.0} % sure", 100.0 * answer.confidence);
//! }
//!
//! let survey = model.survey(&pair)?;
//! for answer in &survey.answers {
//!     println!("{}: {}", answer.content.instruction_name(), answer.text);
//! }
//! # Ok::<(), deltavlm_runtime::Error>(())
//! ```
//!
//! Every call has a second form that takes a [`Budget`], a deadline and a flag to
//! cancel by: [`Model::pair_within`], [`Model::ask_within`], [`Model::survey_within`].
//!
//! # Features
//! - `tract` (default): the engine tract with the kernels of this project, in pure
//!   Rust, on any CPU.
//! - `ort`: ONNX Runtime, a library that is loaded at run time, for TensorRT, CUDA or
//!   its own CPU kernels.
//!
//! At least one of them is needed. A feature adds an engine and changes nothing about
//! the other.
//!
//! # Invariants
//! It must never guess when an input is unusable, answer from anything but the model's
//! output, hold a second copy of a memory-mapped weight, grow with the number of
//! questions asked, touch the network, panic on a picture or a bundle, or end the
//! process.
//!
//! # Modules
//! Pictures are read by `deltavlm-imaging`. `model` encodes pairs, `ask` answers
//! requests, `finding` makes the answers about a pair agree, `trust` says how far the pair is
//! from what the model learned; [`engine`] runs graphs; `decode` chooses tokens; [`parse`] reads the
//! model's text; [`frame`] asks about large frames tile by tile.

#![deny(unsafe_code, missing_docs)]

#[cfg(not(any(feature = "tract", feature = "ort")))]
compile_error!("deltavlm-runtime needs an engine: enable the feature `tract` or `ort`");

mod answer;
mod ask;
mod budget;
mod bundle;
mod cache;
mod decode;
mod dialogue;
pub mod engine;
mod error;
mod finding;
pub mod frame;
mod mask;
mod memory;
mod mmap;
mod model;
mod options;
mod pair;
pub mod parse;
mod prompt;
mod request;
mod timing;
mod trust;

pub use answer::{Answer, AnswerContent, Count, LocatedCells};
pub use ask::Answers;
pub use budget::Budget;
pub use deltavlm_bundle::{Manifest, Segment, Turn};
pub use deltavlm_imaging::{
    DecodeOptions, Image, ImageError, ImageFault, ImageSource, Rect, Tiling,
};
pub use deltavlm_messages::{Cell, CellSet, Instruction};
pub use engine::EngineReport;
pub use engine::error::{EngineError, LibraryError, LibraryOrigin};
pub use error::{Error, Fault, MemoryRemedy, RequestError};
pub use finding::Finding;
pub use mask::Mask;
pub use memory::{MemoryEstimate, available_bytes, peak_rss_bytes, resident_bytes};
pub use model::Model;
pub use options::{CacheOptions, Check, EngineChoice, Options, Provider, UnknownName};
pub use pair::Pair;
pub use request::{Decoding, Request};
pub use timing::Timing;
pub use trust::Trust;
