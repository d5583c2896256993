//! `dvlm-export build`: published files in, a bundle out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use deltavlm_bundle::{
    ElementType, Embedding, FORMAT_VERSION, FileRecord, Generation, InstructionRecord,
    MANIFEST_FILE, Manifest, Precision, PromptTemplate, Segment, SegmentRecord, SentencePiece,
    SourceRecord, Target, TokenizerFiles, WordPiece, sha256_of_bytes,
};
use deltavlm_messages::Instruction;
use prost::Message;

use crate::calibrate::{CalibrationContext, calibrate};
use crate::config::Config;
use crate::network::Network;
use crate::progress::Progress;
use crate::sample_images;
use crate::source::{CheckpointOverlay, SourcePaths};
use crate::staging_dir::StagingDir;
use crate::weights_layout::WeightsLayout;
use crate::weights_writer::{Output, write};
use crate::{Error, Result, grammar, graph};

const EMBEDDING: &str = "embedding.table";
const QFORMER_VOCABULARY: &str = "qformer-vocab.txt";
const LLM_TOKENIZER: &str = "llm-tokenizer.model";
/// Room for graphs and manifest beyond the files whose sizes are known.
const RESERVED_BYTES: u64 = 16 << 20;
/// Pairs that are taken from a folder: for calibration, and one to measure with.
const MAX_PAIRS: usize = 17;
/// The special token that begins and ends everything in the published model.
const END_OF_SENTENCE: u32 = 2;
/// `max_length` of the published decoding; it counts the start id.
const PUBLISHED_MAX_LENGTH: usize = 256;

/// Whether to measure what quantisation costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Measure {
    /// Whatever it takes.
    Always,
    /// Leave the fidelity table empty.
    Never,
}

/// What to build.
#[derive(Debug, Clone)]
pub struct Options {
    /// The published files.
    pub paths: SourcePaths,
    /// Precision of every segment that `segment_precision` does not name.
    pub precision: Precision,
    /// Exceptions.
    pub segment_precision: BTreeMap<Segment, Precision>,
    /// What the graphs may contain.
    pub target: Target,
    /// The bundle directory.
    pub out: PathBuf,
    /// Pictures to calibrate quantisation with: a directory with `A/` and `B/`.
    pub calibrate: Option<PathBuf>,
    /// Whether to measure what quantisation costs.
    pub measure: Measure,
    /// Worker threads.
    pub threads: usize,
    /// Whether a progress bar may be shown.
    pub show_progress: bool,
}

/// Builds a bundle.
///
/// # Errors
/// [`Error`] names the file at fault and the remedy; nothing is left behind.
pub fn build(options: &Options) -> Result<Manifest> {
    let config = Config::read(options.paths.config.as_deref())?;
    check_target(options)?;
    let layers = CheckpointOverlay::open(&options.paths)?;
    let words = WordPiece::open(&options.paths.bert_vocab)?;
    let pieces = SentencePiece::open(&options.paths.llm.join("tokenizer.model"))?;
    for (path, keys) in layers.unused() {
        eprintln!("{}", unused(path, keys));
    }
    let network = Network::new(layers, &config, pieces.len())?;
    network.model.check_vocabularies(
        (&options.paths.bert_vocab, &words),
        (&options.paths.llm.join("tokenizer.model"), &pieces),
    )?;
    let text = prompt_template(&config);
    let generation = generation(&config, &network, pieces.len());
    let instructions = instructions(&config, &network, &text, &generation, &words, &pieces)?;

    let mut built = segments(options, &network)?;
    let (embedding_layout, embedding) = embedding(options, &network)?;
    let folder = StagingDir::create(&options.out, MANIFEST_FILE)?;
    let bytes = built
        .values()
        .map(|segment| segment.layout.len())
        .sum::<u64>()
        + embedding_layout.len();
    folder.need(bytes + RESERVED_BYTES)?;
    let mut calibrated = BTreeMap::new();
    let mut fidelity = BTreeMap::new();
    let pairs = match &options.calibrate {
        Some(directory) => sample_images::folder(directory, &network.model.vision, MAX_PAIRS)?,
        None => Vec::new(),
    };
    // Measured with a pair that calibration does not see.
    let (pair, seen) = match pairs.split_last() {
        Some((pair, seen)) => (pair.clone(), seen),
        None => (sample_images::built_in(&network.model.vision), &[][..]),
    };
    let probe = CalibrationContext {
        network: &network,
        embedding: &embedding_layout,
        pair: &pair,
        instruction: fidelity_instruction(&network, &instructions),
        threads: options.threads,
    };
    if options.calibrate.is_some() || options.measure == Measure::Always {
        note(options, "measuring what the stored precision costs");
        let exact = probe.measured(&built).exact(&pair, probe.instruction)?;
        if options.calibrate.is_some() {
            note(options, &format!("calibrating with {} pairs", seen.len()));
            calibrated = calibrate(&probe, &exact, seen, &instructions, &mut built)?;
        }
        fidelity = probe
            .measured(&built)
            .fidelity(&exact, &pair, probe.instruction)?;
    }

    let records = built
        .iter()
        .map(|(&segment, built)| {
            let calibration = calibrated.remove(&segment);
            let record = SegmentRecord {
                calibration,
                ..record(options, segment, built)
            };
            (segment, record)
        })
        .collect();
    let tokenizers = copy_tokenizers(&options.paths, folder.path())?;
    if let (Some(trust), Some(config)) = (&config.trust, &options.paths.config) {
        let from = config.with_file_name(&trust.file);
        std::fs::copy(&from, folder.path().join(&trust.file)).map_err(|e| Error::io(&from, e))?;
    }
    let mut outputs = vec![Output {
        path: folder.path().join(EMBEDDING),
        layout: embedding_layout,
    }];
    for (segment, built) in built {
        let record = record(options, segment, &built);
        let path = folder.path().join(&record.graph);
        std::fs::write(&path, built.model.encode_to_vec()).map_err(|e| Error::io(&path, e))?;
        outputs.push(Output {
            path: folder.path().join(&record.weights),
            layout: built.layout,
        });
    }
    let progress = if options.show_progress {
        Progress::new("writing", bytes)
    } else {
        Progress::hidden()
    };
    let done = write(
        &outputs,
        &network.layers().scans(),
        options.threads,
        &progress,
    )?;
    progress.finish();

    let files = file_records(folder.path(), done.outputs)?;
    let manifest = Manifest {
        format: FORMAT_VERSION,
        id: identity(&network.model.name, options.precision, &files),
        target: options.target,
        model: network.model.clone(),
        text,
        generation,
        segments: records,
        embedding,
        tokenizers,
        instructions,
        files,
        sources: source_records(network.layers(), done.sources),
        fidelity,
        fusion: config.fusion,
        trust: config.trust,
        seal: String::new(),
    }
    .sealed();
    let path = folder.path().join(MANIFEST_FILE);
    std::fs::write(&path, manifest.to_json()).map_err(|e| Error::io(&path, e))?;
    // What would be refused later is refused now.
    let manifest = Manifest::read(folder.path())?;
    folder.publish()?;
    Ok(manifest)
}

/// A notice about tensors that no part of the model has.
fn unused(path: &Path, keys: &[String]) -> String {
    const NAMED: usize = 5;
    let named: Vec<&str> = keys.iter().take(NAMED).map(String::as_str).collect();
    let more = match keys.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let tensors = if keys.len() == 1 { "tensor" } else { "tensors" };
    format!(
        "notice: {}: {} {tensors} that the model does not have: `{}`{more}",
        path.display(),
        keys.len(),
        named.join("`, `")
    )
}

fn check_target(options: &Options) -> Result<()> {
    if options.target == Target::Cpu {
        return Ok(());
    }
    let all = options
        .segment_precision
        .values()
        .chain([&options.precision]);
    if all
        .into_iter()
        .any(|precision| matches!(precision, Precision::Int8 | Precision::Int4))
    {
        return Err(Error::Usage(
            "--target tensorrt takes --precision f32 or f16; int8 and int4 blocks are for --target cpu".to_owned(),
        ));
    }
    Ok(())
}

fn prompt_template(config: &Config) -> PromptTemplate {
    PromptTemplate {
        question_prefix: config
            .text
            .question_prefix
            .clone()
            .unwrap_or_else(|| "q: ".to_owned()),
        answer_prefix: config
            .text
            .answer_prefix
            .clone()
            .unwrap_or_else(|| "a: ".to_owned()),
        max_words: config.text.max_words.unwrap_or(50),
    }
}

fn generation(config: &Config, network: &Network, pieces: usize) -> Generation {
    let given = &config.generation;
    let eos_id = given.eos_id.unwrap_or(END_OF_SENTENCE);
    Generation {
        bos_id: given.bos_id.unwrap_or(END_OF_SENTENCE),
        start_id: given.start_id.unwrap_or(network.start_id()),
        eos_id,
        pad_id: pieces as u32,
        stop_ids: given.stop_ids.clone().unwrap_or_else(|| vec![eos_id, 0]),
        repetition_penalty: given.repetition_penalty.unwrap_or(1.5),
        max_new_tokens: given.max_tokens.unwrap_or(PUBLISHED_MAX_LENGTH - 1),
    }
}

fn instructions(
    config: &Config,
    network: &Network,
    text: &PromptTemplate,
    generation: &Generation,
    words: &WordPiece,
    pieces: &SentencePiece,
) -> Result<Vec<InstructionRecord>> {
    Instruction::SINGLE
        .into_iter()
        .filter_map(|name| Some((name, grammar::of(name)?)))
        .map(|(name, (answer, usual))| {
            let given = config.instructions.get(&name).cloned().unwrap_or_default();
            let prompt = given.prompt.unwrap_or_else(|| name.prompt().to_owned());
            let processed = text.question(&prompt);
            let qformer_ids = words.encode(&processed, network.model.qformer.max_text_tokens);
            let mut llm_ids = vec![generation.bos_id];
            llm_ids.extend(pieces.encode(&processed));
            Ok(InstructionRecord {
                name,
                prompt,
                qformer_ids,
                llm_ids,
                answer,
                grammar: given.grammar.or(usual),
            })
        })
        .collect()
}

fn precision_of(options: &Options, segment: Segment) -> Precision {
    options
        .segment_precision
        .get(&segment)
        .copied()
        .unwrap_or(options.precision)
}

fn segments(
    options: &Options,
    network: &Network,
) -> Result<BTreeMap<Segment, graph::SegmentGraph>> {
    let mut built = BTreeMap::new();
    for segment in Segment::ALL {
        let precision = precision_of(options, segment);
        let graph = match segment {
            Segment::Vision => graph::vision(network, precision, options.target)?,
            Segment::Difference => graph::difference(network, precision, options.target)?,
            Segment::Qformer => graph::qformer(network, precision, options.target)?,
            Segment::Decoder => graph::decoder(network, precision, options.target)?,
            Segment::Mask if graph::has_mask(network) => {
                graph::mask(network, precision, options.target)?
            }
            Segment::Mask => continue,
        };
        built.insert(segment, graph);
    }
    Ok(built)
}

fn record(options: &Options, segment: Segment, built: &graph::SegmentGraph) -> SegmentRecord {
    SegmentRecord {
        graph: format!("{}.onnx", segment.name()),
        weights: format!("{}.weights", segment.name()),
        precision: precision_of(options, segment),
        parameters: built.layout.parameters(),
        calibration: None,
    }
}

fn embedding(options: &Options, network: &Network) -> Result<(WeightsLayout, Embedding)> {
    let exact = precision_of(options, Segment::Decoder) == Precision::F32;
    let element = if exact {
        ElementType::F32
    } else {
        ElementType::F16
    };
    let mut layout = WeightsLayout::default();
    layout.rows(EMBEDDING, network.input_table()?, element);
    let record = Embedding {
        file: EMBEDDING.to_owned(),
        rows: network.model.llm.vocab_size,
        width: network.model.llm.width,
        element,
    };
    Ok((layout, record))
}

/// The instruction to measure with: the longest, for the most positions to
/// compare, or the shortest where every position costs seconds.
fn fidelity_instruction<'a>(
    network: &Network,
    instructions: &'a [InstructionRecord],
) -> &'a InstructionRecord {
    let by_length = |record: &&InstructionRecord| record.llm_ids.len();
    let large = network.model.llm.width * network.model.llm.layers > 16_384;
    let chosen = if large {
        instructions.iter().min_by_key(by_length)
    } else {
        instructions.iter().max_by_key(by_length)
    };
    chosen.expect("a bundle has the fixed instructions")
}

fn note(options: &Options, what: &str) {
    if options.show_progress {
        eprintln!("{what}");
    }
}

fn copy_tokenizers(paths: &SourcePaths, directory: &Path) -> Result<TokenizerFiles> {
    for (from, to) in [
        (paths.bert_vocab.clone(), QFORMER_VOCABULARY),
        (paths.llm.join("tokenizer.model"), LLM_TOKENIZER),
    ] {
        std::fs::copy(&from, directory.join(to)).map_err(|e| Error::io(&from, e))?;
    }
    Ok(TokenizerFiles {
        qformer: QFORMER_VOCABULARY.to_owned(),
        llm: LLM_TOKENIZER.to_owned(),
    })
}

/// Size and hash of every file, sorted by name; the outputs are known already.
fn file_records(directory: &Path, outputs: Vec<FileRecord>) -> Result<Vec<FileRecord>> {
    let mut records: BTreeMap<String, FileRecord> = outputs
        .into_iter()
        .map(|record| (record.path.clone(), record))
        .collect();
    for entry in std::fs::read_dir(directory).map_err(|e| Error::io(directory, e))? {
        let entry = entry.map_err(|e| Error::io(directory, e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !records.contains_key(&name) {
            records.insert(name.clone(), FileRecord::measure(directory, &name)?);
        }
    }
    Ok(records.into_values().collect())
}

fn identity(name: &str, precision: Precision, files: &[FileRecord]) -> String {
    let lines: String = files
        .iter()
        .map(|file| format!("{}  {}\n", file.sha256, file.path))
        .collect();
    let hash = sha256_of_bytes(lines.as_bytes());
    format!("{name}-{}-{}", precision.name(), &hash[..8])
}

fn source_records(layers: &CheckpointOverlay, hashes: Vec<String>) -> Vec<SourceRecord> {
    let records = layers
        .files()
        .iter()
        .zip(hashes)
        .map(|((role, file), sha256)| SourceRecord {
            role: role.clone(),
            name: file
                .path()
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            bytes: file.len(),
            sha256,
        });
    records.collect()
}
