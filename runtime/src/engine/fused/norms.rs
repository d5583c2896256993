//! Norms and gates: what is done to each row by itself.

use deltavlm_kernels::{self as kernels, GluKind, Norm, ThreadPool};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::graph::{Graph, attribute};
use super::{FusedGraph, FusedOp, floats};

#[derive(Debug)]
struct Normalise {
    scale: Vec<f32>,
    shift: Option<Vec<f32>>,
    epsilon: f32,
}

impl FusedOp for Normalise {
    fn name(&self) -> &'static str {
        "Norm"
    }

    fn run(&self, pool: &ThreadPool, inputs: &[TValue], output: &mut [f32]) -> TractResult<()> {
        let norm = Norm {
            scale: &self.scale,
            shift: self.shift.as_deref(),
            epsilon: self.epsilon,
        };
        Ok(kernels::normalize(
            pool,
            floats(&inputs[0])?,
            &norm,
            output,
        )?)
    }

    fn operations(&self, inputs: &[TValue]) -> f64 {
        // Mean, variance, and the result of each value.
        6.0 * inputs[0].len() as f64
    }
}

#[derive(Debug)]
struct Glu {
    kind: GluKind,
    width: usize,
}

impl FusedOp for Glu {
    fn name(&self) -> &'static str {
        "Gate"
    }

    fn run(&self, pool: &ThreadPool, inputs: &[TValue], output: &mut [f32]) -> TractResult<()> {
        Ok(kernels::glu(
            pool,
            self.kind,
            floats(&inputs[0])?,
            self.width,
            output,
        )?)
    }

    fn operations(&self, inputs: &[TValue]) -> f64 {
        // An exponential counts as ten.
        12.0 * inputs[0].len() as f64
    }
}

/// Replaces norms over the last axis and gates on the halves of a row.
pub(super) fn replace(graph: &mut Graph<'_>, replaced: &mut FusedGraph) -> Result<(), String> {
    for index in 0..graph.len() {
        let node = graph.node(index).clone();
        match node.op_type.as_str() {
            "LayerNormalization" | "RMSNormalization" if node.output.len() == 1 => {
                if let Some(step) = norm(graph, &node)? {
                    let width = step.scale.len();
                    let node = replaced.node(step, width, &node, vec![node.input[0].clone()]);
                    graph.put(index, node);
                }
            }
            "Mul" => {
                if let Some((kind, width, input)) = gate(graph, &node) {
                    let node = replaced.node(Glu { kind, width }, width, &node, vec![input]);
                    graph.put(index, node);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn norm(graph: &Graph<'_>, node: &NodeProto) -> Result<Option<Normalise>, String> {
    if attribute(node, "axis", -1) != -1 || attribute(node, "stash_type", 1) != 1 {
        return Ok(None);
    }
    let Some(scale) = graph.floats(&node.input[1])? else {
        return Ok(None);
    };
    let centred = node.op_type == "LayerNormalization";
    let shift = match node.input.get(2) {
        Some(name) => match graph.floats(name)? {
            Some(shift) if shift.len() == scale.len() => Some(shift),
            _ => return Ok(None),
        },
        None => centred.then(|| vec![0.0; scale.len()]),
    };
    let epsilon = node
        .attribute
        .iter()
        .find(|attribute| attribute.name == "epsilon");
    let epsilon = epsilon.map_or(1e-5, |attribute| attribute.f);
    Ok(Some(Normalise {
        scale,
        shift,
        epsilon,
    }))
}

/// The gate that a product closes, the width of its result, and what it reads.
fn gate(graph: &Graph<'_>, node: &NodeProto) -> Option<(GluKind, usize, String)> {
    let (a, b) = (&node.input[0], &node.input[1]);
    // (gate * sigmoid(gate)) * value
    if let Some(silu) = graph.producer(a, "Mul")
        && let Some(sigmoid) = graph.producer(&silu.input[1], "Sigmoid")
        && sigmoid.input[0] == silu.input[0]
    {
        let (width, input) = halves(graph, &silu.input[0], b)?;
        return Some((GluKind::SwiGlu, width, input));
    }
    // sigmoid(gate) * tanh(value)
    let sigmoid = graph.producer(a, "Sigmoid")?;
    let tanh = graph.producer(b, "Tanh")?;
    let (width, input) = halves(graph, &tanh.input[0], &sigmoid.input[0])?;
    Some((GluKind::GatedTanh, width, input))
}

/// The width of two values that are the halves of the rows of a third, and its name.
fn halves(graph: &Graph<'_>, first: &str, second: &str) -> Option<(usize, String)> {
    let split = graph.producer(first, "Split")?;
    let sizes = graph.integers(split.input.get(1)?)?;
    let [a, b] = sizes[..] else { return None };
    let fits = a == b && attribute(split, "axis", 0) == -1 && split.output == [first, second];
    let width = usize::try_from(a).ok()?;
    fits.then(|| (width, split.input[0].clone()))
}
