//! The inference engines behind one small trait.
//!
//! An engine runs the segments of one bundle: stateless ones by name, the decoder
//! as a [`Decoder`] that keeps its own KV cache in whatever form suits the engine.
//! A third engine is one file that implements these two traits.

pub(crate) mod error;
#[cfg(feature = "tract")]
mod fused;
#[cfg(feature = "ort")]
mod library;
#[cfg(feature = "ort")]
mod ort;
#[cfg(feature = "ort")]
mod profiles;
#[cfg(feature = "tract")]
mod tract;

#[cfg(feature = "ort")]
pub use library::{library_hangs, load_library};

use std::fmt;

use deltavlm_bundle::Segment;
#[cfg(feature = "tract")]
use deltavlm_bundle::{Precision, Target};

use crate::bundle::Bundle;
use crate::error::Error;
use crate::options::{EngineChoice, Options};

/// Runs the segments of one bundle.
pub trait Engine: Send {
    /// What runs, on what, and why it was chosen.
    fn report(&self) -> &EngineReport;

    /// Runs a stateless segment and returns its single output.
    ///
    /// # Errors
    /// [`Error::Engine`].
    fn run(&mut self, segment: Segment, inputs: &[Input<'_>]) -> Result<Vec<f32>, Error>;

    /// Starts a batch of `rows` sequences with an empty KV cache.
    ///
    /// # Errors
    /// [`Error::Engine`].
    fn start(&mut self, rows: usize) -> Result<Box<dyn Decoder + '_>, Error>;

    /// Time by kind of operator since the last call, where the engine can tell;
    /// measuring begins with the first call.
    fn profile(&mut self) -> Option<Vec<OpTime>> {
        None
    }
}

/// A batch of sequences in the language model, with their KV cache.
pub trait Decoder {
    /// Appends positions to every row and returns the logits of the last one, row
    /// after row.
    ///
    /// # Errors
    /// [`Error::Engine`].
    fn forward(&mut self, step: &DecoderStep<'_>) -> Result<Vec<f32>, Error>;

    /// Keeps these rows of the batch, in this order; a row may occur twice.
    ///
    /// # Errors
    /// [`Error::Engine`].
    fn reorder_cache(&mut self, rows: &[usize]) -> Result<(), Error>;

    /// As [`Engine::profile`].
    fn profile(&mut self) -> Option<Vec<OpTime>> {
        None
    }
}

/// One decoder step for a whole batch.
#[derive(Debug, Clone, Copy)]
pub struct DecoderStep<'a> {
    /// Sequences in the batch.
    pub rows: usize,
    /// New positions of each row.
    pub new: usize,
    /// Positions already in the KV cache.
    pub past: usize,
    /// `[rows, new, width]`.
    pub embeddings: &'a [f32],
    /// `[rows, new]`.
    pub positions: &'a [i64],
    /// `[rows, 1, new, past + new]`, added to the attention scores.
    pub bias: &'a [f32],
}

/// A named input of a stateless segment.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// As in `docs/bundle-format.md`.
    pub name: &'static str,
    /// Row-major shape.
    pub shape: &'a [usize],
    /// The values.
    pub data: InputData<'a>,
}

/// The values of an input.
#[derive(Debug, Clone, Copy)]
pub enum InputData<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Ids and masks.
    I64(&'a [i64]),
}

impl<'a> Input<'a> {
    /// An input of single-precision values.
    pub fn f32(name: &'static str, shape: &'a [usize], values: &'a [f32]) -> Self {
        Self {
            name,
            shape,
            data: InputData::F32(values),
        }
    }

    /// An input of ids or masks.
    pub fn i64(name: &'static str, shape: &'a [usize], values: &'a [i64]) -> Self {
        Self {
            name,
            shape,
            data: InputData::I64(values),
        }
    }
}

/// What runs, on what, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineReport {
    /// `tract` or `ort`.
    pub name: &'static str,
    /// The engine's own version, or the library's.
    pub version: String,
    /// What the segments really run on, e.g. `cpu` or `cuda`.
    pub provider: String,
    /// Everything that was tried before this, each with the reason why it does not run.
    pub rejected: Vec<String>,
    /// Why this engine: asked for, or the best present.
    pub reason: String,
    /// Threads it computes with.
    pub threads: usize,
    /// The library that was loaded, if any.
    pub library: Option<String>,
}

/// In one line, without what was tried before.
impl fmt::Display for EngineReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threads = if self.threads == 1 {
            "thread"
        } else {
            "threads"
        };
        write!(
            f,
            "{} {} ({}, {} {threads}): {}",
            self.name, self.version, self.provider, self.threads, self.reason
        )
    }
}

/// Time that one kind of operator took.
#[derive(Debug, Clone, PartialEq)]
pub struct OpTime {
    /// The segment.
    pub segment: Segment,
    /// The operator.
    pub op: String,
    /// Evaluations.
    pub calls: u64,
    /// Multiplications and additions, as far as they are known.
    pub operations: f64,
    /// Bytes of weights, inputs and outputs.
    pub bytes: f64,
    /// Milliseconds in all.
    pub ms: f64,
}

#[cfg(feature = "tract")]
impl OpTime {
    fn none(segment: Segment, op: String) -> Self {
        Self {
            segment,
            op,
            calls: 0,
            operations: 0.0,
            bytes: 0.0,
            ms: 0.0,
        }
    }
}

/// Opens the engine that the options ask for.
pub(crate) fn open(bundle: &Bundle, options: &Options) -> Result<Box<dyn Engine>, Error> {
    match options.engine {
        EngineChoice::Tract => open_tract(bundle, options, "asked for", Vec::new()),
        EngineChoice::Ort => open_ort(bundle, options, "asked for"),
        EngineChoice::Auto => auto(bundle, options),
    }
}

/// An accelerator where there is one; on the CPU, tract for quantised weights,
/// which our kernels multiply where they lie, and ONNX Runtime for the others,
/// which it computes on every core.
#[cfg(all(feature = "tract", feature = "ort"))]
fn auto(bundle: &Bundle, options: &Options) -> Result<Box<dyn Engine>, Error> {
    let quantised = bundle
        .manifest
        .segments
        .values()
        .any(|record| matches!(record.precision, Precision::Int8 | Precision::Int4));
    let mut rejected = Vec::new();
    match library::find(options.ort_library.as_deref()) {
        Ok(library) => {
            let accelerated = ort::has_accelerator(&library);
            if accelerated || !quantised {
                let reason = if accelerated {
                    "auto: a library with an accelerator is present"
                } else {
                    "auto: a library is present and the weights are not quantised"
                };
                match open_ort(bundle, options, reason) {
                    Ok(engine) => return Ok(engine),
                    Err(error) if library_hangs() => return Err(error),
                    Err(Error::Engine { engine, source }) => {
                        rejected.push(format!("{engine}: {source}"));
                    }
                    Err(error) => rejected.push(error.to_string()),
                }
            } else {
                rejected.push(format!(
                    "ort: {} has no accelerator, and quantised weights run faster in tract",
                    library.display()
                ));
            }
        }
        Err(error) => rejected.push(format!("ort: {error}")),
    }
    open_tract(bundle, options, "auto: the best that is present", rejected)
}

#[cfg(all(feature = "tract", not(feature = "ort")))]
fn auto(bundle: &Bundle, options: &Options) -> Result<Box<dyn Engine>, Error> {
    open_tract(
        bundle,
        options,
        "auto: the only one in this program",
        Vec::new(),
    )
}

#[cfg(all(feature = "ort", not(feature = "tract")))]
fn auto(bundle: &Bundle, options: &Options) -> Result<Box<dyn Engine>, Error> {
    open_ort(bundle, options, "auto: the only one in this program")
}

#[cfg(feature = "ort")]
fn open_ort(bundle: &Bundle, options: &Options, reason: &str) -> Result<Box<dyn Engine>, Error> {
    Ok(Box::new(ort::OrtEngine::open(bundle, options, reason)?))
}

#[cfg(not(feature = "ort"))]
fn open_ort(_: &Bundle, _: &Options, _: &str) -> Result<Box<dyn Engine>, Error> {
    Err(Error::Engine {
        engine: "ort",
        source: error::EngineError::NotBuilt { feature: "ort" },
    })
}

/// `rejected`: what was tried before tract, each with the reason.
#[cfg(feature = "tract")]
fn open_tract(
    bundle: &Bundle,
    options: &Options,
    reason: &str,
    rejected: Vec<String>,
) -> Result<Box<dyn Engine>, Error> {
    let manifest = &bundle.manifest;
    let halves = manifest
        .segments
        .values()
        .any(|record| record.precision == Precision::F16);
    // Graphs for TensorRT convert to half precision and back, which tract does not.
    if manifest.target == Target::Tensorrt && halves {
        let mut problem = "it was exported for tensorrt in f16, which tract does not compute; run \
                           it with the engine ort, or export it for the target cpu"
            .to_owned();
        // What else there is to repair.
        if !rejected.is_empty() {
            problem += &format!("; auto: not on {}", rejected.join("; not on "));
        }
        return Err(bundle.unfit(problem));
    }
    let engine = tract::TractEngine::open(bundle, options, reason, rejected)?;
    Ok(Box::new(engine))
}

#[cfg(not(feature = "tract"))]
fn open_tract(_: &Bundle, _: &Options, _: &str, _: Vec<String>) -> Result<Box<dyn Engine>, Error> {
    Err(Error::Engine {
        engine: "tract",
        source: error::EngineError::NotBuilt { feature: "tract" },
    })
}
