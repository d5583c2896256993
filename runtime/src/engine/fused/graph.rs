//! A view of an ONNX graph in which groups of nodes are found and replaced.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use half::f16;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

use crate::mmap::MappedFile;

pub(super) struct Graph<'g> {
    proto: &'g mut GraphProto,
    pub(super) map: Arc<MappedFile>,
    /// By the name of a value: the node that computes it.
    producers: HashMap<String, usize>,
    /// By the name of a value: the nodes that read it.
    readers: HashMap<String, Vec<usize>>,
    /// By name: the place in the list of initializers.
    constants: HashMap<String, usize>,
}

/// Where numbers lie in the mapped file.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) place: Range<usize>,
    pub(super) half: bool,
    pub(super) dims: Vec<usize>,
}

impl<'g> Graph<'g> {
    pub(super) fn new(proto: &'g mut GraphProto, map: &Arc<MappedFile>) -> Self {
        let mut producers = HashMap::new();
        let mut readers: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, node) in proto.node.iter().enumerate() {
            producers.extend(node.output.iter().map(|name| (name.clone(), index)));
            for name in &node.input {
                readers.entry(name.clone()).or_default().push(index);
            }
        }
        let constants = proto.initializer.iter().enumerate();
        let constants = constants
            .map(|(index, tensor)| (tensor.name.clone(), index))
            .collect();
        Self {
            proto,
            map: map.clone(),
            producers,
            readers,
            constants,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.proto.node.len()
    }

    pub(super) fn node(&self, index: usize) -> &NodeProto {
        &self.proto.node[index]
    }

    /// The node that computes a value, if it is of a kind.
    pub(super) fn producer(&self, value: &str, op: &str) -> Option<&NodeProto> {
        let node = self.node(*self.producers.get(value)?);
        (node.op_type == op).then_some(node)
    }

    /// The only node that reads the only output of a node, and its place; none if
    /// the output leaves the graph.
    pub(super) fn only_reader(&self, node: &NodeProto) -> Option<(usize, &NodeProto)> {
        let [output] = node.output.as_slice() else {
            return None;
        };
        let [reader] = self.readers.get(output)?.as_slice() else {
            return None;
        };
        (!self.is_output(output)).then(|| (*reader, self.node(*reader)))
    }

    pub(super) fn is_output(&self, value: &str) -> bool {
        self.proto.output.iter().any(|output| output.name == value)
    }

    pub(super) fn is_input(&self, value: &str) -> bool {
        self.proto.input.iter().any(|input| input.name == value)
    }

    /// Whether a value is the result of a node.
    pub(super) fn is_computed(&self, value: &str) -> bool {
        self.producers.contains_key(value)
    }

    /// Replaces the node that computes the value which the new one computes.
    pub(super) fn put(&mut self, index: usize, node: NodeProto) {
        self.proto.node[index] = node;
    }

    /// Takes a value out of the outputs, and one out of the inputs.
    pub(super) fn forget(&mut self, output: &str, input: &str) {
        self.proto.output.retain(|value| value.name != output);
        self.proto.input.retain(|value| value.name != input);
    }

    /// Names every size that is a sum or stands for no input any more, so that
    /// tract need not solve for its terms.
    pub(super) fn name_sums(&mut self) {
        use tract_onnx::pb::tensor_shape_proto::dimension::Value;
        use tract_onnx::pb::type_proto::Value::TensorType;
        for input in &mut self.proto.input {
            let Some(TensorType(tensor)) =
                input.r#type.as_mut().and_then(|kind| kind.value.as_mut())
            else {
                continue;
            };
            for dim in tensor.shape.iter_mut().flat_map(|shape| &mut shape.dim) {
                if let Some(Value::DimParam(name)) = &mut dim.value
                    && name.contains('+')
                {
                    *name = "total".to_owned();
                }
            }
        }
    }

    fn constant(&self, name: &str) -> Option<&TensorProto> {
        Some(&self.proto.initializer[*self.constants.get(name)?])
    }

    /// A constant in the mapped file, directly or through a `Cast` to f32.
    pub(super) fn stored(&self, name: &str) -> Result<Option<Stored>, String> {
        let name = match self.producer(name, "Cast") {
            Some(cast) => &cast.input[0],
            None => name,
        };
        let Some(tensor) = self.constant(name) else {
            return Ok(None);
        };
        let half = match DataType::try_from(tensor.data_type) {
            Ok(DataType::Float | DataType::Uint8) => false,
            Ok(DataType::Float16) => true,
            _ => return Ok(None),
        };
        let Some(place) = place(tensor)? else {
            return Ok(None);
        };
        if self.map.get(place.clone()).is_none() {
            return Err(format!("tensor `{name}` reaches beyond the file"));
        }
        Ok(Some(Stored {
            place,
            half,
            dims: dims(tensor),
        }))
    }

    /// A small constant of numbers, copied.
    pub(super) fn floats(&self, name: &str) -> Result<Option<Vec<f32>>, String> {
        let Some(tensor) = self.constant(name) else {
            return Ok(None);
        };
        let Some(bytes) = self.bytes(tensor)? else {
            return Ok(None);
        };
        Ok(match DataType::try_from(tensor.data_type) {
            Ok(DataType::Float) => {
                let words = bytes.as_chunks::<4>().0.iter();
                Some(words.map(|word| f32::from_le_bytes(*word)).collect())
            }
            Ok(DataType::Float16) => {
                let words = bytes.as_chunks::<2>().0.iter();
                Some(
                    words
                        .map(|word| f16::from_le_bytes(*word).to_f32())
                        .collect(),
                )
            }
            _ => None,
        })
    }

    /// A small constant of whole numbers.
    pub(super) fn integers(&self, name: &str) -> Option<Vec<i64>> {
        let tensor = self.constant(name)?;
        if tensor.data_type != DataType::Int64 as i32 {
            return None;
        }
        let words = tensor.raw_data.as_chunks::<8>().0.iter();
        Some(words.map(|word| i64::from_le_bytes(*word)).collect())
    }

    fn bytes<'a>(&'a self, tensor: &'a TensorProto) -> Result<Option<&'a [u8]>, String> {
        match place(tensor)? {
            None => Ok((!tensor.raw_data.is_empty()).then_some(tensor.raw_data.as_slice())),
            Some(place) => self
                .map
                .get(place)
                .map(Some)
                .ok_or_else(|| format!("tensor `{}` reaches beyond the file", tensor.name)),
        }
    }

    /// Drops nodes and constants on which no output depends.
    pub(super) fn drop_unread(self) {
        let graph = self.proto;
        let mut read: HashSet<String> = graph
            .output
            .iter()
            .map(|output| output.name.clone())
            .collect();
        // Nodes are in the order of computation, so readers come later.
        let mut kept = Vec::new();
        for node in std::mem::take(&mut graph.node).into_iter().rev() {
            if node.output.iter().any(|name| read.contains(name)) {
                read.extend(node.input.iter().cloned());
                kept.push(node);
            }
        }
        kept.reverse();
        graph.node = kept;
        graph
            .initializer
            .retain(|tensor| read.contains(&tensor.name));
    }
}

fn dims(tensor: &TensorProto) -> Vec<usize> {
    let sizes = tensor.dims.iter();
    sizes
        .map(|&dim| usize::try_from(dim).unwrap_or(usize::MAX))
        .collect()
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

/// An integer attribute of a node, or what it is when it is not there.
pub(super) fn attribute(node: &NodeProto, name: &str, otherwise: i64) -> i64 {
    let found = node
        .attribute
        .iter()
        .find(|attribute| attribute.name == name);
    found.map_or(otherwise, |attribute| attribute.i)
}

pub(super) fn integer(name: &str, value: usize) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Int as i32,
        i: i64::try_from(value).unwrap_or(i64::MAX),
        ..AttributeProto::default()
    }
}
