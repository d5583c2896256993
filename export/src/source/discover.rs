//! What a file of weights is, told by its content: finds the published files in one
//! folder whatever their names, and says when two arguments were swapped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{SourceFile, SourcePaths, Tensor, read_with};
use crate::config::Config;
use crate::{Error, Result};

/// Directories below the folder that are looked into.
const MAX_DEPTH: usize = 3;
/// A vocabulary or a configuration is not larger.
const MAX_TEXT_BYTES: u64 = 16 << 20;

/// The part of the model that a weight file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Vit,
    InstructBlip,
    Checkpoint,
    LanguageModel,
}

impl Kind {
    /// The kind of a file with these keys, where they tell one.
    pub(crate) fn of(tensors: &BTreeMap<String, Tensor>) -> Option<Self> {
        let has = |key: &str| tensors.contains_key(key);
        if has("query_tokens") {
            return Some(if has("context1.weight") {
                Self::Checkpoint
            } else {
                Self::InstructBlip
            });
        }
        if has("patch_embed.proj.weight") && has("pos_embed") {
            return Some(Self::Vit);
        }
        let is_llm = |key: &String| {
            key.ends_with("embed_tokens.weight") || key.contains(".self_attn.q_proj.weight")
        };
        tensors.keys().any(is_llm).then_some(Self::LanguageModel)
    }

    /// What it is and the flag that takes it.
    pub(crate) const fn described(self) -> (&'static str, &'static str) {
        match self {
            Self::Vit => ("the EVA vision encoder", "--vit"),
            Self::InstructBlip => ("InstructBLIP weights", "--instructblip"),
            Self::Checkpoint => ("a DeltaVLM checkpoint", "--checkpoint"),
            Self::LanguageModel => ("language-model weights", "--llm (its directory)"),
        }
    }
}

/// What was found so far.
#[derive(Default)]
struct Found {
    weights: BTreeMap<Kind, Vec<PathBuf>>,
    llm: Vec<PathBuf>,
    vocabularies: Vec<PathBuf>,
    configs: Vec<PathBuf>,
}

/// Paths that were named explicitly; what is absent is looked for.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)]
pub struct Given {
    pub vit: Option<PathBuf>,
    pub instructblip: Option<PathBuf>,
    pub checkpoint: Option<PathBuf>,
    pub llm: Option<PathBuf>,
    pub bert_vocab: Option<PathBuf>,
    pub config: Option<PathBuf>,
}

/// Finds the files of a model in a folder by what they contain. `skip` names entries
/// of checkpoints that are passed over.
///
/// # Errors
/// When something is missing, or two files could be the same part.
pub fn discover(folder: &Path, given: Given, skip: &[String]) -> Result<SourcePaths> {
    let mut found = Found::default();
    look(folder, 0, skip, &mut found)?;
    let mut weights = |given: Option<PathBuf>, kind: Kind| {
        let (what, flag) = kind.described();
        let paths = found.weights.remove(&kind).unwrap_or_default();
        one(folder, given, paths, what, flag)
    };
    let vit = weights(given.vit, Kind::Vit)?;
    let checkpoint = weights(given.checkpoint, Kind::Checkpoint)?;
    let instructblip = weights(given.instructblip, Kind::InstructBlip)?;
    let llm = one(folder, given.llm, found.llm, "a language model", "--llm")?;
    let words = "a BERT vocabulary";
    let bert_vocab = one(
        folder,
        given.bert_vocab,
        found.vocabularies,
        words,
        "--bert-vocab",
    )?;
    let config = one(
        folder,
        given.config,
        found.configs,
        "a configuration",
        "--config",
    )?;
    let required = |path: Option<PathBuf>, what: &str| {
        path.ok_or_else(|| {
            Error::Usage(format!(
                "{} holds no {what}; `dvlm-export sources` says where to get it",
                folder.display()
            ))
        })
    };
    Ok(SourcePaths {
        vit: required(vit, "EVA vision encoder (`eva_vit_g.pth`)")?,
        instructblip,
        checkpoint: required(checkpoint, "DeltaVLM checkpoint (`checkpoint_best.pth`)")?,
        llm: required(
            llm,
            "language model (a directory with config.json, tokenizer.model and weights)",
        )?,
        bert_vocab: required(
            bert_vocab,
            "BERT vocabulary (`vocab.txt` of bert-base-uncased)",
        )?,
        config,
        skip: skip.to_vec(),
    })
}

/// The path that was given, or the only one that was found.
fn one(
    folder: &Path,
    given: Option<PathBuf>,
    paths: Vec<PathBuf>,
    what: &str,
    flag: &str,
) -> Result<Option<PathBuf>> {
    if given.is_some() {
        return Ok(given);
    }
    match paths.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(only.clone())),
        [first, second, ..] => Err(Error::Usage(format!(
            "{}: both {} and {} are {what}; choose one with {flag}",
            folder.display(),
            first.display(),
            second.display()
        ))),
    }
}

fn look(folder: &Path, depth: usize, skip: &[String], found: &mut Found) -> Result<()> {
    if is_language_model(folder) {
        found.llm.push(folder.to_owned());
        return Ok(());
    }
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(|e| Error::io(folder, e))?;
    paths.sort();
    for path in paths {
        // Downloads in progress and caches of the download tools.
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden {
            continue;
        }
        if path.is_dir() {
            if depth < MAX_DEPTH {
                look(&path, depth + 1, skip, found)?;
            }
        } else if is_vocabulary(&path) {
            found.vocabularies.push(path);
        } else if is_config(&path) {
            found.configs.push(path);
        } else if has_weights_suffix(&path) {
            let file = SourceFile::open(&path)?;
            if let Some(kind) = Kind::of(&read_with(&file, skip)?) {
                found.weights.entry(kind).or_default().push(path);
            }
        }
    }
    Ok(())
}

/// Only such files are opened as weights: an archive of pictures is no wrong checkpoint.
fn has_weights_suffix(path: &Path) -> bool {
    let suffix = path.extension().and_then(|suffix| suffix.to_str());
    suffix.is_some_and(|suffix| ["pth", "pt", "bin", "ckpt", "safetensors"].contains(&suffix))
}

/// A directory in Hugging Face layout with a SentencePiece model.
fn is_language_model(folder: &Path) -> bool {
    folder.join("config.json").is_file() && folder.join("tokenizer.model").is_file()
}

fn small_text(path: &Path) -> Option<String> {
    let small = std::fs::metadata(path).is_ok_and(|file| file.len() <= MAX_TEXT_BYTES);
    small.then(|| std::fs::read_to_string(path).ok()).flatten()
}

fn is_vocabulary(path: &Path) -> bool {
    let text = path.extension().is_some_and(|suffix| suffix == "txt");
    text.then(|| small_text(path))
        .flatten()
        .is_some_and(|text| {
            ["[UNK]", "[CLS]", "[SEP]"]
                .iter()
                .all(|token| text.lines().any(|line| line == *token))
        })
}

/// A JSON object with nothing but overrides, of which there is one at least.
fn is_config(path: &Path) -> bool {
    let json = path.extension().is_some_and(|suffix| suffix == "json");
    json.then(|| small_text(path))
        .flatten()
        .is_some_and(|text| {
            serde_json::from_str::<Config>(&text).is_ok_and(|c| c != Config::default())
        })
}
