//! tract: pure Rust, any CPU, no library to install.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use deltavlm_bundle::{Segment, SegmentRecord};
use deltavlm_kernels::Pool;
use prost::Message;
use tract_onnx::pb::ModelProto;
use tract_onnx::tract_hir::internal::*;

use super::{Data, Decoder, Engine, EngineReport, Input, OpTime, Step, quant};
use crate::bundle::Bundle;
use crate::map::Map;
use crate::{Error, MemoryEstimate, Options};

pub(crate) struct TractEngine {
    report: EngineReport,
    plans: BTreeMap<Segment, Plan>,
    /// `[heads, head width]` of a cached key or value.
    cache_shape: [usize; 2],
    profile: Option<BTreeMap<(Segment, String), (u64, f64)>>,
}

struct Plan {
    state: TypedSimpleState,
    inputs: Vec<String>,
    outputs: Vec<String>,
}

impl TractEngine {
    pub(crate) fn open(bundle: &Bundle, options: &Options, reason: &str) -> Result<Self, Error> {
        let manifest = &bundle.manifest;
        MemoryEstimate::of(manifest, false).check(manifest, options)?;
        let threads = options.thread_count();
        let pool =
            Arc::new(Pool::new(threads).map_err(|error| fault(format!("no threads: {error}")))?);
        let mut plans = BTreeMap::new();
        for (&segment, record) in &manifest.segments {
            let plan = Plan::load(&bundle.directory, record, &pool).map_err(|problem| {
                bundle.unfit(format!(
                    "segment `{}` does not load in tract: {problem}",
                    segment.name()
                ))
            })?;
            plans.insert(segment, plan);
        }
        let report = EngineReport {
            name: "tract",
            version: "0.23".to_owned(),
            provider: format!("cpu ({})", pool.isa()),
            rejected: Vec::new(),
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

    /// Adds what was tried before this engine.
    pub(super) fn reject(&mut self, rejected: Vec<String>) {
        self.report.rejected.extend(rejected);
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
                        let started = Instant::now();
                        let result =
                            tract_onnx::tract_core::plan::eval(context, state, node, inputs);
                        let entry = profile
                            .entry((segment, node.op().name().into_owned()))
                            .or_default();
                        entry.0 += 1;
                        entry.1 += started.elapsed().as_secs_f64() * 1e3;
                        result
                    })
            }
        };
        result.map_err(|error| failed(segment, &error))
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
                    Data::F32(values) => Tensor::from_shape(input.shape, values)?,
                    Data::I64(values) => Tensor::from_shape(input.shape, values)?,
                }
                .into_tvalue())
            })
            .collect::<TractResult<TVec<TValue>>>()
            .map_err(|error| failed(segment, &error))?;
        let outputs = self.execute(segment, values)?;
        floats(&outputs[0]).map_err(|error| failed(segment, &error))
    }

    fn start(&mut self, rows: usize) -> Result<Box<dyn Decoder + '_>, Error> {
        let plan = self
            .plans
            .get(&Segment::Decoder)
            .ok_or_else(|| absent(Segment::Decoder))?;
        let [heads, width] = self.cache_shape;
        let mut cache = BTreeMap::new();
        for name in plan.inputs.iter().filter(|name| name.starts_with("past.")) {
            let empty = Tensor::zero::<f32>(&[rows, heads, 0, width]);
            let empty = empty.map_err(|error| failed(Segment::Decoder, &error))?;
            cache.insert(name.clone(), empty.into_tvalue());
        }
        Ok(Box::new(TractDecoder {
            engine: self,
            cache,
        }))
    }

    fn profile(&mut self) -> Option<Vec<OpTime>> {
        let taken = self.profile.replace(BTreeMap::new()).unwrap_or_default();
        let times = taken
            .into_iter()
            .map(|((segment, op), (calls, ms))| OpTime {
                segment,
                op,
                calls,
                ms,
            });
        Some(times.collect())
    }
}

struct TractDecoder<'e> {
    engine: &'e mut TractEngine,
    /// By the name of the graph input.
    cache: BTreeMap<String, TValue>,
}

impl Decoder for TractDecoder<'_> {
    fn step(&mut self, step: &Step<'_>) -> Result<Vec<f32>, Error> {
        let fail = |error: TractError| failed(Segment::Decoder, &error);
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
                        value.ok_or_else(|| {
                            fault(format!("decoder input `{past}` has no output"))
                        })?,
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
        logits.ok_or_else(|| fault("the decoder gives no logits".to_owned()))
    }

    fn select(&mut self, rows: &[usize]) -> Result<(), Error> {
        let fail = |error: TractError| failed(Segment::Decoder, &error);
        for value in self.cache.values_mut() {
            *value = pick(value, rows).map_err(fail)?.into_tvalue();
        }
        Ok(())
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
    fn load(directory: &Path, record: &SegmentRecord, pool: &Arc<Pool>) -> Result<Self, String> {
        let text = |error: Error| error.to_string();
        let graph_file = Map::open(&directory.join(&record.graph)).map_err(text)?;
        let weights = Arc::new(Map::open(&directory.join(&record.weights)).map_err(text)?);
        let mut proto = ModelProto::decode(&*graph_file)
            .map_err(|error| format!("{}: {error}", record.graph))?;
        let graph = proto
            .graph
            .as_mut()
            .ok_or_else(|| format!("{}: no graph", record.graph))?;
        let table = quant::replace(graph, &weights, pool)?;
        let outputs = graph
            .output
            .iter()
            .map(|output| output.name.clone())
            .collect();
        let state =
            Self::prepare(&proto, directory, &table).map_err(|error| format!("{error:#}"))?;
        let model = state.model();
        let inputs = model
            .input_outlets()
            .map_err(|error| format!("{error:#}"))?;
        let inputs = inputs
            .iter()
            .map(|outlet| model.node(outlet.node).name.clone())
            .collect();
        Ok(Self {
            state,
            inputs,
            outputs,
        })
    }

    fn prepare(
        proto: &ModelProto,
        directory: &Path,
        table: &[Arc<quant::Weights>],
    ) -> TractResult<TypedSimpleState> {
        let mut onnx = tract_onnx::onnx();
        onnx.op_register.insert(quant::OP_TYPE, quant::build);
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
        quant::attach(&mut typed, table)?;
        let runnable = typed
            .into_decluttered()?
            .into_optimized()?
            .into_runnable()?;
        runnable.spawn()
    }
}

fn absent(segment: Segment) -> Error {
    fault(format!("no segment `{}` was loaded", segment.name()))
}

fn failed(segment: Segment, error: &TractError) -> Error {
    fault(format!("segment `{}`: {error:#}", segment.name()))
}

fn fault(problem: String) -> Error {
    Error::Engine {
        engine: "tract",
        problem,
    }
}
