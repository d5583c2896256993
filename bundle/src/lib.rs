//! The contract between export and runtime: what a *bundle* is.
//!
//! A bundle is a directory: `bundle.json` (the [`Manifest`]), one ONNX graph per
//! [`Segment`] with its weights beside it, the token [`Embedding`] table, and the
//! files of the two tokenizers. `docs/bundle-format.md` is the specification; this
//! crate is its only implementation, used by the exporter to write and by the
//! runtime to read.
//!
//! It holds the facts that both sides must agree on and nothing else: the
//! manifest, text processing and the tokenizers. The instructions and their exact prompts
//! are those of `deltavlm-messages`. It never runs a graph, never decodes a picture, and never needs
//! an inference engine to build.

#![forbid(unsafe_code)]

mod answer_kind;
mod check;
mod error;
mod files;
mod fusion;
mod manifest;
mod protobuf;
mod sentencepiece;
mod text;
mod trust;
mod wordpiece;

pub use answer_kind::AnswerKind;
pub use error::Error;
pub use files::{FileRecord, sha256_of_bytes, sha256_of_file};
pub use fusion::{Fusion, Signals, UNCHANGED_CAPTIONS, UNCHANGED_COUNT};
pub use manifest::{
    Calibration, DEFAULT_START_ID, ElementType, Embedding, Fidelity, Generation, InstructionRecord,
    LanguageModel, Manifest, Model, Precision, PromptTemplate, QFormer, Segment, SegmentRecord,
    SourceRecord, Target, TokenizerFiles, Vision,
};
pub use sentencepiece::SentencePiece;
pub use text::Turn;
pub use trust::Trust;
pub use wordpiece::WordPiece;

/// The name of the manifest inside a bundle directory.
pub const MANIFEST_FILE: &str = "bundle.json";

/// The bundle format that this crate reads and writes.
pub const FORMAT_VERSION: u32 = 1;
