//! A reference interpreter for exactly the operators that the graphs use.
//!
//! It measures what quantisation costs and what calibration must know, on models
//! far larger than memory: weights are streamed, run by run, from the published
//! files, either as they are or as they will be stored. Sums run in a fixed order
//! without fused operations, so the figures are the same on every processor.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use deltavlm_bundle::ElementType;
use deltavlm_kernels::{QuantizedMatrix, Scales, dequantize};
use half::f16;

use crate::array::Array;
use crate::graph::SegmentGraph;
use crate::onnx::{DataType, Node};
use crate::tensor_ops as ops;
use crate::weights_layout::{Encoding, WeightEntry, WeightsLayout};
use crate::weights_writer::{parallel_for, quantize_rows};
use crate::{Error, Result};

/// Elements of a run of weights.
const RUN: usize = 1 << 19;

/// Which weights a run uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weights {
    /// As published.
    Exact,
    /// As the bundle stores them.
    Stored,
}

/// Mean squares of what enters each linear map, by the name of its weight.
#[derive(Debug, Default)]
pub struct Statistics {
    sums: BTreeMap<String, (Vec<f64>, usize)>,
}

impl Statistics {
    fn add(&mut self, name: &str, x: &[f32], width: usize) {
        let (sums, count) = self
            .sums
            .entry(name.to_owned())
            .or_insert_with(|| (vec![0.0; width], 0));
        for row in x.chunks_exact(width) {
            sums.iter_mut()
                .zip(row)
                .for_each(|(sum, &value)| *sum += f64::from(value) * f64::from(value));
        }
        *count += x.len() / width;
    }

    /// The importance of each column: its mean square relative to the mean over
    /// all columns, never quite 0.
    pub fn importance(&self, name: &str) -> Option<Vec<f32>> {
        let (sums, count) = self.sums.get(name)?;
        let total: f64 = sums.iter().sum::<f64>() / sums.len() as f64;
        if *count == 0 || total <= 0.0 {
            return None;
        }
        Some(sums.iter().map(|sum| (sum / total) as f32 + 1e-4).collect())
    }
}

/// Runs one segment's graph.
pub struct Interpreter<'a> {
    segment: &'a SegmentGraph,
    items: HashMap<&'a str, &'a WeightEntry>,
    threads: usize,
    /// Whether the decoder gives logits of every position instead of the last.
    pub all_positions: bool,
}

/// A value on its way through the graph.
enum Value<'a> {
    Array(Array),
    /// Weights that are still in their file.
    Weight(&'a WeightEntry),
}

impl<'a> Interpreter<'a> {
    /// Prepares a segment.
    pub fn new(segment: &'a SegmentGraph, threads: usize) -> Self {
        let items = segment
            .layout
            .items()
            .iter()
            .map(|item| (item.name.as_str(), item))
            .collect();
        Self {
            segment,
            items,
            threads,
            all_positions: false,
        }
    }

    /// The graph's outputs by name. `statistics` collects what calibration needs.
    ///
    /// # Errors
    /// When a weight cannot be read or an operator is unknown.
    pub fn run(
        &self,
        inputs: Vec<(&str, Array)>,
        weights: Weights,
        mut statistics: Option<&mut Statistics>,
    ) -> Result<BTreeMap<String, Array>> {
        let graph = self
            .segment
            .model
            .graph
            .as_ref()
            .expect("a built model has a graph");
        let mut values: HashMap<&str, Value<'_>> = HashMap::new();
        for tensor in &graph.initializer {
            let value = match (&tensor.raw_data, self.items.get(tensor.name.as_str())) {
                (Some(raw), _) => Value::Array(constant(tensor.data_type, &tensor.dims, raw)),
                (None, Some(item)) => Value::Weight(item),
                // Scales belong to the item of their codes.
                (None, None) => continue,
            };
            values.insert(&tensor.name, value);
        }
        for (name, array) in inputs {
            let name = graph
                .input
                .iter()
                .map(|input| input.name.as_str())
                .find(|known| *known == name);
            values.insert(
                name.ok_or_else(|| self.fault("an input that the graph has not"))?,
                Value::Array(array),
            );
        }
        let mut last_use: HashMap<&str, usize> = HashMap::new();
        for (i, node) in graph.node.iter().enumerate() {
            last_use.extend(node.input.iter().map(|name| (name.as_str(), i)));
        }
        last_use.extend(
            graph
                .output
                .iter()
                .map(|output| (output.name.as_str(), usize::MAX)),
        );

        for (i, node) in graph.node.iter().enumerate() {
            let results = self.node(node, &values, weights, &mut statistics)?;
            for (name, value) in node.output.iter().zip(results) {
                values.insert(name, value);
            }
            for name in &node.input {
                if last_use.get(name.as_str()) == Some(&i) {
                    values.remove(name.as_str());
                }
            }
        }
        let mut outputs = BTreeMap::new();
        for output in &graph.output {
            if let Some(Value::Array(array)) = values.remove(output.name.as_str()) {
                outputs.insert(output.name.clone(), array);
            }
        }
        Ok(outputs)
    }

    fn fault(&self, problem: impl Into<String>) -> Error {
        let graph = self.segment.model.graph.as_ref();
        Error::Engine {
            segment: graph.map(|graph| graph.name.clone()).unwrap_or_default(),
            engine: "reference interpreter".to_owned(),
            problem: problem.into(),
        }
    }

    fn node(
        &self,
        node: &Node,
        values: &HashMap<&str, Value<'a>>,
        weights: Weights,
        statistics: &mut Option<&mut Statistics>,
    ) -> Result<Vec<Value<'a>>> {
        let missing = |i: usize| self.fault(format!("{}: input {i} has no value", node.name));
        let value = |i: usize| {
            node.input
                .get(i)
                .and_then(|name| values.get(name.as_str()))
                .ok_or_else(|| missing(i))
        };
        let linear = match node.op_type.as_str() {
            "MatMulNBits" | "MatMul" => match value(1)? {
                Value::Weight(item) => Some(*item),
                Value::Array(_) => None,
            },
            _ => None,
        };
        if let Some(item) = linear {
            let Value::Array(x) = value(0)? else {
                return Err(missing(0));
            };
            if let Some(statistics) = statistics {
                statistics.add(&item.name, x.floats(), item.matrix.width());
            }
            return Ok(vec![Value::Array(self.linear(x, item, weights)?)]);
        }
        match (
            node.op_type.as_str(),
            node.input
                .first()
                .and_then(|name| values.get(name.as_str())),
        ) {
            // A conversion keeps the value: everything here is f32 or int64.
            ("Cast", Some(Value::Weight(item))) => return Ok(vec![Value::Weight(item)]),
            ("Cast", None) => return Ok(Vec::new()),
            ("Gather", Some(Value::Weight(item))) => {
                let Value::Array(ids) = value(1)? else {
                    return Err(missing(1));
                };
                return Ok(vec![Value::Array(self.lookup(item, ids, weights)?)]);
            }
            ("Slice" | "Squeeze", Some(Value::Array(x)))
                if self.all_positions && node.name.starts_with("decoder.last") =>
            {
                return Ok(vec![Value::Array(x.clone())]);
            }
            _ => {}
        }
        let mut loaded = Vec::new();
        for i in 0..node.input.len() {
            loaded.push(match value(i)? {
                Value::Array(array) => std::borrow::Cow::Borrowed(array),
                Value::Weight(item) => std::borrow::Cow::Owned(self.load(item, weights)?),
            });
        }
        let inputs: Vec<&Array> = loaded.iter().map(AsRef::as_ref).collect();
        let outputs = ops::apply(node, &inputs, self.threads)
            .map_err(|problem| self.fault(format!("{}: {problem}", node.name)))?;
        Ok(outputs.into_iter().map(Value::Array).collect())
    }

    /// A small table or vector, in the shape that its initializer has.
    fn load(&self, item: &WeightEntry, weights: Weights) -> Result<Array> {
        let graph = self
            .segment
            .model
            .graph
            .as_ref()
            .expect("a built model has a graph");
        let tensor = graph
            .initializer
            .iter()
            .find(|tensor| tensor.name == item.name);
        let shape: Vec<usize> = tensor
            .map(|tensor| tensor.dims.iter().map(|&dim| dim as usize).collect())
            .unwrap_or_default();
        let mut values = item.matrix.read_all()?;
        apply_storage_rounding(&mut values, item, weights);
        Ok(Array::f32(&shape, values))
    }

    fn lookup(&self, item: &WeightEntry, ids: &Array, weights: Weights) -> Result<Array> {
        let width = item.matrix.width();
        let (mut out, mut row) = (Vec::new(), Vec::new());
        for &id in ids.integers() {
            let id = usize::try_from(id)
                .ok()
                .filter(|&id| id < item.matrix.rows());
            let id = id.ok_or_else(|| self.fault(format!("an id outside {}", item.name)))?;
            item.matrix.read(id..id + 1, &mut row)?;
            apply_storage_rounding(&mut row, item, weights);
            out.extend_from_slice(&row);
        }
        let mut shape = ids.shape.clone();
        shape.push(width);
        Ok(Array::f32(&shape, out))
    }

    fn linear(&self, x: &Array, item: &WeightEntry, weights: Weights) -> Result<Array> {
        let (width, outputs) = (item.matrix.width(), item.matrix.rows());
        let rows = x.floats().len() / width;
        let step = (RUN / width).max(1);
        let tasks: Vec<usize> = (0..outputs).step_by(step).collect();
        let out = Mutex::new(vec![0.0f32; rows * outputs]);
        parallel_for(&tasks, self.threads, |&first, buffers| {
            let last = (first + step).min(outputs);
            let weight = &mut buffers.values;
            item.matrix.read(first..last, weight)?;
            apply_storage_rounding(weight, item, weights);
            let part = ops::multiply(x.floats(), weight, width);
            let mut out = out.lock().expect("no panic while multiplying");
            for (row, part) in out
                .chunks_exact_mut(outputs)
                .zip(part.chunks_exact(last - first))
            {
                row[first..last].copy_from_slice(part);
            }
            Ok(())
        })?;
        let mut shape = x.shape.clone();
        if let Some(last) = shape.last_mut() {
            *last = outputs;
        }
        Ok(Array::f32(
            &shape,
            out.into_inner().expect("no panic while multiplying"),
        ))
    }
}

/// What reading the bundle will give for these values.
fn apply_storage_rounding(values: &mut Vec<f32>, item: &WeightEntry, weights: Weights) {
    if weights == Weights::Exact {
        return;
    }
    match item.form {
        Encoding::Rows(ElementType::F32, _) | Encoding::Columns(ElementType::F32, _) => {}
        Encoding::Rows(ElementType::F16, _) | Encoding::Columns(ElementType::F16, _) => {
            values
                .iter_mut()
                .for_each(|value| *value = f16::from_f32(*value).to_f32());
        }
        Encoding::Blocks { bits, .. } => {
            let (mut codes, mut scales) = (Vec::new(), Vec::new());
            quantize_rows(item, bits, values, &mut codes, &mut scales);
            let (rows, width) = (values.len() / item.matrix.width(), item.matrix.width());
            let scales = Scales::F16(&scales);
            let matrix = QuantizedMatrix::new(bits, rows, width, &codes, scales)
                .expect("whole rows give whole buffers");
            *values = dequantize(&matrix);
        }
    }
}

fn constant(data_type: i32, dims: &[i64], raw: &[u8]) -> Array {
    let shape: Vec<usize> = dims.iter().map(|&dim| dim as usize).collect();
    if data_type == DataType::Int64 as i32 {
        Array::i64(
            &shape,
            raw.as_chunks::<8>()
                .0
                .iter()
                .map(|raw| i64::from_le_bytes(*raw))
                .collect(),
        )
    } else if data_type == DataType::Float16 as i32 {
        Array::f32(
            &shape,
            raw.as_chunks::<2>()
                .0
                .iter()
                .map(|raw| f16::from_le_bytes(*raw).to_f32())
                .collect(),
        )
    } else {
        Array::f32(
            &shape,
            raw.as_chunks::<4>()
                .0
                .iter()
                .map(|raw| f32::from_le_bytes(*raw))
                .collect(),
        )
    }
}

/// The weights of a plan, for what is measured without a graph.
pub(crate) fn table_rows(
    layout: &WeightsLayout,
    ids: &[u32],
    weights: Weights,
) -> Result<Vec<f32>> {
    let (mut out, mut row) = (Vec::new(), Vec::new());
    let item = &layout.items()[0];
    for &id in ids {
        item.matrix.read(id as usize..id as usize + 1, &mut row)?;
        apply_storage_rounding(&mut row, item, weights);
        out.extend_from_slice(&row);
    }
    Ok(out)
}
