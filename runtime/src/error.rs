//! Everything that can go wrong, by who is at fault.

use std::path::PathBuf;
use std::time::Duration;

use deltavlm_imaging::ImageError;

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
    #[error("engine {engine}: {problem}")]
    Engine {
        /// `tract` or `ort`.
        engine: &'static str,
        /// What happened, and the remedy where there is one.
        problem: String,
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
        remedy: String,
    },
    /// The caller asked for something impossible.
    #[error("{0}")]
    Caller(String),
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
    /// A file that is neither picture nor bundle is malformed.
    #[error("{}: {problem}", path.display())]
    Malformed {
        /// The file in question.
        path: PathBuf,
        /// Where and why, and the remedy.
        problem: String,
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
            Self::Image(_) => Fault::Caller,
            Self::Engine { .. } => Fault::Engine,
            Self::Caller(_) | Self::Cancelled { .. } | Self::Malformed { .. } => Fault::Caller,
            Self::Memory { .. } | Self::Deadline { .. } | Self::Io { .. } => Fault::Machine,
        }
    }
}
