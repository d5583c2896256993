//! `dvlm-demo`: the main job in one command.

#![forbid(unsafe_code)]

mod arguments;
mod console;

use arguments::Arguments;
use clap::Parser;
use console::ConsoleReporter;
use deltavlm_demo::{
    pairs,
    radio::ChannelModel,
    report,
    scenario::{self, Plan},
};
use deltavlm_host::{Analyzer, ModelAnalyzer, config::ModelConfig};
use std::{
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

/// A run with the sample pairs ends after this long at the latest, whatever is still on its way,
/// so that with the report it stays under a minute on a busy machine as well.
const RUN_TIMEOUT: Duration = Duration::from_secs(40);

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let bundle = shipped(arguments.bundle.as_deref(), "models/nano/bundle");
    if !bundle.join("bundle.json").is_file() {
        return Err(format!(
            "{}: no model bundle; run from the project's folder, name one with --bundle, \
             or build one with `dvlm-export build`",
            bundle.display()
        )
        .into());
    }
    let pairs = pairs::read(&shipped(arguments.pairs.as_deref(), "demo/pairs"))?;
    // Time for the user's own pairs, too: a question each, and a second for each picture.
    let own = Duration::from_secs(3 * pairs.len() as u64);
    let deadline = if arguments.pairs.is_some() {
        RUN_TIMEOUT + own
    } else {
        RUN_TIMEOUT
    };
    let config = ModelConfig {
        bundle,
        engine: arguments.engine.clone(),
        ort_library: None,
        threads: arguments.threads,
        white: 0,
        deadline: Duration::from_secs(30),
    };
    let open = Box::new(move || {
        ModelAnalyzer::open(&config).map(|analyzer| Box::new(analyzer) as Box<dyn Analyzer>)
    });
    let folder = tempfile::tempdir()?;
    let channel = ChannelModel {
        baud: arguments.baud,
        loss: arguments.loss,
        bit_errors: arguments.bit_errors,
        seed: arguments.seed,
    };
    let reporter = ConsoleReporter {
        json: arguments.json,
    };
    reporter.start(&channel, pairs.len());
    let plan = Plan {
        pairs,
        channel,
        folder: folder.path(),
        deadline,
    };
    let run_log = scenario::run(plan, open, &mut |at, event| {
        reporter.report_event(at, &event)
    })?;
    let report = report::write(&run_log, &arguments.out).map_err(|error| {
        format!(
            "{}: {error}; choose a folder with --out",
            arguments.out.display()
        )
    })?;
    reporter.end(&run_log, &std::path::absolute(&report).unwrap_or(report));
    Ok(())
}

/// What the user named, or what the project ships: from the present folder, else from where
/// the program was built.
fn shipped(named: Option<&Path>, path: &str) -> PathBuf {
    if let Some(named) = named {
        return named.to_owned();
    }
    let here = PathBuf::from(path);
    if here.exists() {
        return here;
    }
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new(""))
        .join(path)
}
