//! Linear maps with what follows them: bias, activation, residual.

use std::ops::Range;
use std::sync::Arc;

use deltavlm_kernels::{
    Activation, Bits, DenseMatrix, DenseValues, Epilogue, QuantizedMatrix, Scales, ThreadPool,
    matmul, matmul_dense,
};
use half::f16;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::graph::{Graph, Stored, attribute};
use super::{FusedGraph, FusedOp, floats};
use crate::mmap::MappedFile;

/// `activation(x * weights + bias) + residual`; the residual is the second input.
#[derive(Debug)]
struct Linear {
    map: Arc<MappedFile>,
    weights: Weights,
    k: usize,
    n: usize,
    bias: Option<Vec<f32>>,
    activation: Activation,
}

/// Places in the mapped file, in which the numbers are used.
#[derive(Debug)]
enum Weights {
    Blocks {
        bits: Bits,
        codes: Range<usize>,
        scales: Stored,
    },
    Dense(Stored),
}

/// Weights as the kernels take them.
enum Matrix<'a> {
    Blocks(QuantizedMatrix<'a>),
    Dense(DenseMatrix<'a>),
}

impl Linear {
    fn matrix(&self) -> Result<Matrix<'_>, String> {
        let bytes = |place: &Range<usize>| {
            self.map
                .get(place.clone())
                .ok_or("weights reach beyond the file")
        };
        let singles = |place| floats_at::<f32>(bytes(place)?);
        let halves = |place| floats_at::<f16>(bytes(place)?);
        let (k, n) = (self.k, self.n);
        match &self.weights {
            Weights::Blocks {
                bits,
                codes,
                scales,
            } => {
                let scales = if scales.half {
                    Scales::F16(halves(&scales.place)?)
                } else {
                    Scales::F32(singles(&scales.place)?)
                };
                QuantizedMatrix::new(*bits, n, k, bytes(codes)?, scales).map(Matrix::Blocks)
            }
            Weights::Dense(stored) => {
                let values = if stored.half {
                    DenseValues::F16(halves(&stored.place)?)
                } else {
                    DenseValues::F32(singles(&stored.place)?)
                };
                DenseMatrix::new(k, n, values).map(Matrix::Dense)
            }
        }
        .map_err(|error| error.to_string())
    }
}

fn floats_at<T: bytemuck::AnyBitPattern>(bytes: &[u8]) -> Result<&[T], String> {
    bytemuck::try_cast_slice(bytes).map_err(|_| "weights are not aligned to their size".to_owned())
}

impl FusedOp for Linear {
    fn name(&self) -> &'static str {
        match &self.weights {
            Weights::Blocks {
                bits: Bits::Four, ..
            } => "Linear int4",
            Weights::Blocks {
                bits: Bits::Eight, ..
            } => "Linear int8",
            Weights::Dense(Stored { half: true, .. }) => "Linear f16",
            Weights::Dense(_) => "Linear f32",
        }
    }

    fn run(&self, pool: &ThreadPool, inputs: &[TValue], output: &mut [f32]) -> TractResult<()> {
        let epilogue = Epilogue {
            bias: self.bias.as_deref(),
            activation: self.activation,
            residual: inputs.get(1).map(floats).transpose()?,
        };
        let x = floats(&inputs[0])?;
        match self.matrix().map_err(TractError::msg)? {
            Matrix::Blocks(matrix) => matmul(pool, x, &matrix, epilogue, output)?,
            Matrix::Dense(matrix) => matmul_dense(pool, x, &matrix, epilogue, output)?,
        }
        Ok(())
    }

    fn operations(&self, inputs: &[TValue]) -> f64 {
        2.0 * inputs[0].len() as f64 * self.n as f64
    }

    fn weight_bytes(&self) -> usize {
        match &self.weights {
            Weights::Blocks { codes, scales, .. } => codes.len() + scales.place.len(),
            Weights::Dense(stored) => stored.place.len(),
        }
    }
}

/// Replaces linear maps with constant weights outside the graph.
pub(super) fn replace(graph: &mut Graph<'_>, replaced: &mut FusedGraph) -> Result<(), String> {
    for index in 0..graph.len() {
        let node = graph.node(index);
        let Some((weights, k, n)) = (match node.op_type.as_str() {
            "MatMulNBits" => blocks(graph, node)?,
            "MatMul" => dense(graph, node)?,
            _ => None,
        }) else {
            continue;
        };
        let mut linear = Linear {
            map: graph.map.clone(),
            weights,
            k,
            n,
            bias: None,
            activation: Activation::None,
        };
        if let Err(problem) = linear.matrix() {
            return Err(format!(
                "node `{}`: {problem}; rebuild the bundle",
                node.name
            ));
        }
        let mut input = vec![node.input[0].clone()];
        let mut last = (index, node);
        if let Some(found) = graph
            .only_reader(last.1)
            .filter(|(_, node)| node.op_type == "Add")
            && let Some(bias) = graph.floats(other_input(found.1, last.1))?
            && bias.len() == n
        {
            (linear.bias, last) = (Some(bias), found);
        }
        if let Some(found) = graph.only_reader(last.1).filter(|(_, node)| is_gelu(node)) {
            (linear.activation, last) = (Activation::Gelu, found);
        }
        if let Some(found) = graph
            .only_reader(last.1)
            .filter(|(_, node)| node.op_type == "Add")
            && graph.is_computed(other_input(found.1, last.1))
        {
            input.push(other_input(found.1, last.1).to_owned());
            last = found;
        }
        let (at, like) = (last.0, last.1.clone());
        let node = replaced.node(linear, n, &like, input);
        graph.put(at, node);
    }
    Ok(())
}

/// What a node of two inputs reads beside the output of another.
fn other_input<'a>(node: &'a NodeProto, known: &NodeProto) -> &'a str {
    let place = usize::from(node.input[0] == known.output[0]);
    node.input.get(place).map_or("", String::as_str)
}

fn is_gelu(node: &NodeProto) -> bool {
    let approximate = node
        .attribute
        .iter()
        .find(|attribute| attribute.name == "approximate");
    node.op_type == "Gelu" && approximate.is_none_or(|attribute| attribute.s == b"none")
}

/// Weights that are symmetric, of blocks of 32, and in the mapped file.
fn blocks(graph: &Graph<'_>, node: &NodeProto) -> Result<Option<(Weights, usize, usize)>, String> {
    let bits = match attribute(node, "bits", 4) {
        4 => Bits::Four,
        8 => Bits::Eight,
        _ => return Ok(None),
    };
    let extra = node.input.iter().skip(3).any(|input| !input.is_empty());
    if node.input.len() < 3 || extra || attribute(node, "block_size", 0) != 32 {
        return Ok(None);
    }
    let size = |name: &str| {
        usize::try_from(attribute(node, name, 0))
            .map_err(|_| format!("node `{}`: negative size", node.name))
    };
    let (Some(codes), Some(scales)) =
        (graph.stored(&node.input[1])?, graph.stored(&node.input[2])?)
    else {
        return Ok(None);
    };
    let weights = Weights::Blocks {
        bits,
        codes: codes.place,
        scales,
    };
    Ok(Some((weights, size("K")?, size("N")?)))
}

/// A matrix of numbers in the mapped file.
fn dense(graph: &Graph<'_>, node: &NodeProto) -> Result<Option<(Weights, usize, usize)>, String> {
    let Some(stored) = graph.stored(&node.input[1])? else {
        return Ok(None);
    };
    let [k, n] = stored.dims[..] else {
        return Ok(None);
    };
    Ok(Some((Weights::Dense(stored), k, n)))
}
