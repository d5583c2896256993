//! How a model is opened.

use std::path::PathBuf;
use std::str::FromStr;

use deltavlm_imaging::DecodeOptions;

/// Which engine runs the segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum EngineChoice {
    /// The best that is present; the report says which and why.
    #[default]
    Auto,
    /// tract with the kernels of this project: no library needed.
    Tract,
    /// ONNX Runtime, loaded at run time.
    Ort,
}

impl FromStr for EngineChoice {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "auto" => Ok(Self::Auto),
            "tract" => Ok(Self::Tract),
            "ort" => Ok(Self::Ort),
            other => Err(UnknownName::new(other, "auto, tract, ort")),
        }
    }
}

/// A name that stands for no engine or provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is none of {known}")]
pub struct UnknownName {
    name: String,
    known: &'static str,
}

impl UnknownName {
    fn new(name: &str, known: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            known,
        }
    }
}

/// Execution providers of ONNX Runtime, in the order in which they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Provider {
    /// NVIDIA TensorRT.
    TensorRt,
    /// NVIDIA CUDA.
    Cuda,
    /// The library's own CPU kernels.
    Cpu,
}

impl Provider {
    /// The name in reports and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TensorRt => "tensorrt",
            Self::Cuda => "cuda",
            Self::Cpu => "cpu",
        }
    }
}

impl FromStr for Provider {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "tensorrt" => Ok(Self::TensorRt),
            "cuda" => Ok(Self::Cuda),
            "cpu" => Ok(Self::Cpu),
            other => Err(UnknownName::new(other, "tensorrt, cuda, cpu")),
        }
    }
}

/// How thoroughly the files of a bundle are checked before they are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Check {
    /// Hashes up to 512 MiB, sizes beyond: hashing several gigabytes would take
    /// longer than loading them.
    #[default]
    Auto,
    /// The hash of every file, whatever its size.
    Content,
    /// Sizes only.
    Size,
}

/// How a [`Model`](crate::Model) is opened. `Options::default()` is a sound choice.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which engine.
    pub engine: EngineChoice,
    /// The ONNX Runtime library; otherwise `ORT_DYLIB_PATH` and the usual places.
    pub ort_library: Option<PathBuf>,
    /// Providers of ONNX Runtime to try, in order; empty means TensorRT, CUDA, CPU
    /// as far as the library has them.
    pub ort_providers: Vec<Provider>,
    /// Where TensorRT keeps built engines; must be writable when TensorRT is used.
    pub tensorrt_cache: Option<PathBuf>,
    /// Threads to compute with; 0 means all that this process may use.
    pub threads: usize,
    /// What a picture may cost to decode, and which value is white.
    pub decode: DecodeOptions,
    /// Encoded before-pictures to keep.
    pub cache: CacheOptions,
    /// How bundle files are checked.
    pub check: Check,
    /// Load even when the memory estimate says that it will not fit.
    pub ignore_memory: bool,
}

/// Bounds of the feature cache.
#[derive(Debug, Clone)]
pub struct CacheOptions {
    /// Bytes to keep in memory; 0 keeps nothing.
    pub memory_bytes: usize,
    /// Directory to keep features in between runs; `None` keeps nothing on disk.
    pub directory: Option<PathBuf>,
    /// Bytes to keep on disk.
    pub disk_bytes: u64,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            memory_bytes: 16 << 20,
            directory: None,
            disk_bytes: 256 << 20,
        }
    }
}

impl Options {
    /// The number of threads that [`threads`](Options::threads) stands for.
    pub fn thread_count(&self) -> usize {
        if self.threads > 0 {
            return self.threads;
        }
        std::thread::available_parallelism().map_or(1, usize::from)
    }
}
