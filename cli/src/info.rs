//! `dvlm info`: what a bundle holds and what would run it here.

use std::path::PathBuf;

use clap::Args;
use deltavlm_cli::CliError;
use deltavlm_runtime::{Model, available_bytes};
use serde_json::{Value, json};

use crate::common::{EngineArguments, mib, print, print_engine};
use crate::json;

/// Says what a bundle holds and what would run it here.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The bundle directory.
    #[arg(long, value_name = "DIR")]
    bundle: PathBuf,
    #[command(flatten)]
    engine: EngineArguments,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let model = Model::open(&arguments.bundle, &arguments.engine.options())?;
    let manifest = model.manifest();
    let estimate = model.memory_estimate();
    let segments: Vec<Value> = manifest
        .segments
        .iter()
        .map(|(segment, record)| {
            let bytes = manifest
                .files
                .iter()
                .find(|file| file.path == record.weights)
                .map_or(0, |file| file.bytes);
            json!({
                "name": segment.name(),
                "precision": record.precision.name(),
                "parameters": record.parameters,
                "bytes": bytes,
            })
        })
        .collect();
    let document = json!({
        "model": json::model(&model),
        "dimensions": serde_json::to_value(&manifest.model).unwrap_or(Value::Null),
        "segments": segments,
        "instructions": manifest.instructions.iter().map(|record| record.name.name()).collect::<Vec<_>>(),
        "fidelity": serde_json::to_value(&manifest.fidelity).unwrap_or(Value::Null),
        "memory_mib": {
            "needed": json::millis(mib(estimate.total())),
            "weights": json::millis(mib(estimate.weights)),
            "available": available_bytes().map(|bytes| json::millis(mib(bytes))),
        },
        "load_ms": json::millis(model.load_ms()),
        "peak_rss_mib": json::peak_rss(),
    });
    if arguments.json {
        return print(&document.to_string());
    }
    print_engine(&model)?;
    print(&format!(
        "{}: precision {}",
        arguments.bundle.display(),
        json::precision(&model)
    ))?;
    for segment in &segments {
        let bytes = segment["bytes"].as_u64().unwrap_or(0);
        print(&format!(
            "  {:<10} {:>5} {:>12} parameters {:>9.1} MiB",
            segment["name"].as_str().unwrap_or_default(),
            segment["precision"].as_str().unwrap_or_default(),
            segment["parameters"],
            mib(bytes)
        ))?;
    }
    print(&format!(
        "needs about {:.0} MiB, {} available; loaded in {:.0} ms",
        mib(estimate.total()),
        available_bytes().map_or("unknown".to_owned(), |bytes| format!(
            "{:.0} MiB",
            mib(bytes)
        )),
        model.load_ms()
    ))
}
