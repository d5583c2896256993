//! The vision encoder: EVA-ViT without final norm, then `ln_vision`.

use deltavlm_bundle::{Precision, Target};

use super::attention::{ATTENTION_SCALE, attend, split_heads};
use super::{Dim, GraphBuilder, QuantPolicy, SegmentGraph};
use crate::Result;
use crate::network::Network;

const BLOCK_EPSILON: f32 = 1e-6;
const FINAL_EPSILON: f32 = 1e-5;

/// `image` `[1,3,S,S]` to `features` `[1,T,Dv]`.
///
/// # Errors
/// When a tensor is missing or has another shape.
pub fn vision(network: &Network, precision: Precision, target: Target) -> Result<SegmentGraph> {
    let d = &network.model.vision;
    let (width, head_width) = (d.width, d.width / d.heads);
    let mut b = GraphBuilder::new("vision", precision, target);

    let image = b.input(
        "image",
        &[
            Dim::Fixed(1),
            Dim::Fixed(3),
            Dim::Fixed(d.image_size),
            Dim::Fixed(d.image_size),
        ],
    );
    let (grid, patch) = ((d.image_size / d.patch_size) as i64, d.patch_size as i64);
    let apart = b.reshape(
        "vision.patches.apart",
        &image,
        &[3, grid, patch, grid, patch],
    );
    let order = b.transpose("vision.patches.order", &apart, &[1, 3, 0, 2, 4]);
    let patches = b.reshape(
        "vision.patches",
        &order,
        &[1, grid * grid, 3 * patch * patch],
    );
    let weight = network.matrix(
        "visual_encoder.patch_embed.proj.weight",
        width,
        3 * d.patch_size * d.patch_size,
    )?;
    let bias = network.vector("visual_encoder.patch_embed.proj.bias", width)?;
    let embedded = b.linear(
        "vision.patch_embed",
        &patches,
        weight,
        Some(bias),
        QuantPolicy::AtLeast8,
    );
    let class = b.table(
        "vision.class_token",
        network.vector("visual_encoder.cls_token", width)?,
        &[1, 1, width],
    );
    let tokens = b.concat("vision.tokens", &[&class, &embedded], 1);
    let positions = b.table(
        "vision.positions",
        network.vision_positions()?,
        &[1, d.tokens, width],
    );
    let mut x = b.op("Add", "vision.embeddings", &[&tokens, &positions], vec![]);

    for i in 0..d.depth {
        let name = format!("vision.blocks.{i}");
        let key = format!("visual_encoder.blocks.{i}");
        let keep = network.quant_policy(i, d.depth);
        let normal = b.layer_norm(
            &format!("{name}.norm1"),
            &x,
            network.vector(&format!("{key}.norm1.weight"), width)?,
            network.vector(&format!("{key}.norm1.bias"), width)?,
            BLOCK_EPSILON,
        );
        let attn = format!("{name}.attn");
        let weight = network.matrix(&format!("{key}.attn.qkv.weight"), 3 * width, width)?;
        let qkv = b.linear(
            &format!("{attn}.qkv"),
            &normal,
            weight,
            Some(network.qkv_bias(i)?),
            keep,
        );
        let parts = b.split(
            &format!("{attn}.split"),
            &qkv,
            [("q", width), ("k", width), ("v", width)],
        );
        let [q, k, v] = parts.map(|part| split_heads(&mut b, &part, &part, d.heads, head_width));
        let context = attend(
            &mut b,
            &attn,
            ATTENTION_SCALE,
            [&q, &k, &v],
            None,
            head_width,
        );
        let weight = network.matrix(&format!("{key}.attn.proj.weight"), width, width)?;
        let bias = network.vector(&format!("{key}.attn.proj.bias"), width)?;
        let out = b.linear(&format!("{attn}.proj"), &context, weight, Some(bias), keep);
        x = b.op("Add", &format!("{name}.add_attn"), &[&x, &out], vec![]);

        let normal = b.layer_norm(
            &format!("{name}.norm2"),
            &x,
            network.vector(&format!("{key}.norm2.weight"), width)?,
            network.vector(&format!("{key}.norm2.bias"), width)?,
            BLOCK_EPSILON,
        );
        let weight = network.matrix(&format!("{key}.mlp.fc1.weight"), d.mlp_width, width)?;
        let bias = network.vector(&format!("{key}.mlp.fc1.bias"), d.mlp_width)?;
        let inner = b.linear(
            &format!("{name}.mlp.fc1"),
            &normal,
            weight,
            Some(bias),
            keep,
        );
        let active = b.op("Gelu", &format!("{name}.mlp.gelu"), &[&inner], vec![]);
        let weight = network.matrix(&format!("{key}.mlp.fc2.weight"), width, d.mlp_width)?;
        let bias = network.vector(&format!("{key}.mlp.fc2.bias"), width)?;
        let out = b.linear(
            &format!("{name}.mlp.fc2"),
            &active,
            weight,
            Some(bias),
            keep,
        );
        x = b.op("Add", &format!("{name}.add_mlp"), &[&x, &out], vec![]);
    }

    let features = b.layer_norm(
        "vision.ln_vision",
        &x,
        network.vector("ln_vision.weight", width)?,
        network.vector("ln_vision.bias", width)?,
        FINAL_EPSILON,
    );
    b.output(
        "features",
        &features,
        &[Dim::Fixed(1), Dim::Fixed(d.tokens), Dim::Fixed(width)],
    );
    Ok(b.finish())
}
