//! `config.json` of the language model.

use std::path::Path;

use deltavlm_bundle::LanguageModel;

use crate::{Error, Result};

/// What the graph needs beyond dimensions.
#[derive(Debug)]
pub(crate) struct LlmConfig {
    pub(crate) rms_epsilon: f32,
    pub(crate) rope_base: f64,
    pub(crate) rope_factor: f64,
    pub(crate) tied: bool,
    /// `bos_token_id`: first id of every generated sequence.
    pub(crate) start_id: u32,
}

/// What Hugging Face's `LlamaConfig` has where a file leaves a field out. A LLaVA
/// `text_config` stores only what differs from these.
const LLAMA_DEFAULTS: [(&str, usize); 5] = [
    ("hidden_size", 4096),
    ("intermediate_size", 11008),
    ("num_hidden_layers", 32),
    ("num_attention_heads", 32),
    ("vocab_size", 32_000),
];

/// Reads dimensions and constants; what is not LLaMA is refused.
///
/// # Errors
/// [`Error::Config`] names the field.
pub(crate) fn language_model(path: &Path) -> Result<(LanguageModel, LlmConfig)> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|e| Error::config(path, e.to_string()))?;
    let nested = value.get("text_config").filter(|text| text.is_object());
    let value = nested.unwrap_or(&value);
    let size = |field: &str| match value.get(field) {
        None | Some(serde_json::Value::Null) => Ok(None),
        Some(number) => match number.as_u64() {
            Some(number) if (1..1 << 24).contains(&number) => Ok(Some(number as usize)),
            _ => Err(Error::config(
                path,
                format!("`{field}` is {number}, which is no size"),
            )),
        },
    };
    let needed = |field: &str| {
        let default = LLAMA_DEFAULTS.iter().find(|(name, _)| *name == field);
        let default = default.filter(|_| nested.is_some());
        let found = size(field)?.or(default.map(|(_, value)| *value));
        found.ok_or_else(|| {
            Error::config(
                path,
                format!("`{field}` is missing; take the config.json of the model"),
            )
        })
    };
    let number = |value: &serde_json::Value, field: &str| {
        value.get(field).and_then(serde_json::Value::as_f64)
    };
    for (field, usual) in [("hidden_act", "silu"), ("model_type", "llama")] {
        let found = value.get(field).and_then(serde_json::Value::as_str);
        if found.is_some_and(|found| {
            found != usual && !(field == "model_type" && found.contains("llava"))
        }) {
            return Err(Error::config(
                path,
                format!(
                    "`{field}` is `{}`; only LLaMA models with `{usual}` are supported",
                    found.unwrap_or_default()
                ),
            ));
        }
    }
    for field in ["attention_bias", "mlp_bias"] {
        if value.get(field).and_then(serde_json::Value::as_bool) == Some(true) {
            return Err(Error::config(
                path,
                format!("`{field}` is true; LLaMA models with these biases are not supported"),
            ));
        }
    }
    let (width, heads) = (needed("hidden_size")?, needed("num_attention_heads")?);
    let kv_heads = size("num_key_value_heads")?.unwrap_or(heads);
    let head_dim = size("head_dim")?.unwrap_or(width / heads);
    if !heads.is_multiple_of(kv_heads) || head_dim == 0 || !head_dim.is_multiple_of(2) {
        return Err(Error::config(
            path,
            format!(
                "{heads} heads of width {head_dim} with {kv_heads} key/value heads are impossible"
            ),
        ));
    }
    let none = serde_json::Value::Null;
    let rope = value.get("rope_parameters").filter(|v| v.is_object());
    let scaling = rope.or_else(|| value.get("rope_scaling")).unwrap_or(&none);
    let kind = scaling
        .get("rope_type")
        .or_else(|| scaling.get("type"))
        .and_then(serde_json::Value::as_str);
    let rope_factor = match kind {
        None | Some("default") => 1.0,
        Some("linear") => number(scaling, "factor").unwrap_or(1.0),
        Some(other) => {
            return Err(Error::config(
                path,
                format!("rotary scaling of type `{other}` is not supported; `linear` and none are"),
            ));
        }
    };
    let start_id = match value
        .get("bos_token_id")
        .and_then(serde_json::Value::as_u64)
    {
        None => deltavlm_bundle::DEFAULT_START_ID,
        Some(id) => u32::try_from(id)
            .map_err(|_| Error::config(path, format!("`bos_token_id` is {id}, which is no id")))?,
    };
    let positive = |value: f64, field: &str| {
        if value.is_finite() && value > 0.0 {
            Ok(value)
        } else {
            Err(Error::config(
                path,
                format!("`{field}` is {value}, which must be positive"),
            ))
        }
    };
    let rope_base = rope
        .and_then(|rope| number(rope, "rope_theta"))
        .or_else(|| number(value, "rope_theta"));
    let config = LlmConfig {
        rms_epsilon: positive(
            number(value, "rms_norm_eps").unwrap_or(1e-6),
            "rms_norm_eps",
        )? as f32,
        rope_base: positive(rope_base.unwrap_or(10_000.0), "rope_theta")?,
        rope_factor: positive(rope_factor, "rope_scaling.factor")?,
        tied: value
            .get("tie_word_embeddings")
            .and_then(serde_json::Value::as_bool)
            .unwrap_or(false),
        start_id,
    };
    let model = LanguageModel {
        width,
        layers: needed("num_hidden_layers")?,
        heads,
        kv_heads,
        head_dim,
        mlp_width: needed("intermediate_size")?,
        vocab_size: needed("vocab_size")?,
        max_positions: size("max_position_embeddings")?.unwrap_or(2048).min(32_768),
    };
    Ok((model, config))
}
