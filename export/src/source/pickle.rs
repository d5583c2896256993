//! A pickle machine that can build plain values and tensors and nothing else.
//!
//! A pickle is a program. This machine knows the instructions and the handful of
//! names that `torch.save` needs; anything else is refused by name before it
//! could mean anything. Nothing is ever called: a "call" of a known name turns
//! into a [`Value`]. Values live in one arena, so no input can make it recurse.

use super::pickle_vm::PickleVm;
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

/// The values of a pickle.
#[derive(Debug)]
pub(crate) struct Pickle {
    values: Vec<Value>,
    root: Id,
}

impl Pickle {
    /// Runs a pickle.
    ///
    /// # Errors
    /// [`PickleError`] says what is refused or malformed.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, PickleError> {
        let mut machine = PickleVm::new(bytes);
        let root = machine.run()?;
        Ok(Self {
            values: machine.values,
            root,
        })
    }

    /// The value that the pickle is.
    pub(crate) fn root(&self) -> &Value {
        self.value(self.root)
    }

    /// The value behind an index.
    pub(crate) fn value(&self, id: Id) -> &Value {
        &self.values[id as usize]
    }

    /// A dict's entry under a text key.
    pub(crate) fn entry(&self, dict: &Value, key: &str) -> Option<&Value> {
        let Value::Dict(entries) = dict else {
            return None;
        };
        let found = entries
            .iter()
            .rev()
            .find(|(k, _)| matches!(self.value(*k), Value::Text(text) if text == key));
        found.map(|(_, value)| self.value(*value))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(bytes: &[u8]) -> String {
        match Pickle::read(bytes) {
            Err(PickleError::Refused(problem)) => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_call_of_the_shell_is_refused_by_name() {
        assert!(refusal(b"\x80\x02cos\nsystem\nX\x02\0\0\0ls\x85R.").contains("`os.system`"));
        assert!(refusal(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.").contains("`builtins.eval`"));
        assert!(refusal(b"(S'ls'\nios\nsystem\n.").contains("STRING"));
        assert!(refusal(b"\x80\x02(ios\nsystem\n.").contains("INST"));
        assert!(refusal(b"\x80\x02}}b\x81.").contains("NEWOBJ"));
    }

    #[test]
    fn nested_and_self_referring_values_do_no_harm() {
        let mut deep = b"\x80\x02".to_vec();
        deep.extend(std::iter::repeat_n(b')', 1));
        deep.extend(std::iter::repeat_n(0x85, 1_000_000));
        deep.push(b'.');
        Pickle::read(&deep).unwrap();
        // l = []; l.append(l)
        Pickle::read(b"\x80\x02]q\0h\0a.").unwrap();
    }

    #[test]
    fn every_prefix_is_an_error() {
        let whole = b"\x80\x02}q\0(X\x01\0\0\0aK\x01X\x01\0\0\0b\x8a\x01\xffu.";
        let pickle = Pickle::read(whole).unwrap();
        assert_eq!(pickle.entry(pickle.root(), "b"), Some(&Value::Int(-1)));
        for len in 0..whole.len() {
            assert!(
                matches!(Pickle::read(&whole[..len]), Err(PickleError::Malformed(_))),
                "{len}"
            );
        }
    }
}
