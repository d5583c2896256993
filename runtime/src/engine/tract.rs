//! tract: pure Rust, any CPU, no library to install.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use deltavlm_bundle::{Segment, SegmentRecord};
use deltavlm_kernels::ThreadPool;
use prost::Message;
use tract_onnx::pb::ModelProto;
use tract_onnx::tract_hir::internal::*;

use super::error::EngineError;
use super::fused::{self, FusedNode};
use super::{Decoder, DecoderStep, Engine, EngineReport, Input, InputData, OpTime};
use crate::bundle::Bundle;
use crate::error::{Cause, Error};
use crate::memory::MemoryEstimate;
use crate::mmap::MappedFile;
use crate::options::Options;

pub(crate) struct TractEngine {
    report: EngineReport,
    plans: BTreeMap<Segment, Plan>,
    /// `[heads, head width]` of a cached key or value.
    cache_shape: [usize; 2],
    profile: Option<BTreeMap<(Segment, String), OpTime>>,
}

struct Plan {
    state: TypedSimpleState,
    inputs: Vec<String>,
    outputs: Vec<String>,
    /// Keys and values that the graph's own attentions keep.
    caches: Vec<fused::Cache>,
}

impl TractEngine {
    pub(crate) fn open(
        bundle: &Bundle,
        options: &Options,
        reason: &str,
        rejected: Vec<String>,
    ) -> Result<Self, Error> {
        let manifest = &bundle.manifest;
        MemoryEstimate::of(manifest, false).check(manifest, options)?;
        let threads = options.thread_count();
        let pool = Arc::new(
            ThreadPool::new(threads).map_err(|error| fault(EngineError::Threads(error.into())))?,
        );
        let mut plans = BTreeMap::new();
        for (&segment, record) in &manifest.segments {
            let plan = Plan::load(&bundle.directory, record, &pool)
                .map_err(|source| bundle.unloadable(segment, source))?;
            plans.insert(segment, plan);
        }
        let report = EngineReport {
            name: "tract",
            version: "0.23".to_owned(),
            provider: format!("cpu ({})", pool.isa()),
            rejected,
            reason: reason.to_owned(),
            threads,
            library: None,
        };
        let llm = &manifest.model.llm;
        Ok(Self {
            report,
            plans,
            cache_shape: [llm.kv_heads, llm.head_dim],
            profile: None,
        })
    }

    fn execute(&mut self, segment: Segment, inputs: TVec<TValue>) -> Result<TVec<TValue>, Error> {
        let plan = self
            .plans
            .get_mut(&segment)
            .ok_or_else(|| absent(segment))?;
        let result = match &mut self.profile {
            None => plan.state.run(inputs),
            Some(profile) => {
                plan.state
                    .run_plan_with_eval(inputs, |context, state, node, inputs| {
                        let mut cost = Cost::before(node, &inputs);
                        let started = Instant::now();
                        let result =
                            tract_onnx::tract_core::plan::eval(context, state, node, inputs);
                        let ms = started.elapsed().as_secs_f64() * 1e3;
                        if let Ok(outputs) = &result {
                            cost.bytes += outputs.iter().map(bytes).sum::<f64>();
                        }
                        let op = node.op().name().into_owned();
                        let entry = profile.entry((segment, op.clone()));
                        let entry = entry.or_insert_with(|| OpTime::none(segment, op));
                        entry.calls += 1;
                        entry.ms += ms;
                        entry.operations += cost.operations;
                        entry.bytes += cost.bytes;
                        result
                    })
            }
        };
        result.map_err(|error| failed(segment, error))
    }
}

impl Engine for TractEngine {
    fn report(&self) -> &EngineReport {
        &self.report
    }

    fn run(&mut self, segment: Segment, inputs: &[Input<'_>]) -> Result<Vec<f32>, Error> {
        let plan = self.plans.get(&segment).ok_or_else(|| absent(segment))?;
        let values = plan
            .inputs
            .iter()
            .map(|name| {
                let input = inputs.iter().find(|input| input.name == name);
                let input =
                    input.with_context(|| format!("the graph asks for an input `{name}`"))?;
                Ok(match input.data {
                    InputData::F32(values) => Tensor::from_shape(input.shape, values)?,
                    InputData::I64(values) => Tensor::from_shape(input.shape, values)?,
                }
                .into_tvalue())
            })
            .collect::<TractResult<TVec<TValue>>>()
            .map_err(|error| failed(segment, error))?;
        let outputs = self.execute(segment, values)?;
        floats(&outputs[0]).map_err(|error| failed(segment, error))
    }

    fn start(&mut self, rows: usize) -> Result<Box<dyn Decoder + '_>, Error> {
        let plan = self
            .plans
            .get(&Segment::Decoder)
            .ok_or_else(|| absent(Segment::Decoder))?;
        let [heads, width] = self.cache_shape;
        for cache in &plan.caches {
            let mut kept = cache.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.reset(rows, cache.heads, cache.width);
        }
        let mut cache = BTreeMap::new();
        for name in plan.inputs.iter().filter(|name| name.starts_with("past.")) {
            let empty = Tensor::zero::<f32>(&[rows, heads, 0, width]);
            let empty = empty.map_err(|error| failed(Segment::Decoder, error))?;
            cache.insert(name.clone(), empty.into_tvalue());
        }
        Ok(Box::new(TractDecoder {
            engine: self,
            cache,
        }))
    }

    fn profile(&mut self) -> Option<Vec<OpTime>> {
        let taken = self.profile.replace(BTreeMap::new()).unwrap_or_default();
        Some(taken.into_values().collect())
    }
}

struct TractDecoder<'e> {
    engine: &'e mut TractEngine,
    /// What the graph takes and gives instead of keeping it, by the name of the input.
    cache: BTreeMap<String, TValue>,
}

impl Decoder for TractDecoder<'_> {
    fn forward(&mut self, step: &DecoderStep<'_>) -> Result<Vec<f32>, Error> {
        let fail = |error: TractError| failed(Segment::Decoder, error);
        let plan = self
            .engine
            .plans
            .get(&Segment::Decoder)
            .ok_or_else(|| absent(Segment::Decoder))?;
        let (rows, new) = (step.rows, step.new);
        let width = step.embeddings.len() / (rows * new).max(1);
        let mut values: TVec<TValue> = tvec!();
        for name in &plan.inputs {
            let tensor = match name.as_str() {
                "embeddings" => Tensor::from_shape(&[rows, new, width], step.embeddings),
                "positions" => Tensor::from_shape(&[rows, new], step.positions),
                "attention_bias" => Tensor::from_shape(&[rows, 1, new, step.past + new], step.bias),
                past => {
                    let value = self.cache.remove(past);
                    values.push(
                        value.ok_or_else(|| no_output(&past.replacen("past", "present", 1)))?,
                    );
                    continue;
                }
            };
            values.push(tensor.map_err(fail)?.into_tvalue());
        }
        let names = plan.outputs.clone();
        let outputs = self.engine.execute(Segment::Decoder, values)?;
        let mut logits = None;
        for (name, value) in names.iter().zip(outputs) {
            match name.strip_prefix("present.") {
                Some(rest) => {
                    self.cache.insert(format!("past.{rest}"), value);
                }
                None => logits = Some(floats(&value).map_err(fail)?),
            }
        }
        logits.ok_or_else(|| no_output("logits"))
    }

    fn reorder_cache(&mut self, rows: &[usize]) -> Result<(), Error> {
        let fail = |error: TractError| failed(Segment::Decoder, error);
        for value in self.cache.values_mut() {
            *value = pick(value, rows).map_err(fail)?.into_tvalue();
        }
        let plan = self.engine.plans.get(&Segment::Decoder);
        for cache in plan.iter().flat_map(|plan| &plan.caches) {
            let mut kept = cache.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.select(rows);
        }
        Ok(())
    }

    fn profile(&mut self) -> Option<Vec<OpTime>> {
        self.engine.profile()
    }
}

/// Rows of the first axis, in the order given.
fn pick(tensor: &Tensor, rows: &[usize]) -> TractResult<Tensor> {
    let mut shape: TVec<usize> = tensor.shape().into();
    let row: usize = shape[1..].iter().product();
    let view = tensor.try_as_plain_ram()?;
    let from = view.as_slice::<f32>()?;
    let mut values = Vec::with_capacity(rows.len() * row);
    for &index in rows {
        values.extend_from_slice(&from[index * row..][..row]);
    }
    shape[0] = rows.len();
    Tensor::from_shape(&shape, &values)
}

fn floats(tensor: &Tensor) -> TractResult<Vec<f32>> {
    Ok(tensor.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
}

impl Plan {
    fn load(
        directory: &Path,
        record: &SegmentRecord,
        pool: &Arc<ThreadPool>,
    ) -> Result<Self, Cause> {
        let graph_file = MappedFile::open(&directory.join(&record.graph))?;
        let weights = Arc::new(MappedFile::open(&directory.join(&record.weights))?);
        let mut proto = ModelProto::decode(&*graph_file)
            .map_err(|error| format!("{}: {error}", record.graph))?;
        let graph = proto
            .graph
            .as_mut()
            .ok_or_else(|| format!("{}: no graph", record.graph))?;
        let replaced = fused::replace(graph, &weights, pool)?;
        let outputs = graph
            .output
            .iter()
            .map(|output| output.name.clone())
            .collect();
        let state = Self::prepare(&proto, directory, &replaced)?;
        let model = state.model();
        let inputs = model.input_outlets()?;
        let inputs = inputs
            .iter()
            .map(|outlet| model.node(outlet.node).name.clone())
            .collect();
        Ok(Self {
            state,
            inputs,
            outputs,
            caches: replaced.caches,
        })
    }

    fn prepare(
        proto: &ModelProto,
        directory: &Path,
        replaced: &fused::FusedGraph,
    ) -> TractResult<TypedSimpleState> {
        let mut onnx = tract_onnx::onnx();
        onnx.op_register.insert(fused::OP_TYPE, fused::build);
        let directory = directory
            .to_str()
            .context("the path of the bundle is not UTF-8")?;
        let parsed = onnx.parse(proto, Some(directory))?;
        ensure!(
            parsed.unresolved_inputs.is_empty(),
            "unresolved inputs {:?}",
            parsed.unresolved_inputs
        );
        let mut typed = parsed.model.into_typed()?;
        replaced.attach(&mut typed)?;
        let runnable = typed
            .into_decluttered()?
            .into_optimized()?
            .into_runnable()?;
        runnable.spawn()
    }
}

/// What a node computes and moves, for a profile.
struct Cost {
    operations: f64,
    bytes: f64,
}

impl Cost {
    fn before(node: &TypedNode, inputs: &[TValue]) -> Self {
        let moved = inputs.iter().map(bytes).sum::<f64>();
        match node.op_as::<FusedNode>().and_then(FusedNode::op) {
            Some(step) => Self {
                operations: step.operations(inputs),
                bytes: moved + step.weight_bytes() as f64,
            },
            None => Self {
                operations: operations(node, inputs).unwrap_or(0.0),
                bytes: moved,
            },
        }
    }
}

/// What tract says that a node of its own computes.
fn operations(node: &TypedNode, inputs: &[TValue]) -> TractResult<f64> {
    let facts = inputs
        .iter()
        .map(|value| TypedFact::shape_and_dt_of(value))
        .collect::<TVec<TypedFact>>();
    let costs = node.op.cost(&facts.iter().collect::<TVec<_>>())?;
    costs.iter().try_fold(0.0, |sum, (cost, count)| {
        Ok(match cost {
            tract_onnx::tract_core::ops::Cost::FMA(_) => sum + 2.0 * count.to_i64()? as f64,
            tract_onnx::tract_core::ops::Cost::Div(_) => sum + count.to_i64()? as f64,
            _ => sum,
        })
    })
}

fn bytes(value: &TValue) -> f64 {
    (value.len() * value.datum_type().size_of()) as f64
}

fn absent(segment: Segment) -> Error {
    fault(EngineError::NotLoaded { segment })
}

fn no_output(output: &str) -> Error {
    fault(EngineError::NoOutput {
        segment: Segment::Decoder,
        output: output.to_owned(),
    })
}

fn failed(segment: Segment, error: TractError) -> Error {
    fault(EngineError::Run {
        segment,
        source: error.into(),
    })
}

fn fault(source: EngineError) -> Error {
    Error::Engine {
        engine: "tract",
        source,
    }
}
