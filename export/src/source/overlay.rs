//! The published files as one model: later layers win, and a key that no layer
//! supplies is an error that names the file expected to hold it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::discover::Kind;
use super::{Scan, SourceFile, Tensor, read_with};
use crate::{Error, Result};

/// The language model's keys carry this prefix in the whole model.
const LLM: &str = "llm_model.";
const VISION: &str = "visual_encoder.";
const INDEXES: [&str; 2] = [
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
];
const SINGLE: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

/// Where the published files are.
#[derive(Debug, Clone)]
pub struct SourcePaths {
    /// The EVA vision encoder.
    pub vit: PathBuf,
    /// The InstructBLIP weights, where they are used.
    pub instructblip: Option<PathBuf>,
    /// The DeltaVLM checkpoint.
    pub checkpoint: PathBuf,
    /// The language model's directory in Hugging Face layout.
    pub llm: PathBuf,
    /// The Q-Former tokenizer's vocabulary.
    pub bert_vocab: PathBuf,
    /// Overrides, where given.
    pub config: Option<PathBuf>,
    /// Entries of the checkpoint in which containers of configuration libraries are
    /// passed over.
    pub skip: Vec<String>,
}

/// All tensors of the model by their DeltaVLM names.
#[derive(Debug)]
pub struct CheckpointOverlay {
    tensors: BTreeMap<String, Tensor>,
    files: Vec<(String, Arc<SourceFile>)>,
    paths: SourcePaths,
    shards: BTreeMap<String, String>,
    llm_files: String,
    unused: Vec<(PathBuf, Vec<String>)>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl CheckpointOverlay {
    /// Opens every file and lays them over one another. No tensor is read yet.
    ///
    /// # Errors
    /// When a file is missing, damaged, hostile, or no weight file.
    pub fn open(paths: &SourcePaths) -> Result<Self> {
        let mut layers = Self {
            tensors: BTreeMap::new(),
            files: Vec::new(),
            paths: paths.clone(),
            shards: BTreeMap::new(),
            llm_files: String::new(),
            unused: Vec::new(),
        };
        layers.add("vit", &paths.vit, Some(Kind::Vit), |key| {
            Some(if key.starts_with(VISION) {
                key.to_owned()
            } else {
                format!("{VISION}{key}")
            })
        })?;
        if let Some(path) = &paths.instructblip {
            layers.add("instructblip", path, Some(Kind::InstructBlip), |key| {
                Some(key.to_owned())
            })?;
        }
        layers.add_llm(&paths.llm)?;
        layers.add(
            "checkpoint",
            &paths.checkpoint,
            Some(Kind::Checkpoint),
            |key| Some(key.to_owned()),
        )?;
        layers.note("bert/vocab.txt", &paths.bert_vocab)?;
        if let Some(path) = &paths.config {
            layers.note("config", path)?;
        }
        for name in ["config.json", "tokenizer.model"] {
            layers.note(&format!("llm/{name}"), &paths.llm.join(name))?;
        }
        layers.files.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(layers)
    }

    /// Where the files are.
    pub fn paths(&self) -> &SourcePaths {
        &self.paths
    }

    /// Every file that was read, with what it supplied, sorted by that.
    pub fn files(&self) -> &[(String, Arc<SourceFile>)] {
        &self.files
    }

    /// A pass over each of [`Layers::files`], for its hash and its checksums.
    pub(crate) fn scans(&self) -> Vec<Scan> {
        let scan =
            |(_, file): &(_, Arc<SourceFile>)| Scan::new(file.clone(), self.tensors.values());
        self.files.iter().map(scan).collect()
    }

    /// Whether some layer supplies a key.
    pub fn has(&self, key: &str) -> bool {
        self.tensors.contains_key(key)
    }

    /// The tensor of a key.
    ///
    /// # Errors
    /// [`Error::MissingKey`] names the key and the file expected to hold it.
    pub fn get(&self, key: &str) -> Result<&Tensor> {
        self.tensors.get(key).ok_or_else(|| Error::MissingKey {
            key: key.to_owned(),
            expected: self.expected(key),
        })
    }

    /// How many numbered items follow `prefix`: one more than the highest index.
    pub fn count(&self, prefix: &str) -> usize {
        let numbers = self
            .tensors
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter_map(|(key, _)| key[prefix.len()..].split('.').next()?.parse::<usize>().ok());
        numbers
            .filter(|&n| n < 4096)
            .max()
            .map_or(0, |last| last + 1)
    }

    /// The keys that begin with `prefix`, sorted.
    pub fn keys_of<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        let keys = self.tensors.range(prefix.to_owned()..);
        keys.map(|(key, _)| key.as_str())
            .take_while(move |key| key.starts_with(prefix))
    }

    fn expected(&self, key: &str) -> String {
        if let Some(own) = key.strip_prefix(VISION) {
            return format!(
                "{} as `{own}` (or in the checkpoint)",
                self.paths.vit.display()
            );
        }
        if let Some(own) = key.strip_prefix(LLM) {
            return match self.shards.get(own) {
                Some(shard) => format!(
                    "{} as `{own}`, which the index names",
                    self.paths.llm.join(shard).display()
                ),
                None => format!(
                    "{} as `{own}`",
                    self.paths.llm.join(&self.llm_files).display()
                ),
            };
        }
        self.paths.checkpoint.display().to_string()
    }

    fn add(
        &mut self,
        role: &str,
        path: &Path,
        expected: Option<Kind>,
        rename: impl Fn(&str) -> Option<String>,
    ) -> Result<()> {
        let file = SourceFile::open(path)?;
        let tensors = unwrapped(read_with(&file, &self.paths.skip)?);
        refuse_adapters(path, &tensors)?;
        if let (Some(expected), Some(found)) = (expected, Kind::of(&tensors)) {
            refuse_swapped(path, expected, found)?;
        }
        let mut unused = Vec::new();
        for (key, tensor) in tensors {
            let Some(renamed) = rename(&key) else {
                continue;
            };
            if !KNOWN.iter().any(|prefix| renamed.starts_with(prefix)) {
                unused.push(key);
            }
            self.tensors.insert(renamed, tensor);
        }
        if !unused.is_empty() {
            self.unused.push((path.to_owned(), unused));
        }
        self.files.push((role.to_owned(), file));
        Ok(())
    }

    /// Keys of each file that no part of the model has, so that a checkpoint of
    /// another architecture is not taken for this one in silence.
    pub fn unused(&self) -> &[(PathBuf, Vec<String>)] {
        &self.unused
    }

    fn note(&mut self, role: &str, path: &Path) -> Result<()> {
        let file = SourceFile::open(path)?;
        if file.is_empty() {
            return Err(Error::NotWeights {
                path: path.to_owned(),
                problem: "is empty; download it again".to_owned(),
            });
        }
        self.files.push((role.to_owned(), file));
        Ok(())
    }

    fn add_llm(&mut self, directory: &Path) -> Result<()> {
        let rename = |key: &str| {
            // LLaVA before and after transformers 4.52.
            let own = match key.strip_prefix("model.language_model.") {
                Some(own) => format!("model.{own}"),
                None => key
                    .strip_prefix("language_model.")
                    .unwrap_or(key)
                    .to_owned(),
            };
            (own.starts_with("model.layers.")
                || [
                    "model.embed_tokens.weight",
                    "model.norm.weight",
                    "lm_head.weight",
                ]
                .contains(&own.as_str()))
            .then(|| format!("{LLM}{own}"))
        };
        for name in INDEXES {
            let path = directory.join(name);
            if !path.exists() {
                continue;
            }
            let text = std::fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
            let index: Index = serde_json::from_str(&text).map_err(|e| {
                Error::config(
                    &path,
                    format!("is not a shard index: {e}; download it again"),
                )
            })?;
            let shards: BTreeSet<&String> = index.weight_map.values().collect();
            for shard in shards {
                if !is_plain_file_name(shard) {
                    return Err(Error::config(
                        &path,
                        format!("names `{shard}`, which is not a plain file name"),
                    ));
                }
                let shard_path = directory.join(shard);
                if !shard_path.exists() {
                    return Err(Error::config(
                        &path,
                        format!(
                            "lists `{shard}`, which is not in {}; download it",
                            directory.display()
                        ),
                    ));
                }
                self.add(&format!("llm/{shard}"), &shard_path, None, rename)?;
            }
            self.shards = index.weight_map;
            self.llm_files = name.to_owned();
            return self.note(&format!("llm/{name}"), &path);
        }
        for name in SINGLE {
            let path = directory.join(name);
            if path.exists() {
                self.llm_files = name.to_owned();
                return self.add(&format!("llm/{name}"), &path, None, rename);
            }
        }
        Err(Error::config(
            directory,
            format!(
                "holds no language model: none of {}, {} is there; --llm takes the directory that has config.json",
                INDEXES.join(", "),
                SINGLE.join(", ")
            ),
        ))
    }
}

/// What the model reads, and heads of training that it does not.
const KNOWN: [&str; 20] = [
    VISION,
    LLM,
    "ln_vision.",
    "query_tokens",
    "Qformer.",
    "llm_proj.",
    "context1.",
    "context2.",
    "context3.",
    "gate1.",
    "gate2.",
    "mask_decoder.",
    "vision_proj.",
    "text_proj.",
    "temp",
    "itm_head.",
    "opt_proj.",
    "opt_model.",
    "t5_proj.",
    "t5_model.",
];

/// The tensors without the prefix that `DistributedDataParallel` puts before each key.
fn unwrapped(tensors: BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    let bare = |key: String| match key.strip_prefix("module.") {
        Some(bare) => bare.to_owned(),
        None => key,
    };
    tensors
        .into_iter()
        .map(|(key, tensor)| (bare(key), tensor))
        .collect()
}

/// An adapter that is left out changes every answer, so it is never passed over. Its
/// scale is not in the file, so it cannot be merged here.
fn refuse_adapters(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    let is_adapter = |key: &&String| key.contains("lora_") || key.contains(".base_layer.");
    match tensors.keys().find(is_adapter) {
        None => Ok(()),
        Some(key) => Err(Error::NotWeights {
            path: path.to_owned(),
            problem: format!(
                "holds a LoRA adapter (`{key}`), whose scale it does not say; merge it before saving, with peft's `merge_and_unload()`"
            ),
        }),
    }
}

fn refuse_swapped(path: &Path, expected: Kind, found: Kind) -> Result<()> {
    // A checkpoint may be laid under another one.
    let layered = (expected, found) == (Kind::InstructBlip, Kind::Checkpoint)
        || (expected, found) == (Kind::Checkpoint, Kind::InstructBlip);
    if expected == found || layered {
        return Ok(());
    }
    let ((_, given), (what, right)) = (expected.described(), found.described());
    Err(Error::Usage(format!(
        "{}: was given as {given} and holds {what}; give it as {right}",
        path.display()
    )))
}

fn is_plain_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!(
        (components.next(), components.next()),
        (Some(Component::Normal(_)), None)
    )
}
