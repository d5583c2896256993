//! The network: every dimension from the tensors, every tensor checked against them.

use deltavlm_bundle::{Model, QFormer, Vision};

use crate::config::{Config, MaskConfig};
use crate::graph::QuantPolicy;
use crate::llm_config::{LlmConfig, language_model};
use crate::matrix::Matrix;
use crate::position_embedding;
use crate::source::{CheckpointOverlay, Tensor};
use crate::{Error, Result};

/// Width and stored blocks of the published vision encoder, of which one is unused.
const PUBLISHED_VISION: (usize, usize) = (1408, 40);
/// Side of the published pictures.
const PUBLISHED_IMAGE: usize = 224;
/// Channels of a head in the published vision encoder and Q-Former.
const HEAD_WIDTHS: (usize, usize) = (88, 64);
/// Instruction tokens that the Q-Former reads.
const MAX_TEXT: usize = 128;
/// Normalisation of pictures (CLIP's).
const MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// The model's dimensions with the tensors behind them.
#[derive(Debug)]
pub struct Network {
    /// Dimensions as the bundle records them.
    pub model: Model,
    /// Channels inside the Q-Former's feed-forward parts.
    pub qformer_mlp: usize,
    /// Epsilon of the language model's norms.
    pub rms_epsilon: f32,
    /// What the tensors of the mask branch do not say.
    pub mask: MaskConfig,
    /// Rows of the token tables that come from the file; the rest is added.
    pub stored_rows: usize,
    layers: CheckpointOverlay,
    llm: LlmConfig,
    added: Option<[Vec<f32>; 2]>,
}

impl Network {
    /// Finds the dimensions. `pieces` is the number of the language model's
    /// tokenizer pieces; the row after the last one is the padding token that the
    /// published code adds.
    ///
    /// # Errors
    /// When a tensor is missing, or dimensions contradict one another.
    pub fn new(layers: CheckpointOverlay, config: &Config, pieces: usize) -> Result<Self> {
        let vision = vision(&layers, config)?;
        let qformer = qformer(&layers, config)?;
        let path = layers.paths().llm.join("config.json");
        let (mut llm, llm_config) = language_model(&path)?;
        let table = layers.get("llm_model.model.embed_tokens.weight")?;
        let stored = leading(table)?;
        if table.shape() != [stored, llm.width] {
            return Err(
                table.shape_fault(&[llm.vocab_size, llm.width], "hidden_size in config.json")
            );
        }
        if stored < pieces {
            let problem = format!(
                "has {stored} rows for the {pieces} pieces of tokenizer.model; they do not belong together"
            );
            return Err(table.fault(problem));
        }
        llm.vocab_size = pieces + 1;
        let stored_rows = stored.min(llm.vocab_size);
        let name = config.name.clone().unwrap_or_else(|| "deltavlm".to_owned());
        let inner = "Qformer.bert.encoder.layer.0.intermediate_query.dense.weight";
        let mut network = Self {
            qformer_mlp: leading(layers.get(inner)?)?,
            rms_epsilon: llm_config.rms_epsilon,
            mask: mask(config)?,
            stored_rows,
            model: Model {
                name,
                vision,
                qformer,
                llm,
            },
            layers,
            llm: llm_config,
            added: None,
        };
        if stored_rows < network.model.llm.vocab_size {
            let input = mean_row(&network.stored("llm_model.model.embed_tokens.weight")?)?;
            let output = mean_row(&network.stored(network.output_key())?)?;
            network.added = Some([input, output]);
        }
        Ok(network)
    }

    /// The files behind the network.
    pub fn layers(&self) -> &CheckpointOverlay {
        &self.layers
    }

    /// A tensor as a matrix, its shape checked.
    ///
    /// # Errors
    /// When it is missing or has another shape.
    pub fn matrix(&self, key: &str, rows: usize, width: usize) -> Result<Matrix> {
        Matrix::of(
            self.layers.get(key)?,
            rows,
            width,
            "implied by the other tensors",
        )
    }

    /// The first rows of a tensor.
    ///
    /// # Errors
    /// When it is missing, has fewer rows or another width.
    pub fn head(&self, key: &str, rows: usize, width: usize) -> Result<Matrix> {
        Matrix::head(
            self.layers.get(key)?,
            rows,
            width,
            "implied by the other tensors",
        )
    }

    /// A tensor as a vector, its length checked.
    ///
    /// # Errors
    /// When it is missing or has another length.
    pub fn vector(&self, key: &str, len: usize) -> Result<Matrix> {
        Matrix::vector(self.layers.get(key)?, len, "implied by the other tensors")
    }

    /// A tensor `[1, rows, width]`.
    ///
    /// # Errors
    /// When it is missing or has another shape.
    pub fn vector_of(&self, key: &str, rows: usize, width: usize) -> Result<Matrix> {
        let tensor = self.layers.get(key)?;
        tensor.expect(&[1, rows, width], "implied by the other tensors")?;
        Matrix::of(tensor, 1, rows * width, "")
    }

    /// The bias of a vision block's `qkv`: queries and values have one, keys none.
    ///
    /// # Errors
    /// When a tensor is missing or has another length.
    pub fn qkv_bias(&self, block: usize) -> Result<Matrix> {
        let width = self.model.vision.width;
        let key = format!("visual_encoder.blocks.{block}.attn");
        Ok(Matrix::stack([
            self.vector(&format!("{key}.q_bias"), width)?,
            Matrix::values(vec![0.0; width], 1),
            self.vector(&format!("{key}.v_bias"), width)?,
        ]))
    }

    /// Position embeddings of the vision tokens, resized where the file has another grid.
    ///
    /// # Errors
    /// When the tensor is missing or no square grid.
    pub fn vision_positions(&self) -> Result<Matrix> {
        let d = &self.model.vision;
        let tensor = self.layers.get("visual_encoder.pos_embed")?;
        let grid = position_grid(tensor, d.width)?;
        let wanted = d.image_size / d.patch_size;
        if grid == wanted {
            return Matrix::of(tensor, 1, d.tokens * d.width, "the patch grid");
        }
        let values = position_embedding::resize(&tensor.values()?, grid, wanted, d.width);
        Ok(Matrix::values(values, d.tokens * d.width))
    }

    /// The token table, the added row included.
    ///
    /// # Errors
    /// When the tensor is missing or has another shape.
    pub fn input_table(&self) -> Result<Matrix> {
        self.table("llm_model.model.embed_tokens.weight", 0)
    }

    /// The output projection, the added row included.
    ///
    /// # Errors
    /// When the tensor is missing or has another shape.
    pub fn output_table(&self) -> Result<Matrix> {
        self.table(self.output_key(), 1)
    }

    /// Cosines or sines of all positions, half a head wide, in f32 as published.
    pub fn rotary_table(&self, sine: bool) -> Matrix {
        let d = &self.model.llm;
        let values = position_embedding::rotary(
            d.max_positions,
            d.head_dim,
            self.llm.rope_base,
            self.llm.rope_factor,
            sine,
        );
        Matrix::values(values, d.head_dim / 2)
    }

    /// First id of every generated sequence: the language model's `bos_token_id`.
    pub const fn start_id(&self) -> u32 {
        self.llm.start_id
    }

    /// First and last layers are kept at more bits.
    pub const fn quant_policy(&self, i: usize, count: usize) -> QuantPolicy {
        if i == 0 || i + 1 == count {
            QuantPolicy::AtLeast8
        } else {
            QuantPolicy::Segment
        }
    }

    fn output_key(&self) -> &'static str {
        if self.llm.tied && !self.layers.has("llm_model.lm_head.weight") {
            "llm_model.model.embed_tokens.weight"
        } else {
            "llm_model.lm_head.weight"
        }
    }

    fn stored(&self, key: &str) -> Result<Matrix> {
        self.head(key, self.stored_rows, self.model.llm.width)
    }

    fn table(&self, key: &str, which: usize) -> Result<Matrix> {
        let stored = self.stored(key)?;
        Ok(match &self.added {
            Some(rows) => Matrix::stack([
                stored,
                Matrix::values(rows[which].clone(), self.model.llm.width),
            ]),
            None => stored,
        })
    }
}

fn vision(layers: &CheckpointOverlay, config: &Config) -> Result<Vision> {
    let patches = layers.get("visual_encoder.patch_embed.proj.weight")?;
    let [width, 3, patch_size, across] = *patches.shape() else {
        return Err(patches.shape_fault(&[PUBLISHED_VISION.0, 3, 14, 14], "a patch embedding"));
    };
    if patch_size != across
        || config
            .vision
            .patch_size
            .is_some_and(|patch| patch != patch_size)
    {
        let patch = config.vision.patch_size.unwrap_or(patch_size);
        return Err(patches.shape_fault(&[width, 3, patch, patch], "patch_size"));
    }
    let stored = layers.count("visual_encoder.blocks.");
    if stored == 0 {
        layers.get("visual_encoder.blocks.0.norm1.weight")?;
    }
    let depth = config
        .vision
        .depth
        .unwrap_or(if (width, stored) == PUBLISHED_VISION {
            stored - 1
        } else {
            stored
        });
    let heads = heads("vision", width, config.vision.heads, HEAD_WIDTHS.0)?;
    let positions = layers.get("visual_encoder.pos_embed")?;
    let grid = position_grid(positions, width)?;
    let image_size =
        config
            .vision
            .image_size
            .unwrap_or(if (width, patch_size) == (PUBLISHED_VISION.0, 14) {
                PUBLISHED_IMAGE
            } else {
                grid * patch_size
            });
    if image_size == 0 || !image_size.is_multiple_of(patch_size) || image_size > 4096 {
        return Err(Error::Usage(format!(
            "vision.image_size {image_size} is not a multiple of the patch size {patch_size} up to 4096; correct it in --config"
        )));
    }
    Ok(Vision {
        image_size,
        patch_size,
        depth,
        width,
        heads,
        mlp_width: leading(layers.get("visual_encoder.blocks.0.mlp.fc1.weight")?)?,
        tokens: (image_size / patch_size).pow(2) + 1,
        mean: MEAN,
        std: STD,
    })
}

fn qformer(layers: &CheckpointOverlay, config: &Config) -> Result<QFormer> {
    let tokens = layers.get("query_tokens")?;
    let [1, queries, width] = *tokens.shape() else {
        return Err(tokens.shape_fault(&[1, 32, 768], "query tokens"));
    };
    let words = layers.get("Qformer.bert.embeddings.word_embeddings.weight")?;
    let positions = layers.get("Qformer.bert.embeddings.position_embeddings.weight")?;
    let count = layers.count("Qformer.bert.encoder.layer.");
    if count == 0 {
        layers.get("Qformer.bert.encoder.layer.0.attention.self.query.weight")?;
    }
    Ok(QFormer {
        width,
        layers: count,
        heads: heads("qformer", width, config.qformer.heads, HEAD_WIDTHS.1)?,
        queries,
        max_text_tokens: config
            .qformer
            .max_text_tokens
            .unwrap_or(MAX_TEXT)
            .min(leading(positions)?),
        vocab_size: leading(words)?,
    })
}

fn mask(config: &Config) -> Result<MaskConfig> {
    match config.mask.size {
        Some(size) if !(1..=4096).contains(&size) => Err(Error::Usage(format!(
            "mask.size {size} is not between 1 and 4096; correct it in --config"
        ))),
        _ => Ok(config.mask),
    }
}

/// The first dimension of a matrix.
fn leading(tensor: &Tensor) -> Result<usize> {
    match *tensor.shape() {
        [rows, _] => Ok(rows),
        _ => Err(tensor.fault(format!(
            "has shape {:?} where a matrix is expected",
            tensor.shape()
        ))),
    }
}

fn heads(part: &str, width: usize, given: Option<usize>, head_width: usize) -> Result<usize> {
    match given {
        Some(heads) if heads > 0 && width.is_multiple_of(heads) => Ok(heads),
        Some(heads) => Err(Error::Usage(format!(
            "{part}.heads {heads} does not divide the width {width}; correct it in --config"
        ))),
        None if width.is_multiple_of(head_width) => Ok(width / head_width),
        None => Err(Error::Usage(format!(
            "the {part} width {width} is no multiple of the published head width {head_width}; give --config FILE with {{\"{part}\": {{\"heads\": N}}}}"
        ))),
    }
}

fn position_grid(tensor: &Tensor, width: usize) -> Result<usize> {
    if let [1, tokens, w] = *tensor.shape()
        && w == width
        && tokens > 1
        && (tokens - 1).isqrt().pow(2) == tokens - 1
    {
        return Ok((tokens - 1).isqrt());
    }
    Err(tensor.shape_fault(&[1, 257, width], "a class token and a square grid"))
}

/// The mean of all rows: what an added token gets. Its logit is the mean logit,
/// so it is never the most likely token.
fn mean_row(table: &Matrix) -> Result<Vec<f32>> {
    let mut sums = vec![0.0f64; table.width()];
    let mut rows = Vec::new();
    let step = (1 << 20) / table.width() + 1;
    for first in (0..table.rows()).step_by(step) {
        table.read(first..(first + step).min(table.rows()), &mut rows)?;
        for row in rows.chunks_exact(table.width()) {
            sums.iter_mut()
                .zip(row)
                .for_each(|(sum, &value)| *sum += f64::from(value));
        }
    }
    let count = table.rows() as f64;
    Ok(sums.into_iter().map(|sum| (sum / count) as f32).collect())
}
