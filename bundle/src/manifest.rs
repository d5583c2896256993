//! `bundle.json`: model dimensions, segments, provenance and fidelity.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use deltavlm_messages::Instruction;

use crate::{
    AnswerKind, Error, FORMAT_VERSION, FileRecord, Fusion, MANIFEST_FILE, Trust, sha256_of_bytes,
};

/// Stands for the seal in the text that is sealed.
const UNSEALED: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The content of `bundle.json`. Unknown fields are refused: a newer writer must
/// raise [`FORMAT_VERSION`] instead of being half understood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always [`FORMAT_VERSION`].
    pub format: u32,
    /// Model name, precision and the first 8 digits of the hash over all files.
    pub id: String,
    /// What the graphs may contain: see [`Target`].
    pub target: Target,
    /// Dimensions of every part.
    pub model: Model,
    /// How a question becomes the text that both tokenizers see.
    pub text: PromptTemplate,
    /// Special tokens and the published decoding defaults.
    pub generation: Generation,
    /// One record for every graph; `mask` may be absent.
    pub segments: BTreeMap<Segment, SegmentRecord>,
    /// The language model's token table.
    pub embedding: Embedding,
    /// File names of the two tokenizers.
    pub tokenizers: TokenizerFiles,
    /// The fixed instructions with their prompts, token ids and answer grammars.
    pub instructions: Vec<InstructionRecord>,
    /// Size and hash of every other file in the bundle, sorted by path.
    pub files: Vec<FileRecord>,
    /// The files that the bundle was made from, sorted by role.
    pub sources: Vec<SourceRecord>,
    /// Agreement with the f32 reference, by segment name and `end_to_end`.
    pub fidelity: BTreeMap<String, Fidelity>,
    /// How the answers of a survey are fused into one finding; [`Fusion::default`]
    /// where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fusion: Option<Fusion>,
    /// How a pair is compared with what the model learned; absent where nothing is
    /// known about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Trust>,
    /// SHA-256 of this very file, its own 64 digits counted as zeros; empty where
    /// the writer gave none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub seal: String,
}

/// A graph of the bundle. Its file is `<name>.onnx`, its weights `<name>.weights`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Segment {
    /// One normalised image to patch features.
    Vision,
    /// Features of both dates to difference features (CSRM).
    Difference,
    /// Difference features and instruction tokens to projected queries.
    Qformer,
    /// Embeddings and the KV cache to logits of the last position.
    Decoder,
    /// Difference features to a change probability map.
    Mask,
}

impl Segment {
    /// Every segment in the order of computation; `Mask` is optional.
    pub const ALL: [Self; 5] = [
        Self::Vision,
        Self::Difference,
        Self::Qformer,
        Self::Decoder,
        Self::Mask,
    ];

    /// The name in file names, JSON and profiles.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vision => "vision",
            Self::Difference => "difference",
            Self::Qformer => "qformer",
            Self::Decoder => "decoder",
            Self::Mask => "mask",
        }
    }
}

/// Where the graphs are meant to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// Portable: ONNX standard operators, plus `MatMulNBits` for int8 and int4.
    Cpu,
    /// Only what TensorRT takes: standard operators in f32 or f16.
    Tensorrt,
}

/// Precision of a segment's weight matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// IEEE single: the reference.
    F32,
    /// IEEE half.
    F16,
    /// 8-bit blocks of 32, symmetric.
    Int8,
    /// 4-bit blocks of 32, symmetric.
    Int4,
}

impl Precision {
    /// The name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        }
    }
}

/// Dimensions of the whole model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Model {
    pub name: String,
    pub vision: Vision,
    pub qformer: QFormer,
    pub llm: LanguageModel,
}

/// The vision encoder (EVA-ViT) and its preprocessing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vision {
    /// Side of the square input, pixels.
    pub image_size: usize,
    /// Side of a patch, pixels.
    pub patch_size: usize,
    /// Number of transformer blocks.
    pub depth: usize,
    /// Channels of a token.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Channels inside the MLP.
    pub mlp_width: usize,
    /// Tokens of one image, class token included.
    pub tokens: usize,
    /// Subtracted from each channel of the picture scaled to 0..1.
    pub mean: [f32; 3],
    /// Divides each channel after that.
    pub std: [f32; 3],
}

/// The instruction-conditioned Q-Former.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QFormer {
    /// Channels of a token.
    pub width: usize,
    /// Number of layers; every second one, from the first, has cross-attention.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Number of learned query tokens.
    pub queries: usize,
    /// Instruction tokens beyond this are cut from the left.
    pub max_text_tokens: usize,
    /// Entries in the WordPiece vocabulary.
    pub vocab_size: usize,
}

/// The language model (LLaMA).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageModel {
    /// Channels of a token.
    pub width: usize,
    /// Number of layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; equal to `heads` without grouped-query attention.
    pub kv_heads: usize,
    /// Channels of a head.
    pub head_dim: usize,
    /// Channels inside the MLP.
    pub mlp_width: usize,
    /// Rows of the token table and of the logits.
    pub vocab_size: usize,
    /// Positions for which rotary tables exist.
    pub max_positions: usize,
}

/// How a question becomes text for the tokenizers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptTemplate {
    /// Put before a question; `q: ` as in training.
    pub question_prefix: String,
    /// Put before an earlier answer in a dialogue; `a: ` as in training.
    pub answer_prefix: String,
    /// Words kept after processing.
    pub max_words: usize,
}

/// `<s>` of every LLaMA tokenizer: what [`Generation::start_id`] is in bundles
/// that were written before the field existed.
pub const DEFAULT_START_ID: u32 = 1;

const fn default_start_id() -> u32 {
    DEFAULT_START_ID
}

/// Special tokens and decoding defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    /// Token put before every prompt (published: 2, `</s>`).
    pub bos_id: u32,
    /// First id of every generated sequence, the language model's own
    /// `bos_token_id`. It is never embedded, yet free decoding counts it as
    /// generated: the repetition penalty covers it and the length of a beam
    /// includes it. Bundles without the field get [`DEFAULT_START_ID`].
    #[serde(default = "default_start_id")]
    pub start_id: u32,
    /// Token that ends an answer.
    pub eos_id: u32,
    /// Padding token.
    pub pad_id: u32,
    /// Ids that the text of an answer leaves out (published: 2 and 0); only `eos_id`
    /// ends it.
    pub stop_ids: Vec<u32>,
    /// Divides (or multiplies, when negative) the logit of a token already generated.
    pub repetition_penalty: f32,
    /// Generated tokens at most, `start_id` not counted (published: 255, since
    /// `max_length` 256 includes it).
    pub max_new_tokens: usize,
}

/// One graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentRecord {
    /// The ONNX file.
    pub graph: String,
    /// Its external data file.
    pub weights: String,
    /// Precision of its weight matrices.
    pub precision: Precision,
    /// Number of weights, before quantisation.
    pub parameters: u64,
    /// What calibration did, where it was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
}

/// Scales chosen for what a user's pictures send through a segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Pairs that it looked at.
    pub pairs: usize,
    /// The share by which it lowers the segment's relative error on a pair that it
    /// did not look at; negative where it raises it.
    pub gain: f64,
    /// Whether the stored weights follow it: only where the gain is above 0.
    pub kept: bool,
}

/// The token table: row-major `[rows, width]`, little endian, from offset 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedding {
    /// The file.
    pub file: String,
    /// Rows: the vocabulary size.
    pub rows: usize,
    /// Columns: the language model's width.
    pub width: usize,
    /// Type of an element.
    pub element: ElementType,
}

/// Type of an element in a raw table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum ElementType {
    F32,
    F16,
}

/// File names of the tokenizers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerFiles {
    /// WordPiece vocabulary of the Q-Former, one token a line.
    pub qformer: String,
    /// SentencePiece model of the language model.
    pub llm: String,
}

/// A fixed instruction as this bundle's model knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstructionRecord {
    /// Which instruction.
    pub name: Instruction,
    /// The exact prompt, before text processing.
    pub prompt: String,
    /// WordPiece ids of the processed prompt, special tokens included.
    pub qformer_ids: Vec<u32>,
    /// SentencePiece ids of the processed prompt, `bos_id` included.
    pub llm_ids: Vec<u32>,
    /// How the answer is typed.
    pub answer: AnswerKind,
    /// Regular expression that every answer matches; absent for free text.
    pub grammar: Option<String>,
}

/// A file that the bundle was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceRecord {
    /// What it supplied: `vit`, `checkpoint`, `llm/config.json`, ...
    pub role: String,
    /// Its file name, without directories.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// How near a quantised part is to the f32 reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fidelity {
    /// Cosine similarity of the outputs, 1 is equal.
    pub cosine: f64,
    /// Norm of the difference over the norm of the reference.
    pub relative_error: f64,
    /// Share of next tokens that agree; end to end only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_token_agreement: Option<f64>,
}

impl Manifest {
    /// Reads `bundle.json` of a bundle directory and checks it against itself and
    /// against the sizes of the files on disk.
    ///
    /// # Errors
    /// [`Error`] names the file and the field at fault.
    pub fn read(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(MANIFEST_FILE);
        let text = std::fs::read_to_string(&path).map_err(|source| Error::Io {
            path: path.clone(),
            source,
        })?;
        let json = |source| Error::Json {
            path: path.clone(),
            source,
        };
        let value: serde_json::Value = serde_json::from_str(&text).map_err(json)?;
        let found = value
            .get("format")
            .and_then(serde_json::Value::as_u64)
            .unwrap_or(0);
        if found != u64::from(FORMAT_VERSION) {
            let found = u32::try_from(found).unwrap_or(u32::MAX);
            return Err(Error::Format {
                path,
                found,
                expected: FORMAT_VERSION,
            });
        }
        let manifest: Self = serde_json::from_value(value).map_err(json)?;
        manifest.check(&path)?;
        manifest
            .files
            .iter()
            .try_for_each(|file| file.check_size(directory))?;
        Ok(manifest)
    }

    /// The manifest as text: what [`Manifest::read`] reads.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a manifest is plain data");
        text.push('\n');
        text
    }

    /// The same manifest with its seal.
    #[must_use]
    pub fn sealed(mut self) -> Self {
        UNSEALED.clone_into(&mut self.seal);
        self.seal = sha256_of_bytes(self.to_json().as_bytes());
        self
    }

    /// Compares the seal of a bundle directory's manifest with its text.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the text is not the one that was sealed.
    pub fn check_seal(&self, directory: &Path) -> Result<(), Error> {
        let path = directory.join(MANIFEST_FILE);
        let text = std::fs::read_to_string(&path).map_err(|source| Error::Io {
            path: path.clone(),
            source,
        })?;
        let unsealed = text.replace(&format!("\"{}\"", self.seal), &format!("\"{UNSEALED}\""));
        if !self.seal.is_empty() && sha256_of_bytes(unsealed.as_bytes()) == self.seal {
            return Ok(());
        }
        Err(Error::Damaged {
            path,
            problem: "was changed after it was written: its `seal` does not match".to_owned(),
        })
    }

    /// The record of a fixed instruction.
    pub fn instruction(&self, name: Instruction) -> Option<&InstructionRecord> {
        self.instructions.iter().find(|record| record.name == name)
    }
}
