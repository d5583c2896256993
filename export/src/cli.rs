//! The command line.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use deltavlm_bundle::{Manifest, Precision, Segment, Target};

use crate::build::{Measure, Options, build};
use crate::source::{Given, SourcePaths, discover};
use crate::synth::{Shapes, Size, synth};
use crate::{Error, Result};

/// Turns the published DeltaVLM weights into a bundle that the board runs.
#[derive(Debug, Parser)]
#[command(name = "dvlm-export", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build a bundle from the published files.
    ///
    /// The files are layered: the vision encoder first, then InstructBLIP where
    /// given, then the DeltaVLM checkpoint; a later file wins. A missing tensor is
    /// an error that names the file expected to hold it. Nothing is executed: a
    /// pickle that asks for more than tensors is refused by name.
    ///
    /// With DIR, the files are found in that folder and below by what they contain,
    /// whatever their names; a flag names one of them explicitly.
    ///
    /// A mask branch, `mask_decoder.*` of the checkpoint, becomes the segment `mask`;
    /// docs/bundle-format.md lists the layout that is read.
    ///
    /// The bundle appears whole or not at all, and the same files give the same
    /// bytes on every machine.
    #[command(after_help = BUILD_EXAMPLE)]
    Build(Build),
    /// Print where the published files come from, what they need, and what to do next.
    Sources,
    /// Write a synthetic model in the published layouts, with random weights.
    ///
    /// For measuring a board without the published weights: build a bundle from it
    /// and run `dvlm bench`. `tiny` is for tests, `mid` has the published widths
    /// with 4 vision blocks and 4 language-model layers (about 3 GB), `full` every
    /// layer (about 18 GB). The same size and seed give the same bytes.
    Synth(Synth),
    /// Check a bundle: hashes, graphs, every segment in every engine present.
    ///
    /// Prints a table and exits non-zero on any doubt. With --against, outputs are
    /// compared with those of another bundle of the same model, f32 say; without,
    /// the engines are compared with one another.
    #[cfg(feature = "verify")]
    Verify(Verify),
}

const BUILD_EXAMPLE: &str = "\
Examples, the published files for a CPU board (about 5.3 GB):
  dvlm-export build originals --precision int4 --segment-precision vision=int8 --out deltavlm-int4
  dvlm-export build --vit eva_vit_g.pth --checkpoint checkpoint_best.pth \\
      --llm vicuna-7b-v1.5 --bert-vocab vocab.txt \\
      --precision int4 --segment-precision vision=int8 --out deltavlm-int4";

#[derive(Debug, Args)]
struct Build {
    /// A folder with all published files.
    #[arg(value_name = "DIR")]
    originals: Option<PathBuf>,
    /// The EVA vision encoder, `eva_vit_g.pth`.
    #[arg(long, value_name = "FILE", required_unless_present = "originals")]
    vit: Option<PathBuf>,
    /// InstructBLIP weights, `instruct_blip_vicuna7b_trimmed.pth`, where the checkpoint needs them.
    #[arg(long, value_name = "FILE")]
    instructblip: Option<PathBuf>,
    /// The DeltaVLM checkpoint, `checkpoint_best.pth`.
    #[arg(long, value_name = "FILE", required_unless_present = "originals")]
    checkpoint: Option<PathBuf>,
    /// The language model's directory: Vicuna-7B v1.5 or LLaVA-1.5-7B in Hugging Face layout.
    #[arg(long, value_name = "DIR", required_unless_present = "originals")]
    llm: Option<PathBuf>,
    /// The vocabulary of bert-base-uncased, `vocab.txt`.
    #[arg(long, value_name = "FILE", required_unless_present = "originals")]
    bert_vocab: Option<PathBuf>,
    /// Head counts, depths, prompts and grammars that differ from the published ones.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Entries of the checkpoint, such as `config`, in which containers of configuration
    /// libraries (argparse, omegaconf) are passed over; nothing of them is read.
    #[arg(long, value_name = "ENTRY", value_delimiter = ',')]
    skip: Vec<String>,
    /// Precision of the weights.
    #[arg(long, value_enum, default_value = "int8")]
    precision: PrecisionArg,
    /// Exceptions, such as `vision=int8,qformer=f16`.
    #[arg(long, value_name = "SEGMENT=PRECISION", value_delimiter = ',', value_parser = segment_precision)]
    segment_precision: Vec<(Segment, Precision)>,
    /// What the graphs may contain: `cpu` runs in tract and ONNX Runtime, `tensorrt`
    /// has standard operators only and computes in f16.
    #[arg(long, value_enum, default_value = "cpu")]
    target: TargetArg,
    /// The bundle directory; an older bundle there is replaced at the end.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A directory with `A/` and `B/` pictures: scales are then chosen for what
    /// these pairs send through each layer. The last pair is held aside: a segment
    /// keeps the choice only where that pair comes out better, and the gain is told.
    #[arg(long, value_name = "DIR")]
    calibrate: Option<PathBuf>,
    /// Whether to run the model with the published and with the stored weights, for
    /// the fidelity table. For the published model that takes longer than the export
    /// itself; memory stays bounded.
    #[arg(long, value_enum, default_value = "always")]
    fidelity: Measure,
    /// Worker threads; all cores unless given.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Print the manifest as JSON on stdout.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Synth {
    /// How large.
    #[arg(long, value_enum)]
    size: SizeArg,
    /// Another seed gives other weights.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The directory to write: `eva_vit_g.pth`, `checkpoint_best.pth`, `llm/`, `bert/vocab.txt`, `deltavlm.json`.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// With a mask branch in the checkpoint.
    #[arg(long)]
    mask: bool,
    /// Worker threads; all cores unless given.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

#[cfg(feature = "verify")]
#[derive(Debug, Args)]
struct Verify {
    /// The bundle directory.
    #[arg(value_name = "DIR")]
    bundle: PathBuf,
    /// A bundle of the same model to compare with.
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// The ONNX Runtime library; otherwise ORT_DYLIB_PATH and the usual places.
    #[arg(long, value_name = "PATH")]
    ort_library: Option<PathBuf>,
    /// Threads of the engines; all cores unless given.
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SizeArg {
    Tiny,
    Mid,
    Full,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PrecisionArg {
    F32,
    F16,
    Int8,
    Int4,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TargetArg {
    Cpu,
    Tensorrt,
}

impl From<PrecisionArg> for Precision {
    fn from(precision: PrecisionArg) -> Self {
        match precision {
            PrecisionArg::F32 => Self::F32,
            PrecisionArg::F16 => Self::F16,
            PrecisionArg::Int8 => Self::Int8,
            PrecisionArg::Int4 => Self::Int4,
        }
    }
}

fn segment_precision(text: &str) -> std::result::Result<(Segment, Precision), String> {
    let (segment, precision) = text
        .split_once('=')
        .ok_or("write it as SEGMENT=PRECISION")?;
    let names = Segment::ALL.map(Segment::name).join(", ");
    let segment = Segment::ALL
        .into_iter()
        .find(|known| known.name() == segment)
        .ok_or_else(|| format!("there is no segment `{segment}`; there are {names}"))?;
    let precision = PrecisionArg::from_str(precision, false).map_err(|_| {
        format!("there is no precision `{precision}`; there are f32, f16, int8, int4")
    })?;
    Ok((segment, precision.into()))
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Build(arguments) => run_build(arguments),
        Command::Sources => {
            print!("{}", crate::published::sources());
            Ok(())
        }
        Command::Synth(arguments) => run_synth(&arguments),
        #[cfg(feature = "verify")]
        Command::Verify(arguments) => run_verify(arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dvlm-export: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_build(arguments: Build) -> Result<()> {
    let target = match arguments.target {
        TargetArg::Cpu => Target::Cpu,
        TargetArg::Tensorrt => Target::Tensorrt,
    };
    let options = Options {
        paths: source_paths(&arguments)?,
        precision: arguments.precision.into(),
        segment_precision: arguments
            .segment_precision
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
        target,
        calibrate: arguments.calibrate,
        measure: arguments.fidelity,
        threads: threads(arguments.threads)?,
        show_progress: !arguments.json,
        out: arguments.out,
    };
    let manifest = build(&options)?;
    if arguments.json {
        print!("{}", manifest.to_json());
    } else {
        report(&manifest);
    }
    Ok(())
}

/// Where the files are: what a flag names, and what was found for the rest.
fn source_paths(arguments: &Build) -> Result<SourcePaths> {
    let Build {
        originals,
        vit,
        instructblip,
        checkpoint,
        llm,
        bert_vocab,
        config,
        skip,
        ..
    } = arguments;
    if let (Some(vit), Some(checkpoint), Some(llm), Some(bert_vocab)) =
        (vit, checkpoint, llm, bert_vocab)
    {
        return Ok(SourcePaths {
            vit: vit.clone(),
            instructblip: instructblip.clone(),
            checkpoint: checkpoint.clone(),
            llm: llm.clone(),
            bert_vocab: bert_vocab.clone(),
            config: config.clone(),
            skip: skip.clone(),
        });
    }
    let Some(folder) = originals else {
        return Err(Error::Usage(
            "give the folder with the published files, or --vit, --checkpoint, --llm and --bert-vocab".to_owned(),
        ));
    };
    let given = Given {
        vit: vit.clone(),
        instructblip: instructblip.clone(),
        checkpoint: checkpoint.clone(),
        llm: llm.clone(),
        bert_vocab: bert_vocab.clone(),
        config: config.clone(),
    };
    discover(folder, given, skip)
}

fn run_synth(arguments: &Synth) -> Result<()> {
    let size = match arguments.size {
        SizeArg::Tiny => Size::Tiny,
        SizeArg::Mid => Size::Mid,
        SizeArg::Full => Size::Full,
    };
    let shapes = Shapes {
        mask: arguments.mask,
        ..Shapes::of(size)
    };
    synth(
        &shapes,
        arguments.seed,
        &arguments.out,
        threads(arguments.threads)?,
        true,
    )
}

#[cfg(feature = "verify")]
fn run_verify(arguments: Verify) -> Result<()> {
    let subject = crate::verify::Subject {
        bundle: arguments.bundle,
        against: arguments.against,
        ort_library: arguments.ort_library,
        threads: arguments.threads,
    };
    let report = crate::verify::verify(&subject)?;
    if arguments.json {
        println!(
            "{}",
            serde_json::to_string_pretty(&report).expect("plain data")
        );
    } else {
        print!("{}", report.table());
    }
    match report.doubts.first() {
        None => Ok(()),
        Some(doubt) => Err(Error::CheckFailed(format!(
            "{} found wrong; the first: {doubt}",
            report.doubts.len()
        ))),
    }
}

fn threads(given: Option<usize>) -> Result<usize> {
    match given {
        Some(0) => Err(Error::Usage(
            "--threads 0 would do nothing; give at least 1".to_owned(),
        )),
        Some(threads) => Ok(threads),
        None => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
    }
}

fn report(manifest: &Manifest) {
    let size = |name: &str| {
        let found = manifest.files.iter().find(|file| file.path == name);
        found.map_or(0.0, |file| file.bytes as f64 / 1e6)
    };
    println!("{}", manifest.id);
    for (segment, record) in &manifest.segments {
        println!(
            "  {:<10} {:<5} {:>12} parameters {:>9.1} MB",
            segment.name(),
            record.precision.name(),
            record.parameters,
            size(&record.weights)
        );
        if let Some(calibration) = &record.calibration {
            println!(
                "             calibrated with {} pairs: relative error {:+.1} %, {}",
                calibration.pairs,
                -100.0 * calibration.gain,
                if calibration.kept { "kept" } else { "not kept" }
            );
        }
    }
    for (name, fidelity) in &manifest.fidelity {
        let agreement = fidelity
            .next_token_agreement
            .map_or_else(String::new, |share| {
                format!(", {:.1} % of next tokens agree", 100.0 * share)
            });
        println!(
            "  fidelity {name:<24} cosine {:.6}, relative error {}{agreement}",
            fidelity.cosine, fidelity.relative_error
        );
    }
    let total: u64 = manifest.files.iter().map(|file| file.bytes).sum();
    println!(
        "  {:<16} {:>23} {:>9.1} MB",
        "embedding",
        "",
        size(&manifest.embedding.file)
    );
    println!(
        "  {:<16} {:>23} {:>9.1} MB",
        "bundle",
        "",
        total as f64 / 1e6
    );
}
