//! One ONNX graph in the making: nodes with telling names, weights in a plan.
//!
//! A node's name says what it computes (`vision.blocks.12.attn.qkv`) and is also
//! the name of its output; the weights of a linear map are named after it.

mod linear;

use std::collections::BTreeSet;

use deltavlm_bundle::{ElementType, Precision, Target};

use crate::matrix::Matrix;
use crate::onnx::{
    Attribute, DataType, Dimension, DimensionValue, Entry, Graph, Model, Node, OperatorSet, Shape,
    Tensor, TensorType, Type, ValueInfo,
};
use crate::weights_layout::WeightsLayout;

pub use linear::{Stored, stored_as};

/// Operator set and IR version of portable graphs: 23 brings `RMSNormalization`.
const CPU: (i64, i64) = (23, 11);
/// The same for TensorRT, whose parser knows 20 in every release since 10.0.
const TENSORRT: (i64, i64) = (20, 9);
/// Domain of `MatMulNBits`.
const MICROSOFT: &str = "com.microsoft";

/// How a linear map's precision follows from its segment's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuantPolicy {
    /// The segment's precision.
    Segment,
    /// Errors here cost more than elsewhere: 8 bits where the segment has 4.
    AtLeast8,
}

/// A dimension of a graph input or output.
#[derive(Debug, Clone, Copy)]
pub enum Dim {
    /// Known.
    Fixed(usize),
    /// Named.
    Free(&'static str),
}

/// A segment's graph in the making.
#[derive(Debug)]
pub struct GraphBuilder {
    graph: Graph,
    layout: WeightsLayout,
    weights_file: String,
    precision: Precision,
    target: Target,
    constants: BTreeSet<String>,
}

/// A finished segment: the ONNX model and the plan of its weights file.
#[derive(Debug)]
pub struct SegmentGraph {
    /// The ONNX model, to be encoded as `<name>.onnx`.
    pub model: Model,
    /// Content of `<name>.weights`, to be computed.
    pub layout: WeightsLayout,
}

impl GraphBuilder {
    /// An empty graph for a segment.
    pub fn new(name: &str, precision: Precision, target: Target) -> Self {
        Self {
            graph: Graph {
                name: name.to_owned(),
                ..Graph::default()
            },
            layout: WeightsLayout::default(),
            weights_file: format!("{name}.weights"),
            precision,
            target,
            constants: BTreeSet::new(),
        }
    }

    /// The graph and its weights plan.
    pub fn finish(self) -> SegmentGraph {
        let (opset, ir_version) = match self.target {
            Target::Cpu => CPU,
            Target::Tensorrt => TENSORRT,
        };
        let mut opset_import = vec![OperatorSet {
            domain: String::new(),
            version: opset,
        }];
        if self.graph.node.iter().any(|node| node.domain == MICROSOFT) {
            opset_import.push(OperatorSet {
                domain: MICROSOFT.to_owned(),
                version: 1,
            });
        }
        let model = Model {
            ir_version,
            producer_name: "dvlm-export".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            doc_string: format!("DeltaVLM {}, {}", self.graph.name, self.precision.name()),
            graph: Some(self.graph),
            opset_import,
        };
        SegmentGraph {
            model,
            layout: self.layout,
        }
    }

    /// Whether the graph computes in f16 between its f32 inputs and outputs.
    fn computes_f16(&self) -> bool {
        self.target == Target::Tensorrt && self.precision == Precision::F16
    }

    /// The element type of vectors, tables and constants.
    fn element(&self) -> ElementType {
        if self.computes_f16() {
            ElementType::F16
        } else {
            ElementType::F32
        }
    }

    /// An f32 input, in the type that the graph computes in.
    pub fn input(&mut self, name: &str, shape: &[Dim]) -> String {
        self.graph
            .input
            .push(value_info(name, DataType::Float, shape));
        if self.computes_f16() {
            self.cast(&format!("{name}.f16"), name, DataType::Float16)
        } else {
            name.to_owned()
        }
    }

    /// An int64 input.
    pub fn index_input(&mut self, name: &str, shape: &[Dim]) -> String {
        self.graph
            .input
            .push(value_info(name, DataType::Int64, shape));
        name.to_owned()
    }

    /// Declares the f32 output `name` with the value of `value`, which must be the
    /// output of the last node added or of one that nothing else names.
    pub fn output(&mut self, name: &str, value: &str, shape: &[Dim]) {
        self.graph
            .output
            .push(value_info(name, DataType::Float, shape));
        if self.computes_f16() {
            let cast = vec![Attribute::int("to", DataType::Float as i64)];
            self.named("Cast", &format!("{name}.cast"), &[value], &[name], cast);
            return;
        }
        for node in &mut self.graph.node {
            for used in node
                .input
                .iter_mut()
                .chain(&mut node.output)
                .filter(|used| *used == value)
            {
                name.clone_into(used);
            }
        }
    }

    /// A node with one output, which carries the node's name.
    pub fn op(
        &mut self,
        op: &str,
        name: &str,
        inputs: &[&str],
        attributes: Vec<Attribute>,
    ) -> String {
        self.named(op, name, inputs, &[name], attributes);
        name.to_owned()
    }

    /// A node with named outputs.
    pub fn named(
        &mut self,
        op: &str,
        name: &str,
        inputs: &[&str],
        outputs: &[&str],
        attribute: Vec<Attribute>,
    ) {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        self.graph.node.push(Node {
            input: texts(inputs),
            output: texts(outputs),
            name: name.to_owned(),
            op_type: op.to_owned(),
            attribute,
            domain: String::new(),
        });
    }

    /// Converts to another type.
    pub fn cast(&mut self, name: &str, x: &str, to: DataType) -> String {
        self.op("Cast", name, &[x], vec![Attribute::int("to", to as i64)])
    }

    /// Converts to the type that the graph computes in.
    pub fn cast_to_compute(&mut self, name: &str, x: &str) -> String {
        let to = if self.computes_f16() {
            DataType::Float16
        } else {
            DataType::Float
        };
        self.cast(name, x, to)
    }

    /// A small constant of int64.
    pub fn ints(&mut self, values: &[i64]) -> String {
        let texts: Vec<String> = values
            .iter()
            .map(|value| {
                if *value == i64::MAX {
                    "end".to_owned()
                } else {
                    value.to_string()
                }
            })
            .collect();
        let name = format!("ints.{}", texts.join("_"));
        self.constant(
            &name,
            DataType::Int64,
            Some(values.len()),
            values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        );
        name
    }

    /// A scalar of the type that the graph computes in.
    pub fn scalar(&mut self, name: &str, value: f32) -> String {
        if self.computes_f16() {
            let raw = half::f16::from_f32(value).to_le_bytes().to_vec();
            self.constant(name, DataType::Float16, None, raw);
        } else {
            self.constant(name, DataType::Float, None, value.to_le_bytes().to_vec());
        }
        name.to_owned()
    }

    fn constant(&mut self, name: &str, data_type: DataType, len: Option<usize>, raw: Vec<u8>) {
        if self.constants.insert(name.to_owned()) {
            self.graph.initializer.push(Tensor {
                dims: len.map(|len| len as i64).into_iter().collect(),
                data_type: data_type as i32,
                name: name.to_owned(),
                raw_data: Some(raw),
                ..Tensor::default()
            });
        }
    }

    /// A table or vector of the type that the graph computes in.
    pub fn table(&mut self, name: &str, matrix: Matrix, dims: &[usize]) -> String {
        let element = self.element();
        let place = self.layout.rows(name, matrix, element);
        self.external(name, data_type(element), dims, place);
        name.to_owned()
    }

    /// Layer normalisation over the last axis.
    pub fn layer_norm(
        &mut self,
        name: &str,
        x: &str,
        weight: Matrix,
        bias: Matrix,
        epsilon: f32,
    ) -> String {
        let width = weight.size();
        let scale = self.table(&format!("{name}.weight"), weight, &[width]);
        let shift = self.table(&format!("{name}.bias"), bias, &[width]);
        let attributes = vec![
            Attribute::int("axis", -1),
            Attribute::float("epsilon", epsilon),
        ];
        self.op("LayerNormalization", name, &[x, &scale, &shift], attributes)
    }

    /// Root-mean-square normalisation over the last axis; spelt out for TensorRT,
    /// and there in f32, since squares leave the range of f16.
    pub fn rms_norm(&mut self, name: &str, x: &str, weight: Matrix, epsilon: f32) -> String {
        let width = weight.size();
        let scale = self.table(&format!("{name}.weight"), weight, &[width]);
        if self.target == Target::Cpu {
            let attributes = vec![
                Attribute::int("axis", -1),
                Attribute::float("epsilon", epsilon),
            ];
            return self.op("RMSNormalization", name, &[x, &scale], attributes);
        }
        let wide = if self.computes_f16() {
            self.cast(&format!("{name}.wide"), x, DataType::Float)
        } else {
            x.to_owned()
        };
        let axes = self.ints(&[-1]);
        let constant = format!("{name}.epsilon");
        self.constant(
            &constant,
            DataType::Float,
            None,
            epsilon.to_le_bytes().to_vec(),
        );
        let square = self.op("Mul", &format!("{name}.square"), &[&wide, &wide], vec![]);
        let mean = self.op(
            "ReduceMean",
            &format!("{name}.mean"),
            &[&square, &axes],
            vec![Attribute::int("keepdims", 1)],
        );
        let shifted = self.op(
            "Add",
            &format!("{name}.add_epsilon"),
            &[&mean, &constant],
            vec![],
        );
        let root = self.op("Sqrt", &format!("{name}.root"), &[&shifted], vec![]);
        let mut normal = self.op("Div", &format!("{name}.divide"), &[&wide, &root], vec![]);
        if self.computes_f16() {
            normal = self.cast(&format!("{name}.narrow"), &normal, DataType::Float16);
        }
        self.op("Mul", name, &[&normal, &scale], vec![])
    }

    fn external(
        &mut self,
        name: &str,
        data_type: DataType,
        dims: &[usize],
        (offset, bytes): (u64, u64),
    ) {
        let elements: usize = dims.iter().product();
        assert_eq!(elements as u64 * data_type.size(), bytes, "{name}");
        let entry = |key: &str, value: String| Entry {
            key: key.to_owned(),
            value,
        };
        self.graph.initializer.push(Tensor {
            dims: dims.iter().map(|&dim| dim as i64).collect(),
            data_type: data_type as i32,
            name: name.to_owned(),
            raw_data: None,
            external_data: vec![
                entry("location", self.weights_file.clone()),
                entry("offset", offset.to_string()),
                entry("length", bytes.to_string()),
            ],
            data_location: Some(1),
        });
    }
}

const fn data_type(element: ElementType) -> DataType {
    match element {
        ElementType::F32 => DataType::Float,
        ElementType::F16 => DataType::Float16,
    }
}

fn value_info(name: &str, data_type: DataType, shape: &[Dim]) -> ValueInfo {
    let dim = shape
        .iter()
        .map(|dim| Dimension {
            value: Some(match dim {
                Dim::Fixed(size) => DimensionValue::Number(*size as i64),
                Dim::Free(symbol) => DimensionValue::Symbol((*symbol).to_owned()),
            }),
        })
        .collect();
    ValueInfo {
        name: name.to_owned(),
        r#type: Some(Type {
            tensor: Some(TensorType {
                elem_type: data_type as i32,
                shape: Some(Shape { dim }),
            }),
        }),
    }
}
