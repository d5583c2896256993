//! From two picture files to the content of an alert: time and memory on one core.
//!
//! Every engine is measured in a process of its own, so that peak memory is its
//! own; one after the other, on the same pairs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use deltavlm_runtime::{
    CacheOptions, EngineChoice, Instruction, Model, Options, Request, peak_rss_bytes,
};

type Failure = Box<dyn std::error::Error>;

/// The child's argument before the engine's name.
const CHILD: &str = "--engine";
/// Rounds over all pairs; the medians count.
const ROUNDS: usize = 9;
/// What an alert holds.
const ALERT: [Instruction; 3] = [
    Instruction::Classify,
    Instruction::Count,
    Instruction::Localize,
];

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(place) = arguments.iter().position(|argument| argument == CHILD) {
        return measure(&arguments[place + 1]);
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

fn measure(engine: &str) -> Result<(), Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let options = Options {
        engine: engine.parse::<EngineChoice>()?,
        threads: 1,
        // Every round pays for both pictures.
        cache: CacheOptions {
            memory_bytes: 0,
            ..CacheOptions::default()
        },
        ..Options::default()
    };
    let started = Instant::now();
    let mut model = Model::open(&root.join("models/nano/bundle"), &options)?;
    let open = milliseconds(started);

    let requests = ALERT.map(Request::fixed);
    let (mut encode, mut answer, mut total) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        for (before, after) in pairs(&root.join("demo/pairs"))? {
            let started = Instant::now();
            let pair = model.pair(before.as_path(), after.as_path())?;
            let encoded = milliseconds(started);
            model.ask_all(&pair, &requests)?;
            let all = milliseconds(started);
            // The first round warms caches up.
            if round > 0 {
                encode.push(encoded);
                answer.push(all - encoded);
                total.push(all);
            }
        }
    }
    let peak = peak_rss_bytes().ok_or("the system tells no peak memory")?;
    let report = model.engine();
    println!(
        "{:<14} {open:>8.1} {:>11.1} {:>11.1} {:>18.1} {:>10.1}",
        format!("{} ({})", report.name, report.provider),
        median(encode),
        median(answer),
        median(total),
        peak as f64 / f64::from(1 << 20),
    );
    Ok(())
}

fn pairs(folder: &Path) -> Result<Vec<(PathBuf, PathBuf)>, Failure> {
    let mut names: Vec<_> = std::fs::read_dir(folder.join("A"))?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<_, _>>()?;
    names.sort();
    Ok(names
        .iter()
        .map(|name| (folder.join("A").join(name), folder.join("B").join(name)))
        .collect())
}

fn milliseconds(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e3
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
