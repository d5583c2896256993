//! From two picture files to the content of an alert: time and memory on one core.
//!
//! Every engine is measured in a process of its own, so that peak memory is its
//! own; one after the other, on the same pairs.

use std::process::Command;

use deltavlm_benches::Failure;
use deltavlm_benches::nano::{ROUNDS, measure};
use deltavlm_runtime::{EngineChoice, peak_rss_bytes};

/// The child's argument before the engine's name.
const CHILD: &str = "--engine";

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(place) = arguments.iter().position(|argument| argument == CHILD) {
        return child(&arguments[place + 1]);
    }
    println!(
        "two files to the content of an alert: nano bundle, 1 thread, medians of {ROUNDS} rounds"
    );
    println!("engine          open ms   encode ms   answer ms   file to alert ms   peak MiB");
    let mut engines = vec!["tract"];
    if std::env::var_os("ORT_DYLIB_PATH").is_some() {
        engines.push("ort");
    } else {
        println!("ort             not measured: ORT_DYLIB_PATH names no library");
    }
    for engine in engines {
        let status = Command::new(&arguments[0]).args([CHILD, engine]).status()?;
        if !status.success() {
            return Err(format!("measuring {engine} failed").into());
        }
    }
    Ok(())
}

fn child(engine: &str) -> Result<(), Failure> {
    let times = measure(engine.parse::<EngineChoice>()?, 1)?;
    let peak = peak_rss_bytes().ok_or("the system tells no peak memory")?;
    println!(
        "{:<14} {:>8.1} {:>11.1} {:>11.1} {:>18.1} {:>10.1}",
        times.engine,
        times.open,
        times.encode,
        times.answer,
        times.alert,
        peak as f64 / f64::from(1 << 20),
    );
    Ok(())
}
