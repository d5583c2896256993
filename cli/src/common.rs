//! Options that several commands share.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use crate::reading::ReadingArguments;
use clap::Args;
use deltavlm_cli::CliError;
use deltavlm_runtime::{CacheOptions, Check, Decoding, EngineChoice, Model, Options, Provider};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How the model is opened.
#[derive(Args, Clone)]
pub(crate) struct EngineArguments {
    /// Engine: auto takes the best that is present and says why.
    #[arg(long, value_name = "auto|tract|ort", default_value = "auto")]
    pub(crate) engine: EngineChoice,
    /// The ONNX Runtime library; otherwise ORT_DYLIB_PATH and the usual places.
    #[arg(long, value_name = "PATH")]
    ort_library: Option<PathBuf>,
    /// Providers of ONNX Runtime to try, in order.
    #[arg(long, value_name = "tensorrt|cuda|cpu", value_delimiter = ',')]
    provider: Vec<Provider>,
    /// Where TensorRT keeps built engines [default: tensorrt/ in the bundle].
    #[arg(long, value_name = "DIR")]
    tensorrt_cache: Option<PathBuf>,
    /// Threads to compute with; 0 takes all.
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Keep features of before-pictures in this directory.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    #[command(flatten)]
    reading: ReadingArguments,
    /// Check the hash of every file, whatever the size of the bundle.
    #[arg(long)]
    verify: bool,
    /// Load even if the memory estimate says that it will not fit.
    #[arg(long)]
    ignore_memory: bool,
}

impl EngineArguments {
    pub(crate) fn options(&self) -> Options {
        Options {
            engine: self.engine,
            ort_library: self.ort_library.clone(),
            ort_providers: self.provider.clone(),
            tensorrt_cache: self.tensorrt_cache.clone(),
            threads: self.threads,
            decode: self.reading.options(),
            cache: CacheOptions {
                // A single command has nothing to remember but what is on disk.
                memory_bytes: 0,
                directory: self.cache.clone(),
                ..CacheOptions::default()
            },
            check: if self.verify {
                Check::Content
            } else {
                Check::Auto
            },
            ignore_memory: self.ignore_memory,
        }
    }
}

/// How tokens are chosen.
#[derive(Args, Clone)]
pub(crate) struct DecodingArguments {
    /// constrained: within the answer grammar; free: as published.
    #[arg(long, value_name = "constrained|free", default_value = "constrained", value_parser = decoding)]
    pub(crate) decoding: Decoding,
    /// Beams of free decoding.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) beams: usize,
    /// Generated tokens at most [default: the bundle's].
    #[arg(long, value_name = "N")]
    pub(crate) max_tokens: Option<usize>,
}

fn decoding(name: &str) -> Result<Decoding, String> {
    match name {
        "constrained" => Ok(Decoding::Constrained),
        "free" => Ok(Decoding::Free),
        other => Err(format!("`{other}` is neither constrained nor free")),
    }
}

/// Writes one line to stdout; a reader that has gone away is no error of ours.
pub(crate) fn print(line: &str) -> Result<(), CliError> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(CliError::Io {
            path: PathBuf::from("stdout"),
            source: error,
        }),
        _ => Ok(()),
    }
}

/// What really runs a model and why, and what was tried before it.
pub(crate) fn print_engine(model: &Model) -> Result<(), CliError> {
    let report = model.engine();
    print(&format!("{} on {report}", model.id()))?;
    for rejection in &report.rejected {
        print(&format!("  not on {rejection}"))?;
    }
    Ok(())
}

/// A bar on stderr; silent where stderr is not a terminal.
pub(crate) fn bar(length: usize, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length as u64), ProgressDrawTarget::stderr());
    let template = "{msg} {bar:30} {pos}/{len} {elapsed_precise} eta {eta_precise}";
    bar.set_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.set_message(what);
    bar
}

/// A spinner on stderr for work of unknown length.
pub(crate) fn spinner(what: String) -> ProgressBar {
    let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    spinner.set_message(what);
    spinner.enable_steady_tick(Duration::from_millis(200));
    spinner
}

pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1u32 << 20)
}
