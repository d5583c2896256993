//! Attributes of a node, and axes that count from the end.

use crate::array::Array;
use crate::onnx::Node;

pub(super) fn axis(node: &Node, x: &Array) -> usize {
    axis_of(int(node, "axis"), x)
}

/// An axis that may count from the end.
pub(super) fn axis_of(axis: i64, x: &Array) -> usize {
    if axis < 0 {
        (axis + x.shape.len() as i64) as usize
    } else {
        axis as usize
    }
}

pub(super) fn int(node: &Node, name: &str) -> i64 {
    node.attribute
        .iter()
        .find(|a| a.name == name)
        .and_then(|a| a.i)
        .unwrap_or(0)
}

pub(super) fn float(node: &Node, name: &str) -> f32 {
    node.attribute
        .iter()
        .find(|a| a.name == name)
        .and_then(|a| a.f)
        .unwrap_or(0.0)
}

pub(super) fn ints<'a>(node: &'a Node, name: &str) -> &'a [i64] {
    node.attribute
        .iter()
        .find(|a| a.name == name)
        .map_or(&[], |a| &a.ints)
}
