//! What a pickle of tensors can evaluate to, and why one was not read.

use super::tensor::Element;

/// Index of a value in its [`Pickle`].
pub(crate) type Id = u32;

/// A value that a weight file may hold.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer; one beyond 64 bits is kept as its nearest bound.
    Int(i64),
    /// A floating-point number.
    Float,
    /// Text.
    Text(String),
    /// Raw bytes, of no interest.
    Bytes,
    /// A tuple or `torch.Size`.
    Tuple(Vec<Id>),
    /// A list or set.
    List(Vec<Id>),
    /// A dict or `OrderedDict`, in insertion order.
    Dict(Vec<(Id, Id)>),
    /// One of the known names.
    Global(Global),
    /// A container of a configuration library, of which only the name is kept.
    Opaque(String),
    /// A storage: its entry name in the archive, element type and element count.
    Storage {
        /// Entry `data/<name>` of the archive.
        name: String,
        /// Type of its elements.
        element: Element,
    },
    /// A tensor as a view of a storage.
    Tensor {
        /// The storage value.
        storage: Id,
        /// First element.
        offset: usize,
        /// Dimensions.
        shape: Vec<usize>,
        /// Elements between neighbours along each dimension.
        strides: Vec<usize>,
    },
}

/// The names a weight file may refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub(crate) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Size,
    Set,
    Device,
    Plain,
    Storage(Element),
}

impl Global {
    pub(super) fn named(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", "Size") => Self::Size,
            ("torch", "device") => Self::Device,
            ("builtins" | "__builtin__", "set") => Self::Set,
            ("torch", "float64" | "float32" | "float16" | "bfloat16" | "int64" | "int32") => {
                Self::Plain
            }
            ("torch", "DoubleStorage") => Self::Storage(Element::F64),
            ("torch", "FloatStorage") => Self::Storage(Element::F32),
            ("torch", "HalfStorage") => Self::Storage(Element::F16),
            ("torch", "BFloat16Storage") => Self::Storage(Element::Bf16),
            ("torch", "LongStorage") => Self::Storage(Element::Other(8)),
            ("torch", "IntStorage") => Self::Storage(Element::Other(4)),
            ("torch", "ShortStorage") => Self::Storage(Element::Other(2)),
            ("torch", "CharStorage" | "ByteStorage" | "BoolStorage") => {
                Self::Storage(Element::Other(1))
            }
            _ => return None,
        })
    }
}

/// Whether a name is a harmless container: training scripts store their configuration
/// in one beside the weights. It is never called, whatever the library would do.
pub(super) fn is_container(module: &str, name: &str) -> bool {
    match module {
        "argparse" => name == "Namespace",
        "collections" => name == "defaultdict",
        "builtins" | "__builtin__" => {
            ["dict", "list", "tuple", "int", "float", "str", "bool"].contains(&name)
        }
        "typing" => name == "Any",
        _ => module == "omegaconf" || module.starts_with("omegaconf."),
    }
}

/// Why a pickle was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PickleError {
    /// It asks for an instruction or a name that tensors do not need.
    Refused(String),
    /// It is cut short or contradicts itself.
    Malformed(String),
}

pub(super) fn malformed<T>(problem: impl Into<String>) -> Result<T, PickleError> {
    Err(PickleError::Malformed(problem.into()))
}
