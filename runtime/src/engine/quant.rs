//! `MatMulNBits` in tract: weights stay where they lie in the mapped file.
//!
//! tract refuses 8 bits and expands most of the rest. So before it parses a graph,
//! each such node with constant, symmetric weights is replaced by one that holds
//! only a number; its weights never become tensors. After parsing, the number is
//! exchanged for the mapped bytes.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use deltavlm_kernels::{Bits, Epilogue, Pool, QuantizedMatrix, Scales, matmul};
use half::f16;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};
use tract_onnx::tract_hir::internal::*;

use crate::map::Map;

/// The name that the replaced nodes carry.
pub(super) const OP_TYPE: &str = "MappedMatMul";

/// The weights of one product, as places in the mapped file.
pub(super) struct Weights {
    map: Arc<Map>,
    pool: Arc<Pool>,
    bits: Bits,
    n: usize,
    k: usize,
    quants: Range<usize>,
    scales: Range<usize>,
    half_scales: bool,
}

impl Weights {
    fn matrix(&self) -> Result<QuantizedMatrix<'_>, String> {
        let quants = self
            .map
            .get(self.quants.clone())
            .ok_or("weights reach beyond the file")?;
        let scales = self
            .map
            .get(self.scales.clone())
            .ok_or("scales reach beyond the file")?;
        let misaligned = |_| "scales are not aligned to their size".to_owned();
        let scales = if self.half_scales {
            Scales::F16(bytemuck::try_cast_slice::<u8, f16>(scales).map_err(misaligned)?)
        } else {
            Scales::F32(bytemuck::try_cast_slice::<u8, f32>(scales).map_err(misaligned)?)
        };
        QuantizedMatrix::new(self.bits, self.n, self.k, quants, scales)
            .map_err(|error| error.to_string())
    }
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} [{}, {}]", self.bits, self.n, self.k)
    }
}

/// Replaces every node that can be served from the map; returns their weights.
pub(super) fn replace(
    graph: &mut GraphProto,
    map: &Arc<Map>,
    pool: &Arc<Pool>,
) -> Result<Vec<Arc<Weights>>, String> {
    let mut table = Vec::new();
    let mut nodes = std::mem::take(&mut graph.node);
    // Scales may be kept in half precision and cast in the graph.
    let casts: HashMap<String, String> = nodes
        .iter()
        .filter(|node| node.op_type == "Cast" && node.input.len() == 1 && node.output.len() == 1)
        .map(|node| (node.output[0].clone(), node.input[0].clone()))
        .collect();
    let constants: HashMap<&str, &TensorProto> = graph
        .initializer
        .iter()
        .map(|tensor| (tensor.name.as_str(), tensor))
        .collect();
    for node in &mut nodes {
        if node.op_type != "MatMulNBits" {
            continue;
        }
        let Some(weights) = served(node, &constants, &casts, map, pool)? else {
            continue;
        };
        weights
            .matrix()
            .map_err(|problem| format!("node `{}`: {problem}; rebuild the bundle", node.name))?;
        node.op_type = OP_TYPE.to_owned();
        node.domain.clear();
        node.input.truncate(1);
        node.attribute = vec![
            integer("slot", table.len()),
            integer("n", weights.n),
            integer("k", weights.k),
        ];
        table.push(Arc::new(weights));
    }
    // Casts of scales have no reader any more, and neither have the constants.
    let outputs: Vec<String> = graph
        .output
        .iter()
        .map(|output| output.name.clone())
        .collect();
    let read = names_read(&nodes);
    nodes.retain(|node| {
        let is_read = |name: &String| read.contains(name) || outputs.contains(name);
        node.op_type != "Cast" || node.output.iter().any(is_read)
    });
    let read = names_read(&nodes);
    graph
        .initializer
        .retain(|tensor| read.contains(&tensor.name) || outputs.contains(&tensor.name));
    graph.node = nodes;
    Ok(table)
}

fn names_read(nodes: &[NodeProto]) -> HashSet<String> {
    nodes
        .iter()
        .flat_map(|node| node.input.iter().cloned())
        .collect()
}

/// The weights of a node, if they are constant, symmetric, of blocks of 32 and outside the graph.
fn served(
    node: &NodeProto,
    constants: &HashMap<&str, &TensorProto>,
    casts: &HashMap<String, String>,
    map: &Arc<Map>,
    pool: &Arc<Pool>,
) -> Result<Option<Weights>, String> {
    let attribute = |name: &str| node.attribute.iter().find(|a| a.name == name).map(|a| a.i);
    let extra = node.input.iter().skip(3).any(|input| !input.is_empty());
    let bits = match attribute("bits").unwrap_or(4) {
        4 => Bits::Four,
        8 => Bits::Eight,
        _ => return Ok(None),
    };
    let (Some(k), Some(n), Some(32), false) = (
        attribute("K"),
        attribute("N"),
        attribute("block_size"),
        extra,
    ) else {
        return Ok(None);
    };
    let size = |value: i64| {
        usize::try_from(value).map_err(|_| format!("node `{}`: negative size", node.name))
    };
    let (Some(quants), Some(scales)) = (node.input.get(1), node.input.get(2)) else {
        return Ok(None);
    };
    let scales = casts.get(scales).unwrap_or(scales);
    let (Some(quants_tensor), Some(scales_tensor)) = (
        constants.get(quants.as_str()),
        constants.get(scales.as_str()),
    ) else {
        return Ok(None);
    };
    let half_scales = match DataType::try_from(scales_tensor.data_type) {
        Ok(DataType::Float) => false,
        Ok(DataType::Float16) => true,
        _ => return Ok(None),
    };
    let (Some(quants), Some(scales)) = (place(quants_tensor)?, place(scales_tensor)?) else {
        return Ok(None);
    };
    Ok(Some(Weights {
        map: map.clone(),
        pool: pool.clone(),
        bits,
        n: size(n)?,
        k: size(k)?,
        quants,
        scales,
        half_scales,
    }))
}

/// Where external data lies; `None` for a tensor inside the graph.
fn place(tensor: &TensorProto) -> Result<Option<Range<usize>>, String> {
    if tensor.data_location != Some(DataLocation::External as i32) {
        return Ok(None);
    }
    let number = |key: &str| {
        let entry = tensor.external_data.iter().find(|entry| entry.key == key)?;
        Some(entry.value.parse::<usize>())
    };
    let malformed = |_| format!("tensor `{}`: malformed external data", tensor.name);
    let offset = number("offset")
        .transpose()
        .map_err(malformed)?
        .unwrap_or(0);
    let length = number("length").transpose().map_err(malformed)?;
    let length = length
        .ok_or_else(|| format!("tensor `{}`: external data without a length", tensor.name))?;
    let end = offset
        .checked_add(length)
        .ok_or_else(|| format!("tensor `{}`: impossible size", tensor.name))?;
    Ok(Some(offset..end))
}

fn integer(name: &str, value: usize) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: tract_onnx::pb::attribute_proto::AttributeType::Int as i32,
        i: i64::try_from(value).unwrap_or(i64::MAX),
        ..AttributeProto::default()
    }
}

/// What tract's register calls for [`OP_TYPE`].
pub(super) fn build(
    _: &ParsingContext<'_>,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let op = MappedMatMul {
        slot: node.get_attr("slot")?,
        n: node.get_attr("n")?,
        k: node.get_attr("k")?,
        weights: None,
    };
    Ok((expand(op), vec![]))
}

/// Gives every replaced node its weights.
pub(super) fn attach(model: &mut TypedModel, table: &[Arc<Weights>]) -> TractResult<()> {
    for node in model.nodes_mut() {
        if let Some(op) = node.op_as_mut::<MappedMatMul>() {
            op.weights = Some(
                table
                    .get(op.slot)
                    .context("a product without weights")?
                    .clone(),
            );
        }
    }
    Ok(())
}

/// `x * weights^T` on the last axis.
#[derive(Debug, Clone)]
pub(super) struct MappedMatMul {
    slot: usize,
    n: usize,
    k: usize,
    weights: Option<Arc<Weights>>,
}

impl PartialEq for MappedMatMul {
    fn eq(&self, other: &Self) -> bool {
        // Slots number the weights of one graph.
        self.slot == other.slot && self.n == other.n && self.k == other.k
    }
}

impl Eq for MappedMatMul {}

impl Expansion for MappedMatMul {
    fn name(&self) -> StaticName {
        OP_TYPE.into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        s.equals(&inputs[0].datum_type, f32::datum_type())?;
        s.equals(&outputs[0].datum_type, f32::datum_type())?;
        s.equals(&inputs[0].rank, &outputs[0].rank)?;
        s.given(&inputs[0].rank, move |s, rank| {
            let last = usize::try_from(rank)?
                .checked_sub(1)
                .context("a product of a scalar")?;
            for axis in 0..last {
                s.equals(&outputs[0].shape[axis], &inputs[0].shape[axis])?;
            }
            s.equals(&inputs[0].shape[last], self.k.to_dim())?;
            s.equals(&outputs[0].shape[last], self.n.to_dim())
        })
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }

    fn runs_out_of_plan(&self) -> bool {
        false
    }
}

impl Op for MappedMatMul {
    fn name(&self) -> StaticName {
        OP_TYPE.into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("[{}, {}]", self.n, self.k)])
    }

    op_as_typed_op!();
}

impl EvalOp for MappedMatMul {
    not_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let weights = self.weights.as_ref().context("a product without weights")?;
        let matrix = weights
            .matrix()
            .map_err(|problem| format_err!("{problem}"))?;
        let mut shape: TVec<usize> = input.shape().into();
        *shape.last_mut().context("a product of a scalar")? = self.n;
        let mut output = Tensor::zero::<f32>(&shape)?;
        let product = matmul(
            &weights.pool,
            input.try_as_plain_ram()?.as_slice::<f32>()?,
            &matrix,
            Epilogue::default(),
            output.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?,
        );
        product.map_err(|error| format_err!("{error}"))?;
        Ok(tvec!(output.into_tvalue()))
    }
}

impl TypedOp for MappedMatMul {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let mut shape = inputs[0].shape.to_tvec();
        *shape.last_mut().context("a product of a scalar")? = self.n.to_dim();
        Ok(tvec!(f32::fact(shape)))
    }

    fn cost(&self, inputs: &[&TypedFact]) -> TractResult<TVec<(Cost, TDim)>> {
        let rows: TDim = inputs[0].shape.iter().rev().skip(1).product();
        Ok(tvec!((
            Cost::FMA(f32::datum_type()),
            rows * self.n * self.k
        )))
    }
}
