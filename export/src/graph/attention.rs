//! Scaled dot-product attention in plain operators, for every segment.

use super::GraphBuilder;
use crate::onnx::Attribute;

/// The scale of a segment whose attentions all have heads of one width.
pub(super) const ATTENTION_SCALE: &str = "attention_scale";

/// `[B,N,H*E]` to `[B,H,N,E]`.
pub(super) fn split_heads(
    b: &mut GraphBuilder,
    name: &str,
    x: &str,
    heads: usize,
    width: usize,
) -> String {
    let apart = b.reshape(
        &format!("{name}.apart"),
        x,
        &[0, 0, heads as i64, width as i64],
    );
    b.transpose(&format!("{name}.heads"), &apart, &[0, 2, 1, 3])
}

/// Attention of `q` `[B,H,N,E]` over `k`, `v` `[B,H,M,E]`; `bias` is added to the
/// scores. The result is `[B,N,H*E]`. Attentions with heads of one width share the
/// constant `scale_name`.
pub(super) fn attend(
    b: &mut GraphBuilder,
    name: &str,
    scale_name: &str,
    [q, k, v]: [&str; 3],
    bias: Option<&str>,
    head_width: usize,
) -> String {
    let scale = b.scalar(scale_name, scale_of(head_width));
    let q = b.op("Mul", &format!("{name}.scale"), &[q, &scale], vec![]);
    let keys = b.transpose(&format!("{name}.keys"), k, &[0, 1, 3, 2]);
    let mut scores = b.op("MatMul", &format!("{name}.scores"), &[&q, &keys], vec![]);
    if let Some(bias) = bias {
        scores = b.op("Add", &format!("{name}.mask"), &[&scores, bias], vec![]);
    }
    let weights = b.op(
        "Softmax",
        &format!("{name}.softmax"),
        &[&scores],
        vec![Attribute::int("axis", -1)],
    );
    let context = b.op("MatMul", &format!("{name}.context"), &[&weights, v], vec![]);
    let apart = b.transpose(&format!("{name}.gather"), &context, &[0, 2, 1, 3]);
    b.reshape(&format!("{name}.joined"), &apart, &[0, 0, -1])
}

/// One over the root of the head width.
pub(super) fn scale_of(head_width: usize) -> f32 {
    (1.0 / (head_width as f64).sqrt()) as f32
}
