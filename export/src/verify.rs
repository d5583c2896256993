//! `dvlm-export verify`: hashes, files, every segment in every engine present.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use deltavlm_bundle::{Fidelity, MANIFEST_FILE, Manifest, Precision, Segment, Target};
use deltavlm_runtime::engine::{DecoderStep, Engine, Input, load_library};
use deltavlm_runtime::{Check, EngineChoice, Model, Options};
use prost::Message;
use serde::Serialize;

use crate::fidelity::compare;
use crate::{Error, Result, onnx, sample_images};

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The bundle's id.
    pub id: String,
    /// Files whose size and hash agree with the manifest.
    pub files: usize,
    /// One row for every segment in every engine.
    pub segments: Vec<Row>,
    /// Engines that are not present, each with the reason.
    pub absent: BTreeMap<String, String>,
    /// Everything that is wrong; empty means that the bundle is sound.
    pub doubts: Vec<String>,
}

/// A segment in an engine.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The segment.
    pub segment: &'static str,
    /// The engine.
    pub engine: String,
    /// Milliseconds of one run.
    pub ms: f64,
    /// What it is compared with: the other bundle, or the first engine.
    pub against: String,
    /// Agreement with that; absent for the first one.
    pub agreement: Option<Fidelity>,
}

/// What to verify.
#[derive(Debug)]
pub struct Subject {
    /// The bundle.
    pub bundle: PathBuf,
    /// A bundle of the same model in a better precision.
    pub against: Option<PathBuf>,
    /// The ONNX Runtime library, where it is not in the usual places.
    pub ort_library: Option<PathBuf>,
    /// Threads of the engines; 0 for all.
    pub threads: usize,
}

/// The outputs of all segments, each computed from the reference's inputs.
type Outputs = BTreeMap<Segment, (Vec<f32>, f64)>;

/// Checks a bundle.
///
/// # Errors
/// When the bundle cannot be read at all; what is wrong inside it is in the report.
pub fn verify(subject: &Subject) -> Result<Report> {
    let manifest = Manifest::read(&subject.bundle)?;
    let mut report = Report {
        id: manifest.id.clone(),
        files: 0,
        segments: Vec::new(),
        absent: BTreeMap::new(),
        doubts: Vec::new(),
    };
    if let Err(error) = manifest.check_seal(&subject.bundle) {
        report.doubts.push(error.to_string());
    }
    check_files(&subject.bundle, &manifest, &mut report)?;
    check_graphs(&subject.bundle, &manifest, &mut report);
    if !report.doubts.is_empty() {
        return Ok(report);
    }

    let mut reference: Option<(String, Outputs)> = None;
    if let Some(against) = &subject.against {
        let other = Manifest::read(against)?;
        if other.model != manifest.model {
            report.doubts.push(format!(
                "{} is a bundle of another model",
                against.display()
            ));
            return Ok(report);
        }
        let found = engines()
            .into_iter()
            .find_map(|engine| outputs(subject, against, engine, None).ok());
        match found {
            Some((_, outputs)) => reference = Some((other.id, outputs)),
            None => report
                .doubts
                .push(format!("no engine runs {}", against.display())),
        }
    }
    let mut ran = 0;
    for engine in engines() {
        match outputs(
            subject,
            &subject.bundle,
            engine,
            reference.as_ref().map(|(_, outputs)| outputs),
        ) {
            Ok((name, found)) => {
                ran += 1;
                add_rows(&manifest, &name, &found, reference.as_ref(), &mut report);
                if reference.is_none() {
                    reference = Some((name, found));
                }
            }
            Err(Absence::NotPresent(engine, reason)) => drop(report.absent.insert(engine, reason)),
            Err(Absence::Fails(problem)) => report.doubts.push(problem),
        }
    }
    if ran == 0 && manifest.target == Target::Cpu {
        report
            .doubts
            .push("no engine runs this bundle here".to_owned());
    }
    Ok(report)
}

fn engines() -> [EngineChoice; 2] {
    [EngineChoice::Tract, EngineChoice::Ort]
}

fn check_files(directory: &Path, manifest: &Manifest, report: &mut Report) -> Result<()> {
    for file in &manifest.files {
        match file.check_content(directory) {
            Ok(()) => report.files += 1,
            Err(error) => report.doubts.push(error.to_string()),
        }
    }
    for entry in std::fs::read_dir(directory).map_err(|e| Error::io(directory, e))? {
        let name = entry.map_err(|e| Error::io(directory, e))?.file_name();
        let name = name.to_string_lossy();
        if name != MANIFEST_FILE && !manifest.files.iter().any(|file| file.path == name) {
            report
                .doubts
                .push(format!("`{name}` is in the bundle but not in its manifest"));
        }
    }
    Ok(())
}

/// Every external tensor must lie inside its weights file, aligned.
fn check_graphs(directory: &Path, manifest: &Manifest, report: &mut Report) {
    for (segment, record) in &manifest.segments {
        let size = manifest
            .files
            .iter()
            .find(|file| file.path == record.weights)
            .map_or(0, |file| file.bytes);
        let model = std::fs::read(directory.join(&record.graph))
            .ok()
            .and_then(|bytes| onnx::Model::decode(bytes.as_slice()).ok());
        let Some(graph) = model.and_then(|model| model.graph) else {
            report
                .doubts
                .push(format!("{}: is not an ONNX model", record.graph));
            continue;
        };
        for tensor in graph
            .initializer
            .iter()
            .filter(|tensor| !tensor.external_data.is_empty())
        {
            let field = |key: &str| {
                tensor
                    .external_data
                    .iter()
                    .find(|entry| entry.key == key)
                    .map(|entry| entry.value.as_str())
            };
            let number = |key: &str| field(key).and_then(|value| value.parse::<u64>().ok());
            let inside = match (number("offset"), number("length")) {
                (Some(offset), Some(length)) => {
                    offset % 64 == 0 && offset.checked_add(length).is_some_and(|end| end <= size)
                }
                _ => false,
            };
            if !inside || field("location") != Some(&record.weights) {
                report.doubts.push(format!(
                    "{}: `{}` does not lie in {}",
                    segment.name(),
                    tensor.name,
                    record.weights
                ));
            }
        }
    }
}

enum Absence {
    NotPresent(String, String),
    Fails(String),
}

/// Runs all segments. Each gets what the reference's segments before it gave,
/// so that its own agreement is seen.
fn outputs(
    subject: &Subject,
    bundle: &Path,
    engine: EngineChoice,
    reference: Option<&Outputs>,
) -> std::result::Result<(String, Outputs), Absence> {
    let name = match engine {
        EngineChoice::Tract => "tract",
        _ => "ort",
    };
    let options = Options {
        engine,
        ort_library: subject.ort_library.clone(),
        threads: subject.threads,
        check: Check::Size,
        ..Options::default()
    };
    if engine == EngineChoice::Ort
        && let Err(error) = load_library(subject.ort_library.as_deref())
    {
        let named = subject.ort_library.is_some() || std::env::var_os("ORT_DYLIB_PATH").is_some();
        return Err(if named {
            Absence::Fails(error.to_string())
        } else {
            Absence::NotPresent(name.to_owned(), error.to_string())
        });
    }
    let mut model = Model::open(bundle, &options).map_err(|error| match error {
        // The bundle may be sound where this machine is too small for it.
        deltavlm_runtime::Error::Memory { .. } => {
            Absence::NotPresent(name.to_owned(), error.to_string())
        }
        _ => Absence::Fails(format!("{name}: {error}")),
    })?;
    let manifest = model.manifest().clone();
    let found = run(&manifest, model.engine_mut(), reference)
        .map_err(|problem| Absence::Fails(format!("{name}: {problem}")))?;
    let version = format!("{name} {}", model.engine().version);
    Ok((version, found))
}

fn run(
    manifest: &Manifest,
    engine: &mut dyn Engine,
    reference: Option<&Outputs>,
) -> std::result::Result<Outputs, deltavlm_runtime::Error> {
    let (vision, llm) = (&manifest.model.vision, &manifest.model.llm);
    let pair = sample_images::built_in(vision);
    let instruction = &manifest.instructions[0];
    let mut found = Outputs::new();
    let mut keep = |segment: Segment, started: Instant, output: Vec<f32>| -> Vec<f32> {
        let ms = started.elapsed().as_secs_f64() * 1e3;
        let next = reference
            .and_then(|outputs| outputs.get(&segment))
            .map_or_else(|| output.clone(), |(exact, _)| exact.clone());
        found.insert(segment, (output, ms));
        next
    };

    let image = [1, 3, vision.image_size, vision.image_size];
    let started = Instant::now();
    let mut features = engine.run(Segment::Vision, &[Input::f32("image", &image, &pair[0])])?;
    features.extend(engine.run(Segment::Vision, &[Input::f32("image", &image, &pair[1])])?);
    let features = keep(Segment::Vision, started, features);

    let shape = [1, vision.tokens, vision.width];
    let (before, after) = features.split_at(features.len() / 2);
    let started = Instant::now();
    let difference = engine.run(
        Segment::Difference,
        &[
            Input::f32("before", &shape, before),
            Input::f32("after", &shape, after),
        ],
    )?;
    let difference = keep(Segment::Difference, started, difference);

    let both = [1, 2 * vision.tokens, vision.width];
    let ids: Vec<i64> = instruction
        .qformer_ids
        .iter()
        .map(|&id| i64::from(id))
        .collect();
    let mask = vec![1; ids.len()];
    let text = [1, ids.len()];
    let started = Instant::now();
    let queries = engine.run(
        Segment::Qformer,
        &[
            Input::f32("difference", &both, &difference),
            Input::i64("token_ids", &text, &ids),
            Input::i64("token_mask", &text, &mask),
        ],
    )?;
    let queries = keep(Segment::Qformer, started, queries);

    let new = queries.len() / llm.width;
    let positions: Vec<i64> = (0..new as i64).collect();
    let bias: Vec<f32> = (0..new * new)
        .map(|at| if at % new > at / new { -1e9 } else { 0.0 })
        .collect();
    let started = Instant::now();
    let logits = {
        let mut decoder = engine.start(1)?;
        decoder.forward(&DecoderStep {
            rows: 1,
            new,
            past: 0,
            embeddings: &queries,
            positions: &positions,
            bias: &bias,
        })?
    };
    keep(Segment::Decoder, started, logits);

    if manifest.segments.contains_key(&Segment::Mask) {
        let started = Instant::now();
        let change = engine.run(
            Segment::Mask,
            &[
                Input::f32("before", &shape, before),
                Input::f32("after", &shape, after),
            ],
        )?;
        keep(Segment::Mask, started, change);
    }
    Ok(found)
}

fn add_rows(
    manifest: &Manifest,
    engine: &str,
    found: &Outputs,
    reference: Option<&(String, Outputs)>,
    report: &mut Report,
) {
    for (segment, (output, ms)) in found {
        let name = segment.name();
        if output.iter().any(|value| !value.is_finite()) {
            report.doubts.push(format!(
                "{name} in {engine}: gives values that are not finite"
            ));
        }
        let exact = reference.and_then(|(id, outputs)| Some((id, outputs.get(segment)?)));
        let agreement = exact.map(|(_, (exact, _))| compare(output, exact, None));
        if let (Some(agreement), Some((against, _))) = (&agreement, exact) {
            let precision = manifest.segments[segment].precision;
            if agreement.cosine < least_cosine(precision) {
                report.doubts.push(format!(
                    "{name} in {engine}: cosine {} with {against} is less than {} gives at worst ({})",
                    agreement.cosine,
                    precision.name(),
                    least_cosine(precision)
                ));
            }
        }
        report.segments.push(Row {
            segment: name,
            engine: engine.to_owned(),
            ms: (ms * 1e3).round() / 1e3,
            against: exact.map_or_else(|| "-".to_owned(), |(id, _)| id.clone()),
            agreement,
        });
    }
}

/// Below this something other than rounding is at work.
const fn least_cosine(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => 0.999_999,
        Precision::F16 => 0.999_9,
        Precision::Int8 => 0.995,
        Precision::Int4 => 0.9,
    }
}

impl Report {
    /// The report as a table.
    pub fn table(&self) -> String {
        let mut out = format!("{}: {} files as recorded\n", self.id, self.files);
        if !self.segments.is_empty() {
            out += &format!(
                "{:<11} {:<14} {:>10} {:>12} {:>10}  against\n",
                "segment", "engine", "ms", "cosine", "rel. err."
            );
        }
        for row in &self.segments {
            let (cosine, error) = match &row.agreement {
                Some(found) => (
                    format!("{:.8}", found.cosine),
                    format!("{:.1e}", found.relative_error),
                ),
                None => ("-".to_owned(), "-".to_owned()),
            };
            out += &format!(
                "{:<11} {:<14} {:>10.2} {cosine:>12} {error:>10}  {}\n",
                row.segment, row.engine, row.ms, row.against
            );
        }
        for (engine, reason) in &self.absent {
            out += &format!("{engine} is not present: {reason}\n");
        }
        for doubt in &self.doubts {
            out += &format!("WRONG: {doubt}\n");
        }
        out
    }
}
