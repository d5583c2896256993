//! Why an engine cannot be loaded or does not run a segment.

use std::path::PathBuf;

use deltavlm_bundle::Segment;

/// What happened in an engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The ONNX Runtime library.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// This program was built without the engine.
    #[error(
        "this program was built without it; use the other engine, or build with the feature `{feature}`"
    )]
    NotBuilt {
        /// The Cargo feature of `deltavlm-runtime`.
        feature: &'static str,
    },
    /// Every provider of ONNX Runtime was rejected.
    #[error("no provider runs this bundle: {}", rejected.join("; "))]
    NoProvider {
        /// Each provider with the reason.
        rejected: Vec<String>,
    },
    /// A segment failed while it ran.
    #[error("segment `{}`: {source:#}", segment.name())]
    Run {
        /// The segment.
        segment: Segment,
        /// What the engine said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The bundle has no such segment.
    #[error("no segment `{}` was loaded", segment.name())]
    NotLoaded {
        /// The segment.
        segment: Segment,
    },
    /// A graph whose outputs are not those of the bundle format.
    #[error("segment `{}` gives no `{output}`; rebuild the bundle", segment.name())]
    NoOutput {
        /// The segment.
        segment: Segment,
        /// The name of the output.
        output: String,
    },
    /// The threads to compute with cannot be started.
    #[error("no threads to compute with: {0}")]
    Threads(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What named a library that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LibraryOrigin {
    /// [`ort_library`](crate::Options::ort_library).
    #[error("the options name")]
    Options,
    /// The environment variable.
    #[error("`ORT_DYLIB_PATH` names")]
    Environment,
}

/// Why the ONNX Runtime library cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LibraryError {
    /// The file that was named is not there.
    #[error("{origin} {}, which is not there; give the path of libonnxruntime.so", path.display())]
    NotThere {
        /// Who named it.
        origin: LibraryOrigin,
        /// The path that was named.
        path: PathBuf,
    },
    /// The directory that was named holds no library.
    #[error(
        "{origin} {}, where no libonnxruntime.so is; give the path of libonnxruntime.so", path.display()
    )]
    NotInDirectory {
        /// Who named it.
        origin: LibraryOrigin,
        /// The directory that was named.
        path: PathBuf,
    },
    /// None was named and there is none in the usual places.
    #[error(
        "no libonnxruntime.so in the usual places; install ONNX Runtime 1.24 or newer, name it with `ORT_DYLIB_PATH`, or use the engine tract"
    )]
    NotFound,
    /// A process holds one library at most.
    #[error(
        "{} is loaded already and a process can hold only one; asked for {}",
        loaded.display(), asked.display()
    )]
    OtherLoaded {
        /// The one that is loaded.
        loaded: PathBuf,
        /// The one that was asked for.
        asked: PathBuf,
    },
    /// The file is no library for this machine, or is cut short.
    #[error("{}: {problem}; install it again", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What its headers tell.
        problem: String,
    },
    /// The file cannot be read.
    #[error("{}: {source}; install it again", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Loading does not come to an end. The system's loader stays locked: see
    /// [`library_hangs`](crate::engine::library_hangs).
    #[error("{} hangs while it is loaded; install it again, or use the engine tract", path.display())]
    Hangs {
        /// The file.
        path: PathBuf,
    },
    /// A library hung before.
    #[error("a library hung earlier; nothing more can be loaded in this process")]
    HungBefore,
    /// The loading thread ended without a result.
    #[error("{} broke off while loading; install it again", path.display())]
    BrokeOff {
        /// The file.
        path: PathBuf,
    },
    /// The loader, or the library itself, refused.
    #[error("{source}; install ONNX Runtime 1.24 or newer, or use the engine tract")]
    Refused {
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The thread that loads it cannot be started.
    #[error("no thread to load {}: {source}", path.display())]
    Thread {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
