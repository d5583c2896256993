//! Which tensors each published file holds, at a size.

use super::Size;
use crate::source::Element;

/// Dimensions of a synthetic model.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Shapes {
    pub image: usize,
    pub patch: usize,
    pub vision_width: usize,
    pub vision_blocks: usize,
    pub vision_heads: usize,
    pub vision_mlp: usize,
    pub queries: usize,
    pub qformer_width: usize,
    pub qformer_layers: usize,
    pub qformer_heads: usize,
    pub qformer_mlp: usize,
    pub bert_rows: usize,
    pub bert_positions: usize,
    pub llm_width: usize,
    pub llm_layers: usize,
    pub llm_heads: usize,
    pub llm_kv_heads: usize,
    pub llm_mlp: usize,
    pub llm_rows: usize,
    pub llm_positions: usize,
    /// Whether the checkpoint has a mask branch.
    pub mask: bool,
    /// Largest size of a language-model shard, bytes.
    pub shard: u64,
}

/// How the values of a tensor are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Draw {
    /// Normal around 0 with a deviation.
    Normal(f32),
    /// Normal around 1: scales of norms.
    AroundOne(f32),
    /// Nothing but zeros.
    Zero,
}

/// A tensor of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its element type.
    pub element: Element,
    /// Its values.
    pub draw: Draw,
}

impl Entry {
    /// Number of elements.
    pub fn size(&self) -> u64 {
        self.shape.iter().map(|&dim| dim as u64).product()
    }
}

/// A list of tensors of one element type.
struct List {
    element: Element,
    entries: Vec<Entry>,
}

impl List {
    fn new(element: Element) -> Self {
        Self {
            element,
            entries: Vec::new(),
        }
    }

    fn add(&mut self, key: impl Into<String>, shape: &[usize], draw: Draw) {
        self.entries.push(Entry {
            key: key.into(),
            shape: shape.to_vec(),
            element: self.element,
            draw,
        });
    }

    /// A linear map; `gain` scales the output's deviation for inputs of deviation 1.
    fn linear(&mut self, key: &str, [outputs, inputs]: [usize; 2], gain: f64, bias: bool) {
        self.add(
            format!("{key}.weight"),
            &[outputs, inputs],
            Draw::Normal((gain / (inputs as f64).sqrt()) as f32),
        );
        if bias {
            self.add(format!("{key}.bias"), &[outputs], Draw::Normal(0.02));
        }
    }

    fn norm(&mut self, key: &str, width: usize) {
        self.add(format!("{key}.weight"), &[width], Draw::AroundOne(0.05));
        self.add(format!("{key}.bias"), &[width], Draw::Normal(0.02));
    }
}

impl Shapes {
    /// The dimensions of a size.
    pub fn of(size: Size) -> Self {
        let full = Self {
            image: 224,
            patch: 14,
            vision_width: 1408,
            vision_blocks: 40,
            vision_heads: 16,
            vision_mlp: 6144,
            queries: 32,
            qformer_width: 768,
            qformer_layers: 12,
            qformer_heads: 12,
            qformer_mlp: 3072,
            bert_rows: 30_523,
            bert_positions: 512,
            llm_width: 4096,
            llm_layers: 32,
            llm_heads: 32,
            llm_kv_heads: 32,
            llm_mlp: 11_008,
            llm_rows: 32_000,
            llm_positions: 4096,
            mask: false,
            shard: 10_000_000_000,
        };
        match size {
            Size::Full => full,
            Size::Mid => Self {
                vision_blocks: 4,
                llm_layers: 4,
                ..full
            },
            Size::Tiny => Self {
                image: 56,
                patch: 14,
                vision_width: 64,
                vision_blocks: 3,
                vision_heads: 4,
                vision_mlp: 128,
                queries: 8,
                qformer_width: 64,
                qformer_layers: 4,
                qformer_heads: 4,
                qformer_mlp: 128,
                bert_rows: 401,
                bert_positions: 160,
                llm_width: 64,
                llm_layers: 3,
                llm_heads: 4,
                llm_kv_heads: 4,
                llm_mlp: 160,
                llm_rows: 600,
                llm_positions: 256,
                mask: false,
                shard: 300_000,
            },
        }
    }

    /// `eva_vit_g.pth`: all blocks, fp16, without prefix.
    pub fn vit(&self) -> Vec<Entry> {
        let mut list = List::new(Element::F16);
        let width = self.vision_width;
        list.add("cls_token", &[1, 1, width], Draw::Normal(0.5));
        list.add(
            "pos_embed",
            &[1, (self.image / self.patch).pow(2) + 1, width],
            Draw::Normal(0.5),
        );
        let patch = [width, 3, self.patch, self.patch];
        let inputs = (3 * self.patch * self.patch) as f64;
        list.add(
            "patch_embed.proj.weight",
            &patch,
            Draw::Normal((1.0 / inputs.sqrt()) as f32),
        );
        list.add("patch_embed.proj.bias", &[width], Draw::Normal(0.02));
        for i in 0..self.vision_blocks {
            self.vision_block(&mut list, &format!("blocks.{i}"));
        }
        list.entries
    }

    fn vision_block(&self, list: &mut List, key: &str) {
        let width = self.vision_width;
        let residual = 1.0 / (2.0 * self.vision_blocks as f64).sqrt();
        list.norm(&format!("{key}.norm1"), width);
        list.add(format!("{key}.attn.q_bias"), &[width], Draw::Normal(0.02));
        list.add(format!("{key}.attn.v_bias"), &[width], Draw::Normal(0.02));
        list.linear(&format!("{key}.attn.qkv"), [3 * width, width], 1.0, false);
        list.linear(
            &format!("{key}.attn.proj"),
            [width, width],
            residual * 2.0,
            true,
        );
        list.norm(&format!("{key}.norm2"), width);
        list.linear(
            &format!("{key}.mlp.fc1"),
            [self.vision_mlp, width],
            1.0,
            true,
        );
        list.linear(
            &format!("{key}.mlp.fc2"),
            [width, self.vision_mlp],
            residual * 2.0,
            true,
        );
    }

    /// `checkpoint_best.pth`, its `model` entry: what was trainable, fp32.
    pub fn checkpoint(&self) -> Vec<Entry> {
        let mut list = List::new(Element::F32);
        let (width, inner) = (self.qformer_width, self.qformer_mlp);
        let last_used = if self.vision_blocks == 40 {
            39
        } else {
            self.vision_blocks
        };
        list.add("query_tokens", &[1, self.queries, width], Draw::Normal(0.5));
        list.add("temp", &[1], Draw::Normal(0.1));
        for i in last_used - 2..last_used {
            self.vision_block(&mut list, &format!("visual_encoder.blocks.{i}"));
        }
        list.norm("ln_vision", self.vision_width);
        let bert = "Qformer.bert";
        list.add(
            format!("{bert}.embeddings.word_embeddings.weight"),
            &[self.bert_rows, width],
            Draw::Normal(0.5),
        );
        list.add(
            format!("{bert}.embeddings.position_embeddings.weight"),
            &[self.bert_positions, width],
            Draw::Normal(0.2),
        );
        list.norm(&format!("{bert}.embeddings.LayerNorm"), width);
        for i in 0..self.qformer_layers {
            let key = format!("{bert}.encoder.layer.{i}");
            self.bert_attention(&mut list, &format!("{key}.attention"), width);
            if i.is_multiple_of(2) {
                self.bert_attention(
                    &mut list,
                    &format!("{key}.crossattention"),
                    self.vision_width,
                );
            }
            for which in ["", "_query"] {
                list.linear(
                    &format!("{key}.intermediate{which}.dense"),
                    [inner, width],
                    1.0,
                    true,
                );
                list.linear(
                    &format!("{key}.output{which}.dense"),
                    [width, inner],
                    1.0,
                    true,
                );
                list.norm(&format!("{key}.output{which}.LayerNorm"), width);
            }
        }
        list.linear("llm_proj", [self.llm_width, width], 0.5, true);
        let vision = self.vision_width;
        for (key, inputs, bias) in [
            ("context1", vision, false),
            ("context2", vision, true),
            ("gate1", vision, false),
            ("gate2", vision, true),
            ("context3", 3 * vision, true),
        ] {
            list.linear(key, [vision, inputs], 1.0, bias);
        }
        if self.mask {
            self.mask_branch(&mut list);
        }
        list.linear("vision_proj", [256.min(width), width], 1.0, true);
        list.linear("text_proj", [256.min(width), width], 1.0, true);
        list.entries
    }

    /// The published mask branch; the tiny model has the light variant.
    fn mask_branch(&self, list: &mut List) {
        let (hidden, light) = if self.vision_width < 1408 {
            (64, true)
        } else {
            (128, false)
        };
        let key = |part: &str| format!("mask_decoder.{part}");
        let normal = |inputs: usize| Draw::Normal((1.0 / (inputs as f64).sqrt()) as f32);
        list.add(key("lfu.basis"), &[hidden, 1, 5, 5], Draw::Normal(1.0));
        let convolution =
            |list: &mut List, part: &str, [outputs, inputs, kernel]: [usize; 3], bias: bool| {
                let shape = [outputs, inputs, kernel, kernel];
                list.add(
                    key(&format!("{part}.weight")),
                    &shape,
                    normal(inputs * kernel * kernel),
                );
                if bias {
                    list.add(key(&format!("{part}.bias")), &[outputs], Draw::Normal(0.02));
                }
            };
        let residual = |list: &mut List, part: &str, channels: usize| {
            for (norm, inner) in [(0, 2), (3, 5)] {
                list.norm(&key(&format!("{part}.block.{norm}")), channels);
                convolution(
                    list,
                    &format!("{part}.block.{inner}"),
                    [channels, channels, 3],
                    false,
                );
            }
        };
        convolution(list, "proj.0", [hidden, hidden, 3], true);
        list.norm(&key("proj.1"), hidden);
        residual(list, "proj.3", hidden);
        let mut channels = hidden;
        for stage in 0..4 {
            let part = format!("stages.{stage}");
            let inputs = channels;
            channels = (hidden >> (stage + 1)).max(32);
            let shape = [inputs, channels, 4, 4];
            list.add(
                key(&format!("{part}.up.0.weight")),
                &shape,
                normal(inputs * 4),
            );
            list.add(
                key(&format!("{part}.up.0.bias")),
                &[channels],
                Draw::Normal(0.02),
            );
            list.norm(&key(&format!("{part}.up.1")), channels);
            residual(list, &format!("{part}.ref"), channels);
            if !light && stage < 3 {
                list.linear(
                    &key(&format!("{part}.attn.qkv")),
                    [3 * channels, channels],
                    1.0,
                    true,
                );
                list.linear(
                    &key(&format!("{part}.attn.proj")),
                    [channels, channels],
                    1.0,
                    true,
                );
                list.add(
                    key(&format!("{part}.attn.rpb")),
                    &[169, 4],
                    Draw::Normal(0.02),
                );
                list.norm(&key(&format!("{part}.norm")), channels);
            }
        }
        convolution(list, "head.0", [channels, channels, 3], true);
        list.norm(&key("head.1"), channels);
        convolution(list, "head.3", [1, channels, 1], true);
    }

    fn bert_attention(&self, list: &mut List, key: &str, source: usize) {
        let width = self.qformer_width;
        list.linear(&format!("{key}.self.query"), [width, width], 1.0, true);
        list.linear(&format!("{key}.self.key"), [width, source], 1.0, true);
        list.linear(&format!("{key}.self.value"), [width, source], 1.0, true);
        list.linear(&format!("{key}.output.dense"), [width, width], 1.0, true);
        list.norm(&format!("{key}.output.LayerNorm"), width);
    }

    /// The language model in fp16, cut into shards.
    pub fn shards(&self) -> Vec<Vec<Entry>> {
        let mut list = List::new(Element::F16);
        let (width, inner) = (self.llm_width, self.llm_mlp);
        let kv = width / self.llm_heads * self.llm_kv_heads;
        let residual = 2.0 / (2.0 * self.llm_layers as f64).sqrt();
        list.add(
            "model.embed_tokens.weight",
            &[self.llm_rows, width],
            Draw::Normal(0.5),
        );
        for i in 0..self.llm_layers {
            let key = format!("model.layers.{i}");
            list.linear(
                &format!("{key}.self_attn.q_proj"),
                [width, width],
                1.0,
                false,
            );
            list.linear(&format!("{key}.self_attn.k_proj"), [kv, width], 1.0, false);
            list.linear(&format!("{key}.self_attn.v_proj"), [kv, width], 1.0, false);
            list.linear(
                &format!("{key}.self_attn.o_proj"),
                [width, width],
                residual,
                false,
            );
            list.linear(&format!("{key}.mlp.gate_proj"), [inner, width], 1.0, false);
            list.linear(&format!("{key}.mlp.up_proj"), [inner, width], 1.0, false);
            list.linear(
                &format!("{key}.mlp.down_proj"),
                [width, inner],
                residual,
                false,
            );
            list.add(
                format!("{key}.input_layernorm.weight"),
                &[width],
                Draw::AroundOne(0.05),
            );
            list.add(
                format!("{key}.post_attention_layernorm.weight"),
                &[width],
                Draw::AroundOne(0.05),
            );
        }
        list.add("model.norm.weight", &[width], Draw::AroundOne(0.05));
        list.linear("lm_head", [self.llm_rows, width], 2.5, false);

        let mut shards = vec![Vec::new()];
        let mut held = 0;
        for entry in list.entries {
            let bytes = entry.size() * 2;
            if held > 0 && held + bytes > self.shard {
                shards.push(Vec::new());
                held = 0;
            }
            held += bytes;
            shards.last_mut().expect("one shard at least").push(entry);
        }
        shards
    }

    /// `llm/config.json`.
    pub fn llm_config(&self) -> serde_json::Value {
        serde_json::json!({
            "architectures": ["LlamaForCausalLM"],
            "bos_token_id": 1,
            "eos_token_id": 2,
            "hidden_act": "silu",
            "hidden_size": self.llm_width,
            "intermediate_size": self.llm_mlp,
            "max_position_embeddings": self.llm_positions,
            "model_type": "llama",
            "num_attention_heads": self.llm_heads,
            "num_hidden_layers": self.llm_layers,
            "num_key_value_heads": self.llm_kv_heads,
            "rms_norm_eps": 1e-5,
            "rope_scaling": null,
            "tie_word_embeddings": false,
            "torch_dtype": "float16",
            "vocab_size": self.llm_rows,
        })
    }

    /// `deltavlm.json`: the head counts, which no tensor tells.
    pub fn config(&self) -> serde_json::Value {
        serde_json::json!({
            "vision": {"heads": self.vision_heads, "image_size": self.image},
            "qformer": {"heads": self.qformer_heads},
        })
    }
}
