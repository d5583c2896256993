//! `dvlm bench`: time, operations and bytes of every segment on this machine.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use deltavlm_bundle::{Manifest, Segment};
use deltavlm_cli::CliError;
use deltavlm_kernels::ThreadPool;
use deltavlm_kernels::roofline::Roofline;
use deltavlm_messages::Instruction;
use deltavlm_runtime::engine::{DecoderStep, Input};
use deltavlm_runtime::{Budget, Error, Image, Model, Request, available_bytes};
use serde_json::{Value, json};

use crate::common::{EngineArguments, bar, mib, print, print_engine};
use crate::json;

/// Tokens of a typical prompt.
const PROMPT: usize = 40;

/// Tokens of a caption at most, when a survey is measured.
const CAPTION: usize = 24;

/// Measures the segments of a bundle on this machine.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The bundle directory.
    #[arg(long, value_name = "DIR")]
    bundle: PathBuf,
    /// Runs of each measurement; the median counts.
    #[arg(long, value_name = "N", default_value_t = 7)]
    runs: usize,
    /// Positions in the KV cache when a decoding step is measured.
    #[arg(long, value_name = "N", default_value_t = 64)]
    past: usize,
    /// Also say where the time goes: by segment and kind of operator its time,
    /// operations, bytes, and share of what this machine can do at most. Takes half a
    /// gibibyte to measure the limits.
    #[arg(long)]
    ops: bool,
    #[command(flatten)]
    engine: EngineArguments,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let mut model = Model::open(&arguments.bundle, &arguments.engine.options())?;
    let manifest = model.manifest().clone();
    let past = arguments
        .past
        .min(manifest.model.llm.max_positions.saturating_sub(1))
        .max(1);
    let prompt = (manifest.model.qformer.queries + PROMPT).min(manifest.model.llm.max_positions);
    let runs = arguments.runs.max(1);
    let progress = bar(7, "measuring");

    let mut segments = serde_json::Map::new();
    for segment in [Segment::Vision, Segment::Difference, Segment::Qformer] {
        let ms = stateless(&mut model, &manifest, segment, runs)?;
        segments.insert(
            segment.name().to_owned(),
            measured(&manifest, segment, ms, gflop(&manifest, segment)),
        );
        progress.inc(1);
    }
    let prefill = decoder(&mut model, &manifest, 0, prompt, runs)?;
    let mut entry = measured(
        &manifest,
        Segment::Decoder,
        prefill,
        decoder_gflop(&manifest, 0, prompt),
    );
    entry["tokens"] = prompt.into();
    segments.insert("prefill".to_owned(), entry);
    progress.inc(1);
    let decode = decoder(&mut model, &manifest, past, 1, runs)?;
    let mut entry = measured(
        &manifest,
        Segment::Decoder,
        decode,
        decoder_gflop(&manifest, past, 1),
    );
    entry["past"] = past.into();
    segments.insert("decode".to_owned(), entry);
    progress.inc(1);

    let (classify_ms, survey_ms, pair_ms) = end_to_end(&mut model, &manifest, runs)?;
    progress.inc(2);
    // Measuring limits takes memory of its own.
    let peak = json::peak_rss();
    let ops = if arguments.ops {
        operators(&mut model, &manifest, past, prompt)?
    } else {
        Value::Null
    };
    progress.finish_and_clear();

    let report = model.engine();
    let document = json!({
        "machine": machine(),
        "model": json::model(&model),
        "engine": report.name,
        "threads": report.threads,
        "segments": segments,
        "end_to_end": {
            "pair_ms": json::millis(pair_ms),
            "classify_ms": json::millis(classify_ms),
            "survey_ms": json::millis(survey_ms),
        },
        "ops": ops,
        "peak_rss_mib": peak,
        "load_ms": json::millis(model.load_ms()),
    });
    if arguments.json {
        return print(&document.to_string());
    }
    print_engine(&model)?;
    for (name, entry) in document["segments"].as_object().into_iter().flatten() {
        print(&format!(
            "  {name:<10} {:>10.2} ms {:>9.2} GFLOP {:>9.1} MiB {:>8.1} GFLOP/s",
            entry["ms"].as_f64().unwrap_or(0.0),
            entry["gflop"].as_f64().unwrap_or(0.0),
            mib(entry["bytes"].as_u64().unwrap_or(0)),
            entry["gflop_per_s"].as_f64().unwrap_or(0.0),
        ))?;
    }
    print(&format!(
        "  pair {pair_ms:.1} ms, classify {classify_ms:.1} ms, survey {survey_ms:.1} ms (encoding included)"
    ))?;
    print_operators(&document["ops"])
}

fn measured(manifest: &Manifest, segment: Segment, ms: f64, gflop: f64) -> Value {
    let weights = manifest
        .segments
        .get(&segment)
        .map(|record| record.weights.as_str())
        .unwrap_or_default();
    let bytes = manifest
        .files
        .iter()
        .find(|file| file.path == weights)
        .map_or(0, |file| file.bytes);
    json!({
        "ms": json::millis(ms),
        "gflop": json::millis(gflop),
        "bytes": bytes,
        "gflop_per_s": json::millis(gflop / ms * 1e3),
        "gb_per_s": json::millis(bytes as f64 / ms / 1e6),
    })
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// One run to warm up, then the median of the others.
fn repeat(runs: usize, mut work: impl FnMut() -> Result<(), Error>) -> Result<f64, CliError> {
    work()?;
    let mut times = Vec::with_capacity(runs);
    for _ in 0..runs {
        let started = Instant::now();
        work()?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(times))
}

/// Values that are neither constant nor denormal.
fn values(count: usize) -> Vec<f32> {
    (0..count)
        .map(|index| ((index * 7919) % 2003) as f32 / 1001.0 - 1.0)
        .collect()
}

fn stateless(
    model: &mut Model,
    manifest: &Manifest,
    segment: Segment,
    runs: usize,
) -> Result<f64, CliError> {
    let vision = &manifest.model.vision;
    let one = [1, vision.tokens, vision.width];
    let both = [1, 2 * vision.tokens, vision.width];
    let image = [1, 3, vision.image_size, vision.image_size];
    let pixels = values(image.iter().product());
    let features = values(both.iter().product());
    let half = &features[..features.len() / 2];
    let ids: Vec<i64> = ids(manifest);
    let mask = vec![1i64; ids.len()];
    let text = [1, ids.len()];
    let inputs = match segment {
        Segment::Vision => vec![Input::f32("image", &image, &pixels)],
        Segment::Difference => vec![
            Input::f32("before", &one, half),
            Input::f32("after", &one, half),
        ],
        Segment::Mask => vec![Input::f32("difference", &both, &features)],
        _ => vec![
            Input::f32("difference", &both, &features),
            Input::i64("token_ids", &text, &ids),
            Input::i64("token_mask", &text, &mask),
        ],
    };
    repeat(runs, || model.engine_mut().run(segment, &inputs).map(drop))
}

fn ids(manifest: &Manifest) -> Vec<i64> {
    let caption = manifest.instruction(Instruction::Caption);
    caption.map_or_else(
        || vec![1; 16],
        |record| record.qformer_ids.iter().map(|&id| i64::from(id)).collect(),
    )
}

/// A step of `new` positions after `past` others; only the step is measured.
fn decoder(
    model: &mut Model,
    manifest: &Manifest,
    past: usize,
    new: usize,
    runs: usize,
) -> Result<f64, CliError> {
    let width = manifest.model.llm.width;
    let mut times = Vec::with_capacity(runs);
    for run in 0..=runs {
        let mut sequence = model.engine_mut().start(1)?;
        if past > 0 {
            sequence.forward(&step(
                0,
                past,
                &values(past * width),
                &positions(0, past),
                &causal(0, past),
            ))?;
        }
        let (embeddings, positions, bias) =
            (values(new * width), positions(past, new), causal(past, new));
        let started = Instant::now();
        sequence.forward(&step(past, new, &embeddings, &positions, &bias))?;
        if run > 0 {
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(median(times))
}

fn step<'a>(
    past: usize,
    new: usize,
    embeddings: &'a [f32],
    positions: &'a [i64],
    bias: &'a [f32],
) -> DecoderStep<'a> {
    DecoderStep {
        rows: 1,
        new,
        past,
        embeddings,
        positions,
        bias,
    }
}

fn positions(past: usize, new: usize) -> Vec<i64> {
    (past..past + new)
        .filter_map(|position| i64::try_from(position).ok())
        .collect()
}

fn causal(past: usize, new: usize) -> Vec<f32> {
    (0..new)
        .flat_map(|row| {
            (0..past + new).map(move |column| if column <= past + row { 0.0 } else { -1e9 })
        })
        .collect()
}

fn end_to_end(
    model: &mut Model,
    manifest: &Manifest,
    runs: usize,
) -> Result<(f64, f64, f64), CliError> {
    let side = manifest.model.vision.image_size as u32;
    let picture = |seed: u32| {
        let bytes = (0..side * side * 3)
            .map(|index| (index.wrapping_mul(seed) >> 7) as u8)
            .collect();
        Image::from_rgb("synthetic", side, side, bytes)
    };
    let (before, after) = (picture(2_654_435_761)?, picture(40_503)?);
    let pair_ms = repeat(runs, || model.pair(&before, &after).map(drop))?;
    let classify = Request::fixed(Instruction::Classify);
    let classify_ms = repeat(runs, || {
        let pair = model.pair(&before, &after)?;
        model.ask(&pair, &classify).map(drop)
    })?;
    // A caption of random weights would not end by itself.
    let survey: Vec<Request> = Instruction::ALL
        .into_iter()
        .filter(|&instruction| manifest.instruction(instruction).is_some())
        .map(|instruction| Request::fixed(instruction).max_tokens(CAPTION))
        .collect();
    let survey_ms = repeat(runs, || {
        let pair = model.pair(&before, &after)?;
        model
            .ask_within(&pair, &survey, Budget::UNLIMITED)
            .map(drop)
    })?;
    Ok((classify_ms, survey_ms, pair_ms))
}

/// Where the time of each segment goes, by kind of operator, the longest first; null
/// where the engine cannot tell.
fn operators(
    model: &mut Model,
    manifest: &Manifest,
    past: usize,
    prompt: usize,
) -> Result<Value, CliError> {
    if model.engine_mut().profile().is_none() {
        return Ok(Value::Null);
    }
    let threads = model.engine().threads;
    let limits = ThreadPool::new(threads)
        .ok()
        .map(|pool| Roofline::measure(&pool));
    let mut stages = Vec::new();
    for segment in [Segment::Vision, Segment::Difference, Segment::Qformer] {
        stateless(model, manifest, segment, 1)?;
        let times = model.engine_mut().profile().unwrap_or_default();
        // One run to warm up, and one.
        stages.push((segment.name(), 2.0, times));
    }
    for (stage, past, new) in [("prefill", 0, prompt), ("decode", past, 1)] {
        let width = manifest.model.llm.width;
        let mut sequence = model.engine_mut().start(1)?;
        if past > 0 {
            let (embeddings, bias) = (values(past * width), causal(0, past));
            sequence.forward(&step(0, past, &embeddings, &positions(0, past), &bias))?;
            sequence.profile();
        }
        let (embeddings, bias) = (values(new * width), causal(past, new));
        sequence.forward(&step(past, new, &embeddings, &positions(past, new), &bias))?;
        stages.push((stage, 1.0, sequence.profile().unwrap_or_default()));
    }
    let mut rows = Vec::new();
    for (stage, runs, mut times) in stages {
        times.sort_by(|a, b| b.ms.total_cmp(&a.ms));
        for time in times {
            let ms = time.ms / runs;
            let (operations, bytes) = (time.operations / runs, time.bytes / runs);
            let share = limits.map(|limits| {
                let rate = if time.op.contains("int") {
                    limits.int8_ops
                } else {
                    limits.f32_ops
                };
                let least = (operations / rate).max(bytes / limits.read_bytes);
                json::millis(100.0 * least * 1e3 / ms)
            });
            rows.push(json!({
                "segment": stage,
                "op": time.op,
                "calls": (time.calls as f64 / runs) as u64,
                "ms": json::millis(ms),
                "gflop": json::millis(operations / 1e9),
                "mib": json::millis(bytes / f64::from(1 << 20)),
                "limit_percent": share,
            }));
        }
    }
    Ok(Value::Array(rows))
}

fn print_operators(rows: &Value) -> Result<(), CliError> {
    let Some(rows) = rows.as_array() else {
        return Ok(());
    };
    print(
        "  segment    operator                 calls         ms      GFLOP        MiB  of limit",
    )?;
    for row in rows {
        let number = |key: &str| row[key].as_f64().unwrap_or(0.0);
        print(&format!(
            "  {:<10} {:<22} {:>7} {:>10.3} {:>10.3} {:>10.2} {:>7.0} %",
            row["segment"].as_str().unwrap_or_default(),
            row["op"].as_str().unwrap_or_default(),
            row["calls"],
            number("ms"),
            number("gflop"),
            number("mib"),
            number("limit_percent"),
        ))?;
    }
    Ok(())
}

/// Multiplications and additions of the weight matrices and of attention.
fn gflop(manifest: &Manifest, segment: Segment) -> f64 {
    let (vision, qformer) = (&manifest.model.vision, &manifest.model.qformer);
    let f = |value: usize| value as f64;
    let operations = match segment {
        Segment::Vision => {
            let rows = f(vision.tokens);
            let matrices =
                4.0 * f(vision.width).powi(2) + 2.0 * f(vision.width) * f(vision.mlp_width);
            let patches = 3.0 * f(vision.patch_size).powi(2) * f(vision.width);
            f(vision.depth) * rows * (matrices + 2.0 * rows * f(vision.width)) + rows * patches
        }
        // Five matrices per date are applied to d and x; the last takes three inputs.
        Segment::Difference => 2.0 * f(vision.tokens) * 7.0 * f(vision.width).powi(2),
        Segment::Qformer => {
            let rows = f(qformer.queries) + f(ids(manifest).len());
            let features = 2.0 * f(vision.tokens);
            let own = 12.0 * f(qformer.width).powi(2) * rows + 2.0 * rows * rows * f(qformer.width);
            let crossed = 2.0 * f(qformer.width).powi(2) * f(qformer.queries)
                + 2.0 * f(vision.width) * f(qformer.width) * features
                + 2.0 * f(qformer.queries) * features * f(qformer.width);
            f(qformer.layers) * own
                + f(qformer.layers.div_ceil(2)) * crossed
                + f(qformer.queries) * f(qformer.width) * f(manifest.model.llm.width)
        }
        _ => 0.0,
    };
    2.0 * operations / 1e9
}

fn decoder_gflop(manifest: &Manifest, past: usize, new: usize) -> f64 {
    let llm = &manifest.model.llm;
    let f = |value: usize| value as f64;
    let keys = f(llm.kv_heads * llm.head_dim);
    let matrices = 2.0 * f(llm.width).powi(2)
        + 2.0 * f(llm.width) * keys
        + 3.0 * f(llm.width) * f(llm.mlp_width);
    let attention = 2.0 * (f(past) + f(new)) * f(llm.heads * llm.head_dim);
    let operations =
        f(llm.layers) * f(new) * (matrices + attention) + f(llm.width) * f(llm.vocab_size);
    2.0 * operations / 1e9
}

fn machine() -> Value {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| {
        line.strip_prefix("model name")?
            .split_once(": ")
            .map(|(_, name)| name.to_owned())
    });
    json!({
        "cpu": model,
        "arch": std::env::consts::ARCH,
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "available_mib": available_bytes().map(|bytes| json::millis(mib(bytes))),
    })
}
