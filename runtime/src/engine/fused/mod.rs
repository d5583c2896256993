//! Fused operators in tract.
//!
//! tract refuses 8-bit `MatMulNBits`, copies weights to the heap, computes on one
//! thread, and takes attention apart. So before it parses a graph, groups of nodes
//! that our kernels compute in one step are replaced by one node that holds only a
//! number; weights never become tensors. After parsing, the number is exchanged
//! for the operator with its mapped weights. A group that is not recognised stays as
//! it is, and tract computes it.

mod attention;
mod buffer_pool;
mod graph;
mod linear;
mod norms;

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use deltavlm_kernels::{KvCache, ThreadPool};
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::{GraphProto, NodeProto};
use tract_onnx::tract_hir::internal::*;

use crate::mmap::MappedFile;
use buffer_pool::BufferPool;
use graph::Graph;

/// The name that the replaced nodes carry in a graph.
pub(super) const OP_TYPE: &str = "Fused";

/// An operator of our own. Its output has the shape of its first input, but for the
/// last axis.
pub(super) trait FusedOp: Debug + Send + Sync {
    /// What it is called in a profile.
    fn name(&self) -> &'static str;

    /// Computes the output, every value of it: what is in it has no meaning.
    fn run(&self, pool: &ThreadPool, inputs: &[TValue], output: &mut [f32]) -> TractResult<()>;

    /// Multiplications and additions for these inputs, each counted.
    fn operations(&self, inputs: &[TValue]) -> f64;

    /// Bytes of weights that it reads.
    fn weight_bytes(&self) -> usize {
        0
    }
}

/// What a graph has become.
pub(super) struct FusedGraph {
    ops: Vec<Arc<dyn FusedOp>>,
    pool: Arc<ThreadPool>,
    buffers: Arc<BufferPool>,
    /// Keys and values of the attentions that keep theirs, in the order of layers.
    pub(super) caches: Vec<Cache>,
}

/// Keys and values of one attention, shared between its operator and the decoder.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    pub(super) kept: Arc<Mutex<KvCache>>,
    pub(super) heads: usize,
    pub(super) width: usize,
}

/// Replaces every group of nodes that has an operator of our own.
pub(super) fn replace(
    graph: &mut GraphProto,
    map: &Arc<MappedFile>,
    pool: &Arc<ThreadPool>,
) -> Result<FusedGraph, String> {
    let mut graph = Graph::new(graph, map);
    let mut replaced = FusedGraph {
        ops: Vec::new(),
        pool: pool.clone(),
        buffers: Arc::default(),
        caches: Vec::new(),
    };
    attention::replace(&mut graph, &mut replaced)?;
    linear::replace(&mut graph, &mut replaced)?;
    norms::replace(&mut graph, &mut replaced)?;
    graph.drop_unread();
    Ok(replaced)
}

impl FusedGraph {
    /// Adds an operator; the node that stands for it.
    fn node(
        &mut self,
        op: impl FusedOp + 'static,
        width: usize,
        like: &NodeProto,
        input: Vec<String>,
    ) -> NodeProto {
        self.ops.push(Arc::new(op));
        NodeProto {
            op_type: OP_TYPE.to_owned(),
            name: like.name.clone(),
            output: like.output.clone(),
            input,
            attribute: vec![
                graph::integer("slot", self.ops.len() - 1),
                graph::integer("width", width),
            ],
            ..NodeProto::default()
        }
    }

    /// Gives every replaced node its operator.
    pub(super) fn attach(&self, model: &mut TypedModel) -> TractResult<()> {
        for node in model.nodes_mut() {
            if let Some(node) = node.op_as_mut::<FusedNode>() {
                let op = self
                    .ops
                    .get(node.slot)
                    .context("a node without its operator")?;
                node.attached = Some(Attached {
                    op: op.clone(),
                    pool: self.pool.clone(),
                    buffers: self.buffers.clone(),
                });
            }
        }
        Ok(())
    }
}

/// What tract's register calls for [`OP_TYPE`].
pub(super) fn build(
    _: &ParsingContext<'_>,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let op = FusedNode {
        slot: node.get_attr("slot")?,
        width: node.get_attr("width")?,
        inputs: node.input.len(),
        attached: None,
    };
    Ok((expand(op), vec![]))
}

/// A node of the graph that is computed by a [`FusedOp`].
#[derive(Debug, Clone)]
pub(super) struct FusedNode {
    slot: usize,
    /// The last axis of the output.
    width: usize,
    inputs: usize,
    attached: Option<Attached>,
}

/// An operator and what it computes with.
#[derive(Debug, Clone)]
struct Attached {
    op: Arc<dyn FusedOp>,
    pool: Arc<ThreadPool>,
    buffers: Arc<BufferPool>,
}

impl FusedNode {
    /// The operator, once it is attached.
    pub(super) fn op(&self) -> Option<&dyn FusedOp> {
        self.attached.as_ref().map(|attached| attached.op.as_ref())
    }
}

impl PartialEq for FusedNode {
    fn eq(&self, other: &Self) -> bool {
        // Slots number the ops of one graph.
        self.slot == other.slot
    }
}

impl Eq for FusedNode {}

impl Expansion for FusedNode {
    fn name(&self) -> StaticName {
        OP_TYPE.into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, self.inputs)?;
        check_output_arity(outputs, 1)?;
        for input in inputs {
            s.equals(&input.datum_type, f32::datum_type())?;
        }
        s.equals(&outputs[0].datum_type, f32::datum_type())?;
        s.equals(&inputs[0].rank, &outputs[0].rank)?;
        s.given(&inputs[0].rank, move |s, rank| {
            let last = usize::try_from(rank)?
                .checked_sub(1)
                .context("a scalar has no rows")?;
            for axis in 0..last {
                s.equals(&outputs[0].shape[axis], &inputs[0].shape[axis])?;
            }
            s.equals(&outputs[0].shape[last], self.width.to_dim())
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

impl Op for FusedNode {
    fn name(&self) -> StaticName {
        self.op().map_or(OP_TYPE, FusedOp::name).into()
    }

    op_as_typed_op!();
}

impl EvalOp for FusedNode {
    not_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let Attached { op, pool, buffers } =
            (self.attached.as_ref()).context("a node without its operator")?;
        let mut shape: TVec<usize> = inputs[0].shape().into();
        *shape.last_mut().context("a scalar has no rows")? = self.width;
        let mut output = buffers.take(&shape)?;
        op.run(
            pool,
            &inputs,
            output.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?,
        )?;
        drop(inputs);
        Ok(tvec!(buffers.keep(output).into_tvalue()))
    }
}

impl TypedOp for FusedNode {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let mut shape = inputs[0].shape.to_tvec();
        *shape.last_mut().context("a scalar has no rows")? = self.width.to_dim();
        Ok(tvec!(f32::fact(shape)))
    }
}

/// The numbers of an input.
fn floats(value: &TValue) -> TractResult<&[f32]> {
    value.try_as_plain_ram()?.as_slice::<f32>()
}

/// The last axis of an input.
fn row(value: &TValue) -> usize {
    value.shape().last().copied().unwrap_or(1)
}
