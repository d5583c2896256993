//! Registers the cases that `imaging/accuracy/registration.py` makes, and says how well.
//!
//! `cargo run --release -p deltavlm-imaging --example registration_accuracy -- CASES [--prior] [--lines]`
//!
//! `--prior` starts from the pose of each case; `--lines` prints every case as one JSON line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use deltavlm_imaging::register::{Gray, Homography, Prior, Registration, Settings, register};
use deltavlm_imaging::{DecodeOptions, Image};
use serde::Deserialize;
use serde_json::json;

type Failure = Box<dyn std::error::Error>;

#[derive(Deserialize)]
struct Case {
    kind: String,
    reference: String,
    frame: String,
    truth: Option<[f64; 9]>,
    start: [f64; 9],
    original: f64,
}

#[derive(Default)]
struct Row {
    cases: usize,
    errors: Vec<f64>,
}

fn main() -> Result<(), Failure> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut flag = |name: &str| {
        let before = arguments.len();
        arguments.retain(|argument| argument != name);
        arguments.len() < before
    };
    let (with_prior, lines) = (flag("--prior"), flag("--lines"));
    let folder = PathBuf::from(arguments.first().ok_or("which folder of cases?")?);
    let mut table: BTreeMap<String, Row> = BTreeMap::new();
    let (mut seconds, mut count) = (0.0, 0.0);
    for line in std::fs::read_to_string(folder.join("cases.jsonl"))?.lines() {
        let case: Case = serde_json::from_str(line)?;
        let (frame, reference) = (gray(&folder, &case.frame)?, gray(&folder, &case.reference)?);
        let prior = if with_prior {
            pose(case.start)
        } else {
            Prior::unknown()
        };
        let begun = Instant::now();
        let found = register(&frame, &reference, &prior, &Settings::default());
        seconds += begun.elapsed().as_secs_f64();
        count += 1.0;
        let error = case
            .truth
            .map(|truth| error(&found, &Homography(truth), &frame, case.original));
        if lines {
            println!("{}", report(&case, &found, error));
        }
        let row = table.entry(case.kind).or_default();
        row.cases += 1;
        if found.is_aligned() {
            row.errors.push(error.unwrap_or(f64::INFINITY));
        }
    }
    for (kind, mut row) in table {
        row.errors.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let last = row.errors.len().checked_sub(1)?;
            row.errors.get((share * last as f64).round() as usize)
        };
        let middle = match (at(0.5), at(0.95)) {
            (Some(half), Some(most)) if half.is_finite() => {
                format!("median {half:.3}, 95 % {most:.3} px")
            }
            _ => String::new(),
        };
        let wrong = row.errors.iter().filter(|error| **error > 5.0).count();
        eprintln!(
            "{kind}: accepted {} of {}, {wrong} of them over 5 px of the original; {middle}",
            row.errors.len(),
            row.cases
        );
    }
    eprintln!("{:.0} ms a case", 1e3 * seconds / count);
    Ok(())
}

fn gray(folder: &Path, name: &str) -> Result<Gray, Failure> {
    Ok(Gray::from(&Image::open(
        &folder.join(name),
        &DecodeOptions::default(),
    )?))
}

/// As wide as the poses that `registration.py` draws.
fn pose(start: [f64; 9]) -> Prior {
    Prior {
        start: Homography(start),
        shift_px: 80.0,
        rotation_deg: 5.0,
        scale: 1.06,
    }
}

/// Mean distance over the frame's points that the reference holds, in pixels of the original.
fn error(found: &Registration, truth: &Homography, frame: &Gray, original: f64) -> f64 {
    let (width, height) = (frame.size().0 as f64, frame.size().1 as f64);
    let (mut sum, mut count) = (0.0, 0.0);
    for index in 0..81 {
        let point = [
            f64::from(index % 9) / 8.0 * (width - 1.0),
            f64::from(index / 9) / 8.0 * (height - 1.0),
        ];
        let (there, here) = (truth.apply(point), found.homography.apply(point));
        if (0.0..width).contains(&there[0]) && (0.0..height).contains(&there[1]) {
            sum += (there[0] - here[0]).hypot(there[1] - here[1]);
            count += 1.0;
        }
    }
    sum / f64::max(count, 1.0) * original / width
}

fn report(case: &Case, found: &Registration, error: Option<f64>) -> serde_json::Value {
    let e = &found.evidence;
    json!({
        "kind": case.kind, "frame": case.frame, "error": error, "aligned": found.is_aligned(),
        "refused": found.refused.map(|why| format!("{why:?}")), "residual_px": e.residual_px,
        "coverage": e.coverage, "agreeing": e.agreeing, "peak_ratio": e.peak_ratio,
        "windows": e.windows, "support": e.support, "coefficient": e.coefficient,
        "homography": found.homography.0, "truth": case.truth,
    })
}
