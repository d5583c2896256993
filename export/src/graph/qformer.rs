//! The Q-Former: queries that read the pair under an instruction, projected to
//! the language model.

use deltavlm_bundle::{Precision, Target};

use super::attention::{ATTENTION_SCALE, attend, split_heads};
use super::{Dim, GraphBuilder, QuantPolicy, SegmentGraph};
use crate::Result;
use crate::matrix::Matrix;
use crate::network::Network;
use crate::onnx::Attribute;

const EPSILON: f32 = 1e-12;
/// Added to the score of a padded position, as published; it fits f16.
const HIDDEN: f32 = -10_000.0;

/// `difference`, `token_ids`, `token_mask` to `queries` `[B,Q,D]`.
///
/// # Errors
/// When a tensor is missing or has another shape.
pub fn qformer(network: &Network, precision: Precision, target: Target) -> Result<SegmentGraph> {
    let d = &network.model.qformer;
    let vision = &network.model.vision;
    let llm_width = network.model.llm.width;
    let mut g = QFormer {
        network,
        b: GraphBuilder::new("qformer", precision, target),
        width: d.width,
        heads: d.heads,
    };
    let pair = g.b.input(
        "difference",
        &[
            Dim::Fixed(1),
            Dim::Fixed(2 * vision.tokens),
            Dim::Fixed(vision.width),
        ],
    );
    let text = [Dim::Free("batch"), Dim::Free("text")];
    let ids = g.b.index_input("token_ids", &text);
    let mask = g.b.index_input("token_mask", &text);

    let bias = g.mask_bias(&mask, d.queries);
    let mut x = g.embeddings(&ids, d.queries)?;
    for i in 0..d.layers {
        let layer = g.layer(i, d.layers);
        x = g.self_attention(&layer, &x, &bias)?;
        let mut queries = g.b.slice(
            &format!("{}.queries", layer.name),
            &x,
            1,
            0,
            d.queries as i64,
        );
        if i.is_multiple_of(2) {
            queries = g.cross_attention(&layer, &queries, &pair, vision.width)?;
        }
        queries = g.feed_forward(&layer, &queries, "_query")?;
        // The text of the last layer would be read by nobody.
        if i + 1 == d.layers {
            x = queries;
            break;
        }
        let text = g.b.slice(
            &format!("{}.text", layer.name),
            &x,
            1,
            d.queries as i64,
            i64::MAX,
        );
        let text = g.feed_forward(&layer, &text, "")?;
        x =
            g.b.concat(&format!("{}.join", layer.name), &[&queries, &text], 1);
    }
    let weight = network.matrix("llm_proj.weight", llm_width, d.width)?;
    let bias = network.vector("llm_proj.bias", llm_width)?;
    let out = g.b.linear(
        "qformer.llm_proj",
        &x,
        weight,
        Some(bias),
        QuantPolicy::AtLeast8,
    );
    g.b.output(
        "queries",
        &out,
        &[
            Dim::Free("batch"),
            Dim::Fixed(d.queries),
            Dim::Fixed(llm_width),
        ],
    );
    Ok(g.b.finish())
}

struct QFormer<'a> {
    network: &'a Network,
    b: GraphBuilder,
    width: usize,
    heads: usize,
}

struct Layer {
    name: String,
    key: String,
    keep: QuantPolicy,
}

impl QFormer<'_> {
    fn layer(&self, i: usize, layers: usize) -> Layer {
        Layer {
            name: format!("qformer.layer.{i}"),
            key: format!("Qformer.bert.encoder.layer.{i}"),
            keep: self.network.quant_policy(i, layers),
        }
    }

    /// 0 for queries and tokens, a large negative number for padding: `[B,1,1,Q+L]`.
    fn mask_bias(&mut self, mask: &str, queries: usize) -> String {
        let b = &mut self.b;
        let kept = b.cast_to_compute("qformer.mask.kept", mask);
        let one = b.scalar("one", 1.0);
        let padding = b.op("Sub", "qformer.mask.padding", &[&one, &kept], vec![]);
        let hidden = b.scalar("hidden", HIDDEN);
        let bias = b.op("Mul", "qformer.mask.bias", &[&padding, &hidden], vec![]);
        let pads = b.ints(&[0, queries as i64, 0, 0]);
        let zero = b.scalar("zero", 0.0);
        let whole = b.op(
            "Pad",
            "qformer.mask.queries",
            &[&bias, &pads, &zero],
            vec![Attribute::text("mode", "constant")],
        );
        let axes = b.ints(&[1, 2]);
        b.op("Unsqueeze", "qformer.mask", &[&whole, &axes], vec![])
    }

    /// Queries, then word and position embeddings of the text, under one norm.
    fn embeddings(&mut self, ids: &str, queries: usize) -> Result<String> {
        let d = &self.network.model.qformer;
        let key = "Qformer.bert.embeddings";
        let words = self.network.matrix(
            &format!("{key}.word_embeddings.weight"),
            d.vocab_size,
            self.width,
        )?;
        let words = self.b.lookup("qformer.embeddings.words", words, ids);
        let table = self.network.head(
            &format!("{key}.position_embeddings.weight"),
            d.max_text_tokens,
            self.width,
        )?;
        let b = &mut self.b;
        let table = b.table(
            "qformer.embeddings.positions.weight",
            table,
            &[d.max_text_tokens, self.width],
        );
        let length = b.op(
            "Shape",
            "qformer.text_length",
            &[ids],
            vec![Attribute::int("end", 2), Attribute::int("start", 1)],
        );
        let (zero, axis) = (b.ints(&[0]), b.ints(&[0]));
        let positions = b.op(
            "Slice",
            "qformer.embeddings.positions",
            &[&table, &zero, &length, &axis],
            vec![],
        );
        let text = b.op(
            "Add",
            "qformer.embeddings.text",
            &[&words, &positions],
            vec![],
        );
        let tokens = self
            .network
            .vector_of("query_tokens", queries, self.width)?;
        let b = &mut self.b;
        let tokens = b.table("qformer.query_tokens", tokens, &[1, queries, self.width]);
        let batch = b.op(
            "Shape",
            "qformer.batch",
            &[ids],
            vec![Attribute::int("end", 1), Attribute::int("start", 0)],
        );
        let sizes = b.ints(&[queries as i64, self.width as i64]);
        let shape = b.concat("qformer.query_shape", &[&batch, &sizes], 0);
        let tokens = b.op("Expand", "qformer.queries", &[&tokens, &shape], vec![]);
        let all = b.concat("qformer.embeddings.all", &[&tokens, &text], 1);
        self.norm("qformer.embeddings.norm", &all, &format!("{key}.LayerNorm"))
    }

    fn self_attention(&mut self, layer: &Layer, x: &str, bias: &str) -> Result<String> {
        let (width, heads) = (self.width, self.heads);
        let name = format!("{}.attn", layer.name);
        let key = format!("{}.attention", layer.key);
        let (weight, added) =
            self.stacked(&format!("{key}.self"), &["query", "key", "value"], width)?;
        let qkv = self
            .b
            .linear(&format!("{name}.qkv"), x, weight, Some(added), layer.keep);
        let parts = self.b.split(
            &format!("{name}.split"),
            &qkv,
            [("q", width), ("k", width), ("v", width)],
        );
        let [q, k, v] =
            parts.map(|part| split_heads(&mut self.b, &part, &part, heads, width / heads));
        let context = attend(
            &mut self.b,
            &name,
            ATTENTION_SCALE,
            [&q, &k, &v],
            Some(bias),
            width / heads,
        );
        self.close(
            &name,
            &format!("{key}.output"),
            &context,
            x,
            width,
            layer.keep,
        )
    }

    /// Keys and values come from the pair alone: computed once, whatever the batch.
    fn cross_attention(
        &mut self,
        layer: &Layer,
        x: &str,
        pair: &str,
        pair_width: usize,
    ) -> Result<String> {
        let (width, heads) = (self.width, self.heads);
        let name = format!("{}.cross", layer.name);
        let key = format!("{}.crossattention", layer.key);
        let (weight, added) = self.stacked(&format!("{key}.self"), &["query"], width)?;
        let q = self
            .b
            .linear(&format!("{name}.q"), x, weight, Some(added), layer.keep);
        let (weight, added) =
            self.stacked(&format!("{key}.self"), &["key", "value"], pair_width)?;
        let kv = self
            .b
            .linear(&format!("{name}.kv"), pair, weight, Some(added), layer.keep);
        let [k, v] = self
            .b
            .split(&format!("{name}.split"), &kv, [("k", width), ("v", width)]);
        let [q, k, v] =
            [q, k, v].map(|part| split_heads(&mut self.b, &part, &part, heads, width / heads));
        let context = attend(
            &mut self.b,
            &name,
            ATTENTION_SCALE,
            [&q, &k, &v],
            None,
            width / heads,
        );
        self.close(
            &name,
            &format!("{key}.output"),
            &context,
            x,
            width,
            layer.keep,
        )
    }

    fn feed_forward(&mut self, layer: &Layer, x: &str, which: &str) -> Result<String> {
        let inner = self.network.qformer_mlp;
        let name = format!("{}.mlp{which}", layer.name);
        let key = format!("{}.intermediate{which}.dense", layer.key);
        let weight = self
            .network
            .matrix(&format!("{key}.weight"), inner, self.width)?;
        let bias = self.network.vector(&format!("{key}.bias"), inner)?;
        let hidden = self
            .b
            .linear(&format!("{name}.up"), x, weight, Some(bias), layer.keep);
        let active = self
            .b
            .op("Gelu", &format!("{name}.gelu"), &[&hidden], vec![]);
        self.close(
            &name,
            &format!("{}.output{which}", layer.key),
            &active,
            x,
            inner,
            layer.keep,
        )
    }

    /// Projection, residual, norm: how every part of a BERT layer ends.
    fn close(
        &mut self,
        name: &str,
        key: &str,
        x: &str,
        residual: &str,
        inner: usize,
        keep: QuantPolicy,
    ) -> Result<String> {
        let weight = self
            .network
            .matrix(&format!("{key}.dense.weight"), self.width, inner)?;
        let bias = self
            .network
            .vector(&format!("{key}.dense.bias"), self.width)?;
        let out = self
            .b
            .linear(&format!("{name}.out"), x, weight, Some(bias), keep);
        let sum = self
            .b
            .op("Add", &format!("{name}.add"), &[&out, residual], vec![]);
        self.norm(&format!("{name}.norm"), &sum, &format!("{key}.LayerNorm"))
    }

    fn norm(&mut self, name: &str, x: &str, key: &str) -> Result<String> {
        let weight = self.network.vector(&format!("{key}.weight"), self.width)?;
        let bias = self.network.vector(&format!("{key}.bias"), self.width)?;
        Ok(self.b.layer_norm(name, x, weight, bias, EPSILON))
    }

    fn stacked(&self, key: &str, parts: &[&str], inputs: usize) -> Result<(Matrix, Matrix)> {
        let mut weights = Vec::new();
        let mut biases = Vec::new();
        for part in parts {
            weights.push(self.network.matrix(
                &format!("{key}.{part}.weight"),
                self.width,
                inputs,
            )?);
            biases.push(
                self.network
                    .vector(&format!("{key}.{part}.bias"), self.width)?,
            );
        }
        Ok((Matrix::stack(weights), Matrix::stack(biases)))
    }
}
