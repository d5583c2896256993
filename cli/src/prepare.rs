//! `dvlm prepare`: builds what an engine would otherwise build at its first start.

use std::path::PathBuf;

use clap::Args;
use deltavlm_cli::CliError;
use deltavlm_runtime::{Image, Model};

use crate::common::{EngineArguments, print, print_engine, spinner};

/// Builds what an engine would otherwise build at its first start.
///
/// TensorRT builds an engine for every segment, which takes minutes on a board;
/// afterwards a start takes seconds. Other providers have nothing to build: for
/// them this checks that the bundle loads and answers.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The bundle directory.
    #[arg(long, value_name = "DIR")]
    bundle: PathBuf,
    #[command(flatten)]
    engine: EngineArguments,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let progress = spinner(format!("preparing {}", arguments.bundle.display()));
    let mut model = Model::open(&arguments.bundle, &arguments.engine.options())?;
    progress.set_message(format!("{}: running every segment once", model.id()));
    let side = model.manifest().model.vision.image_size as u32;
    let grey = Image::from_rgb("grey", side, side, vec![128; (side * side * 3) as usize])?;
    let pair = model.pair(&grey, &grey)?;
    model.survey(&pair)?;
    model.mask(&pair)?;
    progress.finish_and_clear();
    print_engine(&model)?;
    print(&format!("ready; loaded in {:.1} s", model.load_ms() / 1e3))
}
