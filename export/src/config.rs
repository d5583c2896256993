//! `deltavlm.json`: what the weight files do not say, and what a user overrides.

use std::collections::HashMap;
use std::path::Path;

use deltavlm_bundle::{Fusion, Trust};
use deltavlm_messages::Instruction;
use serde::Deserialize;

use crate::{Error, Result};

/// Overrides; every field may be absent. Unknown fields are refused, since a
/// misspelt override would otherwise be silently without effect.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Model name in the bundle; `deltavlm` unless given.
    pub name: Option<String>,
    /// The vision encoder.
    pub vision: VisionConfig,
    /// The Q-Former.
    pub qformer: QFormerConfig,
    /// The mask branch.
    pub mask: MaskConfig,
    /// Text rules.
    pub text: TextConfig,
    /// Decoding.
    pub generation: GenerationConfig,
    /// Prompts and grammars.
    pub instructions: HashMap<Instruction, InstructionConfig>,
    /// Weights of the one finding per pair; the default ones unless given.
    pub fusion: Option<Fusion>,
    /// Statistics of what the model learned; the file lies beside this one.
    pub trust: Option<Trust>,
}

/// Overrides of the vision encoder.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct VisionConfig {
    pub depth: Option<usize>,
    pub heads: Option<usize>,
    pub patch_size: Option<usize>,
    pub image_size: Option<usize>,
}

/// Overrides of the Q-Former.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct QFormerConfig {
    pub heads: Option<usize>,
    pub max_text_tokens: Option<usize>,
}

/// What the tensors of the mask branch do not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MaskConfig {
    /// Side of the mask; 256 unless given.
    pub size: Option<usize>,
}

/// Overrides of text processing.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct TextConfig {
    pub question_prefix: Option<String>,
    pub answer_prefix: Option<String>,
    pub max_words: Option<usize>,
}

/// Overrides of decoding.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct GenerationConfig {
    pub repetition_penalty: Option<f32>,
    pub max_tokens: Option<usize>,
    pub bos_id: Option<u32>,
    pub start_id: Option<u32>,
    pub eos_id: Option<u32>,
    pub stop_ids: Option<Vec<u32>>,
}

/// Overrides of one fixed instruction.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InstructionConfig {
    /// Another prompt than the published one.
    pub prompt: Option<String>,
    /// A regular expression that every answer matches.
    pub grammar: Option<String>,
}

impl Config {
    /// Reads a configuration file; without one nothing is overridden.
    ///
    /// # Errors
    /// [`Error::Config`] names the field.
    pub fn read(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else {
            return Ok(Self::default());
        };
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        serde_json::from_str(&text).map_err(|e| Error::config(path, e.to_string()))
    }
}
