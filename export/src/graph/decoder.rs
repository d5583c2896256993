//! The language model (LLaMA) with its key/value cache as inputs and outputs.

use deltavlm_bundle::{Precision, Target};

use super::attention::{ATTENTION_SCALE, attend, scale_of, split_heads};
use super::{Dim, GraphBuilder, QuantPolicy, SegmentGraph};
use crate::Result;
use crate::matrix::Matrix;
use crate::network::Network;
use crate::onnx::Attribute;

/// The least attention bias where scores are f16.
const LEAST_F16: f32 = -60_000.0;

/// Embeddings, positions and cache to logits of the last position and the longer cache.
///
/// # Errors
/// When a tensor is missing or has another shape.
pub fn decoder(network: &Network, precision: Precision, target: Target) -> Result<SegmentGraph> {
    let d = &network.model.llm;
    let (batch, new) = (Dim::Free("batch"), Dim::Free("new"));
    let (past, total) = (Dim::Free("past"), Dim::Free("past + new"));
    let mut b = GraphBuilder::new("decoder", precision, target);
    let mut x = b.input("embeddings", &[batch, new, Dim::Fixed(d.width)]);
    let positions = b.index_input("positions", &[batch, new]);
    let mut bias = b.input("attention_bias", &[batch, Dim::Fixed(1), new, total]);
    let cache = |length| {
        [
            batch,
            Dim::Fixed(d.kv_heads),
            length,
            Dim::Fixed(d.head_dim),
        ]
    };
    let mut caches = Vec::new();
    for i in 0..d.layers {
        let key = b.input(&format!("past.{i}.key"), &cache(past));
        let value = b.input(&format!("past.{i}.value"), &cache(past));
        caches.push((key, value));
    }
    if target == Target::Tensorrt {
        let least = b.scalar("least_bias", LEAST_F16);
        bias = b.op("Max", "decoder.attention_bias", &[&bias, &least], vec![]);
    }
    let rotary = rotary_tables(&mut b, network, &positions);
    let grouped = d.heads != d.kv_heads;
    if grouped {
        let axis = b.ints(&[1]);
        bias = b.op(
            "Unsqueeze",
            "decoder.attention_bias.groups",
            &[&bias, &axis],
            vec![],
        );
    }

    for (i, (past_key, past_value)) in caches.iter().enumerate() {
        let name = format!("decoder.layers.{i}");
        let key = format!("llm_model.model.layers.{i}");
        let attn = format!("{name}.attn");
        let normal = b.rms_norm(
            &format!("{name}.norm1"),
            &x,
            network.vector(&format!("{key}.input_layernorm.weight"), d.width)?,
            network.rms_epsilon,
        );
        let (q_width, kv_width) = (d.heads * d.head_dim, d.kv_heads * d.head_dim);
        let weight = Matrix::stack([
            network.matrix(&format!("{key}.self_attn.q_proj.weight"), q_width, d.width)?,
            network.matrix(&format!("{key}.self_attn.k_proj.weight"), kv_width, d.width)?,
            network.matrix(&format!("{key}.self_attn.v_proj.weight"), kv_width, d.width)?,
        ]);
        let qkv = b.linear(
            &format!("{attn}.qkv"),
            &normal,
            weight,
            None,
            QuantPolicy::Segment,
        );
        let [q, k, v] = b.split(
            &format!("{attn}.split"),
            &qkv,
            [("q", q_width), ("k", kv_width), ("v", kv_width)],
        );
        let q = split_heads(&mut b, &q, &q, d.heads, d.head_dim);
        let k = split_heads(&mut b, &k, &k, d.kv_heads, d.head_dim);
        let v = split_heads(&mut b, &v, &v, d.kv_heads, d.head_dim);
        let q = rotate(&mut b, &format!("{attn}.rotary_q"), &q, &rotary, d.head_dim);
        let k = rotate(&mut b, &format!("{attn}.rotary_k"), &k, &rotary, d.head_dim);
        let k = b.concat(&format!("{attn}.cache_k"), &[past_key, &k], 2);
        let v = b.concat(&format!("{attn}.cache_v"), &[past_value, &v], 2);
        let context = if grouped {
            attend_grouped(
                &mut b,
                &attn,
                [&q, &k, &v],
                &bias,
                (d.kv_heads, d.heads / d.kv_heads, d.head_dim),
            )
        } else {
            attend(
                &mut b,
                &attn,
                ATTENTION_SCALE,
                [&q, &k, &v],
                Some(&bias),
                d.head_dim,
            )
        };
        let weight = network.matrix(&format!("{key}.self_attn.o_proj.weight"), d.width, q_width)?;
        let out = b.linear(
            &format!("{attn}.out"),
            &context,
            weight,
            None,
            QuantPolicy::Segment,
        );
        x = b.op("Add", &format!("{name}.add_attn"), &[&x, &out], vec![]);

        let normal = b.rms_norm(
            &format!("{name}.norm2"),
            &x,
            network.vector(&format!("{key}.post_attention_layernorm.weight"), d.width)?,
            network.rms_epsilon,
        );
        let weight = Matrix::stack([
            network.matrix(&format!("{key}.mlp.gate_proj.weight"), d.mlp_width, d.width)?,
            network.matrix(&format!("{key}.mlp.up_proj.weight"), d.mlp_width, d.width)?,
        ]);
        let both = b.linear(
            &format!("{name}.mlp.gate_up"),
            &normal,
            weight,
            None,
            QuantPolicy::Segment,
        );
        let [gate, up] = b.split(
            &format!("{name}.mlp.split"),
            &both,
            [("gate", d.mlp_width), ("up", d.mlp_width)],
        );
        let open = b.op("Sigmoid", &format!("{name}.mlp.sigmoid"), &[&gate], vec![]);
        let open = b.op("Mul", &format!("{name}.mlp.silu"), &[&gate, &open], vec![]);
        let active = b.op("Mul", &format!("{name}.mlp.gated"), &[&open, &up], vec![]);
        let weight =
            network.matrix(&format!("{key}.mlp.down_proj.weight"), d.width, d.mlp_width)?;
        let out = b.linear(
            &format!("{name}.mlp.down"),
            &active,
            weight,
            None,
            keep_down(i),
        );
        x = b.op("Add", &format!("{name}.add_mlp"), &[&x, &out], vec![]);
        // Renaming a value to an output's name touches every use, so it comes last.
        b.output(&format!("present.{i}.key"), &k, &cache(total));
        b.output(&format!("present.{i}.value"), &v, &cache(total));
    }

    let last = b.slice("decoder.last", &x, 1, -1, i64::MAX);
    let axis = b.ints(&[1]);
    let last = b.op("Squeeze", "decoder.last.flat", &[&last, &axis], vec![]);
    let normal = b.rms_norm(
        "decoder.norm",
        &last,
        network.vector("llm_model.model.norm.weight", d.width)?,
        network.rms_epsilon,
    );
    let logits = b.linear(
        "decoder.lm_head",
        &normal,
        network.output_table()?,
        None,
        QuantPolicy::AtLeast8,
    );
    b.output("logits", &logits, &[batch, Dim::Fixed(d.vocab_size)]);
    Ok(b.finish())
}

/// LLaMA's few very large activations arise in the first layer's `down_proj`.
const fn keep_down(layer: usize) -> QuantPolicy {
    if layer == 0 {
        QuantPolicy::AtLeast8
    } else {
        QuantPolicy::Segment
    }
}

/// Cosines and sines of the positions, `[B,1,N,E]` each.
fn rotary_tables(b: &mut GraphBuilder, network: &Network, positions: &str) -> [String; 2] {
    let d = &network.model.llm;
    let half = d.head_dim / 2;
    ["cos", "sin"].map(|which| {
        let name = format!("decoder.rotary.{which}");
        let table = b.table(
            &format!("{name}.table"),
            network.rotary_table(which == "sin"),
            &[d.max_positions, half],
        );
        let rows = b.op(
            "Gather",
            &format!("{name}.half"),
            &[&table, positions],
            vec![Attribute::int("axis", 0)],
        );
        let whole = b.concat(&format!("{name}.whole"), &[&rows, &rows], 2);
        let axis = b.ints(&[1]);
        b.op("Unsqueeze", &name, &[&whole, &axis], vec![])
    })
}

/// Rotates pairs of channels half a head apart by the position's angles.
fn rotate(
    b: &mut GraphBuilder,
    name: &str,
    x: &str,
    [cos, sin]: &[String; 2],
    head_dim: usize,
) -> String {
    let half = (head_dim / 2) as i64;
    let first = b.slice(&format!("{name}.first"), x, 3, 0, half);
    let second = b.slice(&format!("{name}.second"), x, 3, half, 2 * half);
    let negative = b.op("Neg", &format!("{name}.negative"), &[&second], vec![]);
    let turned = b.concat(&format!("{name}.turned"), &[&negative, &first], 3);
    let along = b.op("Mul", &format!("{name}.cos"), &[x, cos], vec![]);
    let across = b.op("Mul", &format!("{name}.sin"), &[&turned, sin], vec![]);
    b.op("Add", name, &[&along, &across], vec![])
}

/// Attention where a group of query heads shares one key/value head: the groups
/// get an axis of their own, over which keys and values are broadcast.
fn attend_grouped(
    b: &mut GraphBuilder,
    name: &str,
    [q, k, v]: [&str; 3],
    bias: &str,
    (kv_heads, group, head_dim): (usize, usize, usize),
) -> String {
    let scale = b.scalar(ATTENTION_SCALE, scale_of(head_dim));
    let q = b.op("Mul", &format!("{name}.scale"), &[q, &scale], vec![]);
    let q = b.reshape(
        &format!("{name}.groups"),
        &q,
        &[0, kv_heads as i64, group as i64, -1, head_dim as i64],
    );
    let axis = b.ints(&[2]);
    let k = b.op(
        "Unsqueeze",
        &format!("{name}.shared_k"),
        &[k, &axis],
        vec![],
    );
    let v = b.op(
        "Unsqueeze",
        &format!("{name}.shared_v"),
        &[v, &axis],
        vec![],
    );
    let keys = b.transpose(&format!("{name}.keys"), &k, &[0, 1, 2, 4, 3]);
    let scores = b.op("MatMul", &format!("{name}.scores"), &[&q, &keys], vec![]);
    let masked = b.op("Add", &format!("{name}.mask"), &[&scores, bias], vec![]);
    let weights = b.op(
        "Softmax",
        &format!("{name}.softmax"),
        &[&masked],
        vec![Attribute::int("axis", -1)],
    );
    let context = b.op(
        "MatMul",
        &format!("{name}.context"),
        &[&weights, &v],
        vec![],
    );
    let apart = b.transpose(&format!("{name}.gather"), &context, &[0, 3, 1, 2, 4]);
    b.reshape(&format!("{name}.joined"), &apart, &[0, 0, -1])
}
