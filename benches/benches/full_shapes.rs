//! The published model's shapes: this project and its peers on the same work in one
//! run, each with its share of what the machine can do.
//!
//! `README.md` says how the bundles are made that it measures. Environment:
//!
//! - `DELTAVLM_BENCH_BUNDLES`: the directory with the bundles `int8`, `int4`, `f32`,
//!   as far as they are there;
//! - `ORT_DYLIB_PATH`: ONNX Runtime, for the second engine of the runtime;
//! - `DELTAVLM_BENCH_PYTHON`: a Python with `requirements.txt`, for the peers;
//! - `DELTAVLM_BENCH_THREADS`: 2 unless given.

use std::env;
use std::path::Path;

use deltavlm_benches::work::{Measured, Size};
use deltavlm_benches::{Failure, nano, peers, work};
use deltavlm_bundle::{MANIFEST_FILE, Manifest};
use deltavlm_kernels::ThreadPool;
use deltavlm_kernels::roofline::Roofline;
use deltavlm_runtime::EngineChoice;

/// The published depths, to which the figures of fewer layers are scaled.
const VISION_BLOCKS: f64 = 39.0;
const LLM_LAYERS: f64 = 32.0;
/// Runs of each measurement; the median counts.
const RUNS: usize = 5;

fn main() -> Result<(), Failure> {
    let threads = match env::var("DELTAVLM_BENCH_THREADS") {
        Ok(number) => number.parse()?,
        Err(_) => 2,
    };
    let limits = Roofline::measure(&ThreadPool::new(threads)?);
    println!(
        "{threads} threads; at most {:.0} G int8 operations/s, {:.0} G f32 operations/s, {:.1} GB/s read\n",
        limits.int8_ops / 1e9,
        limits.f32_ops / 1e9,
        limits.read_bytes / 1e9
    );
    shipped(threads)?;
    let Some(bundles) = env::var_os("DELTAVLM_BENCH_BUNDLES") else {
        println!("DELTAVLM_BENCH_BUNDLES names no bundles: see benches/README.md");
        return Ok(());
    };
    let bundles = Path::new(&bundles);
    let (mut all, mut sizes) = (Vec::new(), Vec::new());
    let mut depths = None;
    for precision in ["int4", "int8", "f32"] {
        let bundle = bundles.join(precision);
        if !bundle.join(MANIFEST_FILE).exists() {
            println!("{precision} is not measured: no {}", bundle.display());
            continue;
        }
        let manifest: Manifest =
            serde_json::from_slice(&std::fs::read(bundle.join(MANIFEST_FILE))?)?;
        depths = Some((
            manifest.model.vision.depth as f64,
            manifest.model.llm.layers as f64,
        ));
        let who = format!("this project {precision}");
        let (measured, of_precision) =
            work::measure(&bundle, EngineChoice::Tract, &who, threads, RUNS)?;
        all.extend(measured);
        sizes.push((precision, of_precision));
        if env::var_os("ORT_DYLIB_PATH").is_some() {
            let who = format!("this project on ort {precision}");
            all.extend(work::measure(&bundle, EngineChoice::Ort, &who, threads, RUNS)?.0);
        }
        match work::plain_tract(&bundle, RUNS) {
            Ok(ms) => all.push(Measured {
                work: "vision".to_owned(),
                who: format!("plain tract {precision}, 1 thread"),
                ms,
            }),
            Err(error) => println!("plain tract does not take {precision}: {error}"),
        }
    }
    match env::var("DELTAVLM_BENCH_PYTHON") {
        Ok(python) => all.extend(peers::measure(&python, bundles, threads, RUNS)?),
        Err(_) => println!("peers are not measured: DELTAVLM_BENCH_PYTHON names no Python"),
    }
    if let Some(depths) = depths {
        print(&all, &sizes, &limits, depths);
    }
    Ok(())
}

/// The shipped bundle, end to end.
fn shipped(threads: usize) -> Result<(), Failure> {
    println!("nano bundle, two files to the content of an alert");
    let mut engines = vec![EngineChoice::Tract];
    if env::var_os("ORT_DYLIB_PATH").is_some() {
        engines.push(EngineChoice::Ort);
    }
    for engine in engines {
        let mut counts = vec![1, threads];
        counts.dedup();
        for threads in counts {
            let times = nano::measure(engine, threads)?;
            println!(
                "  {:<24}{threads} threads {:>8.1} ms, of which encoding {:.1} ms",
                times.engine, times.alert, times.encode
            );
        }
    }
    println!();
    Ok(())
}

fn print(
    all: &[Measured],
    sizes: &[(&str, Vec<Size>)],
    limits: &Roofline,
    (blocks, layers): (f64, f64),
) {
    println!("measured with {blocks} vision blocks and {layers} language-model layers;");
    println!(
        "`whole` is scaled to {VISION_BLOCKS} and {LLM_LAYERS}, for decoding without the output matrix's share\n"
    );
    println!(
        "{:<12}{:<46}{:>10}{:>10}{:>9}",
        "work", "who", "ms", "whole ms", "share"
    );
    let mut works: Vec<&str> = Vec::new();
    for measured in all {
        if !works.contains(&measured.work.as_str()) {
            works.push(&measured.work);
        }
    }
    for work in works {
        let mut lines: Vec<&Measured> = all
            .iter()
            .filter(|measured| measured.work == work)
            .collect();
        lines.sort_by(|a, b| a.ms.total_cmp(&b.ms));
        for line in lines {
            let factor = match work {
                "vision" => VISION_BLOCKS / blocks,
                "difference" | "qformer" => 1.0,
                _ => LLM_LAYERS / layers,
            };
            println!(
                "{:<12}{:<46}{:>10.1}{:>10.1}{:>8}",
                work,
                line.who,
                line.ms,
                line.ms * factor,
                share(line, sizes, limits)
            );
        }
        println!();
    }
}

/// How near a time is to the limit that binds this work at this precision.
fn share(line: &Measured, sizes: &[(&str, Vec<Size>)], limits: &Roofline) -> String {
    // What the peers call a precision, and the bundle whose bytes are nearest.
    let names = [
        ("int4", "int4"),
        ("Q4_0", "int4"),
        ("int8", "int8"),
        ("Q8_0", "int8"),
        ("f32", "f32"),
    ];
    let Some((_, precision)) = names.iter().find(|(name, _)| line.who.contains(name)) else {
        return String::new();
    };
    let of_precision = sizes.iter().find(|(name, _)| name == precision);
    let size = of_precision.and_then(|(_, sizes)| sizes.iter().find(|size| size.work == line.work));
    let Some(size) = size else {
        return String::new();
    };
    let rate = if *precision == "f32" {
        limits.f32_ops
    } else {
        limits.int8_ops
    };
    let least = (size.bytes / limits.read_bytes).max(size.operations / rate);
    format!("{:.0} %", 100.0 * least * 1e3 / line.ms)
}
