//! Everything that can go wrong, by who is at fault.

use std::path::PathBuf;
use std::time::Duration;

use deltavlm_imaging::ImageError;

use crate::engine::error::EngineError;

/// An error of a library below this one.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a call failed. [`Error::fault`] says whose problem it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bundle is absent, damaged or of another format.
    #[error("bundle: {0}")]
    Bundle(#[from] deltavlm_bundle::Error),
    /// The bundle is whole but cannot serve this request.
    #[error("bundle {}: {problem}", path.display())]
    Unfit {
        /// The bundle directory.
        path: PathBuf,
        /// What it lacks, and the remedy.
        problem: String,
        /// What an engine said, where one refused it.
        #[source]
        source: Option<Cause>,
    },
    /// A picture cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The two pictures of a pair are not of the same size.
    #[error(
        "the pictures differ in size: before is {}x{}, after is {}x{}; crop or resample them to the same ground area and size",
        before.0, before.1, after.0, after.1
    )]
    SizesDiffer {
        /// Width and height of the before-picture.
        before: (u32, u32),
        /// Width and height of the after-picture.
        after: (u32, u32),
    },
    /// An engine cannot be loaded, or failed while running a segment.
    #[error("engine {engine}: {source}")]
    Engine {
        /// `tract` or `ort`.
        engine: &'static str,
        /// What happened, and the remedy where there is one.
        source: EngineError,
    },
    /// The machine has less memory than the bundle needs.
    #[error(
        "not enough memory: {what} needs about {needed_mib} MiB and {available_mib} MiB are available; {remedy}"
    )]
    Memory {
        /// What was to be loaded.
        what: String,
        /// What it needs.
        needed_mib: u64,
        /// What the machine or the control group has left.
        available_mib: u64,
        /// The smaller choice.
        remedy: MemoryRemedy,
    },
    /// The caller asked for something impossible.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The deadline passed between two steps.
    #[error("the deadline passed after {} ms, while {during}", after.as_millis())]
    Deadline {
        /// Time since the call began.
        after: Duration,
        /// The step that was to come next.
        during: &'static str,
    },
    /// The cancellation flag was raised.
    #[error("cancelled while {during}")]
    Cancelled {
        /// The step that was to come next.
        during: &'static str,
    },
    /// A file that is neither picture nor bundle cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file in question.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The smaller choice where a bundle does not fit into memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryRemedy {
    /// An engine that does not copy weights.
    #[error("use the engine tract, which takes the weights as they lie in their files")]
    UseTract,
    /// Weights of 8 or 4 bits instead of floating-point numbers.
    #[error("export the bundle in int8 or int4")]
    QuantizeWeights,
    /// Weights of 4 bits instead of 8.
    #[error("export the bundle in int4")]
    FourBits,
    /// There is no smaller form of this model.
    #[error("use a smaller model or a machine with more memory")]
    SmallerModel,
}

/// What is impossible about a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The pair and the model are of two bundles.
    #[error("the pair was encoded by another bundle; encode it again")]
    ForeignPair,
    /// A question without a word.
    #[error("the question is empty; ask something")]
    EmptyQuestion,
    /// A prompt that leaves no position for an answer.
    #[error("the question takes {positions} positions and the model has {max}; shorten it")]
    TooLong {
        /// Positions that queries and prompt take.
        positions: usize,
        /// Positions of the language model.
        max: usize,
    },
    /// Beam search without a beam.
    #[error("0 beams find nothing; use 1 or more")]
    NoBeams,
    /// Beam search where a grammar makes the choice exact.
    #[error("{beams} beams need free decoding; within a grammar the choice is exact")]
    BeamsInGrammar {
        /// Beams that were asked for.
        beams: usize,
    },
}

/// Whose problem an [`Error`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The bundle: copy it again or rebuild it.
    Bundle,
    /// A picture: replace it; the next pair may be fine.
    Image,
    /// The engine: install another library or choose the other engine.
    Engine,
    /// The caller: the request itself cannot be served.
    Caller,
    /// The machine: too little memory, a full disk, no time left.
    Machine,
}

impl Error {
    /// Whose problem this is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Bundle(_) | Self::Unfit { .. } => Fault::Bundle,
            Self::Image(ImageError::Unusable { .. }) | Self::SizesDiffer { .. } => Fault::Image,
            Self::Engine { .. } => Fault::Engine,
            Self::Image(ImageError::Unwritable { .. })
            | Self::Memory { .. }
            | Self::Deadline { .. }
            | Self::Io { .. } => Fault::Machine,
            Self::Image(_) | Self::Request(_) | Self::Cancelled { .. } => Fault::Caller,
        }
    }
}
