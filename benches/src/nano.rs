//! The shipped bundle, from two picture files to the content of an alert.

use std::path::{Path, PathBuf};
use std::time::Instant;

use deltavlm_runtime::{Budget, CacheOptions, EngineChoice, Instruction, Model, Options, Request};

use crate::{Failure, median, milliseconds};

/// Rounds over all pairs; the medians count.
pub const ROUNDS: usize = 9;
/// What an alert holds.
const ALERT: [Instruction; 3] = [
    Instruction::Classify,
    Instruction::Count,
    Instruction::Localize,
];

/// Milliseconds of each part.
#[derive(Debug)]
pub struct Times {
    /// Opening the bundle.
    pub open: f64,
    /// Decoding and encoding both pictures.
    pub encode: f64,
    /// The answers.
    pub answer: f64,
    /// Encoding and answers.
    pub alert: f64,
    /// The engine and what it runs on.
    pub engine: String,
}

/// Measures one engine in this process.
///
/// # Errors
/// When the bundle, the pictures or the engine are not there.
pub fn measure(engine: EngineChoice, threads: usize) -> Result<Times, Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let options = Options {
        engine,
        threads,
        // Every round pays for both pictures.
        cache: CacheOptions {
            memory_bytes: 0,
            ..CacheOptions::default()
        },
        ..Options::default()
    };
    let started = Instant::now();
    let mut model = Model::open(root.join("models/nano/bundle"), &options)?;
    let open = milliseconds(started);

    let requests = ALERT.map(Request::fixed);
    let (mut encode, mut answer, mut alert) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        for (before, after) in pairs(&root.join("demo/pairs"))? {
            let started = Instant::now();
            let pair = model.pair(before.as_path(), after.as_path())?;
            let encoded = milliseconds(started);
            model.ask_within(&pair, &requests, Budget::UNLIMITED)?;
            let all = milliseconds(started);
            // The first round warms caches up.
            if round > 0 {
                encode.push(encoded);
                answer.push(all - encoded);
                alert.push(all);
            }
        }
    }
    let report = model.engine();
    Ok(Times {
        open,
        encode: median(encode),
        answer: median(answer),
        alert: median(alert),
        engine: format!("{} ({})", report.name, report.provider),
    })
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
