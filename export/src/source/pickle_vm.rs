//! The instructions of a pickle: a stack machine that builds [`Value`]s.

use std::cell::Cell;
use std::collections::HashMap;

use super::opcode::{PickleReader, opcode_name, printable};
use super::value::{Global, Id, PickleError, Value, is_container, malformed};

/// Values copied out of other values; more than this is an attack, not a checkpoint.
const MAX_COPIED: usize = 1 << 26;

/// The machine's state: what is left to read, the stack, and what was remembered.
pub(super) struct PickleVm<'a> {
    code: PickleReader<'a>,
    pub(super) values: Vec<Value>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    copied: Cell<usize>,
}

impl<'a> PickleVm<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            code: PickleReader::new(bytes),
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            copied: Cell::new(0),
        }
    }

    pub(super) fn run(&mut self) -> Result<Id, PickleError> {
        loop {
            let opcode = self.code.byte()?;
            match opcode {
                0x80 => {
                    let version = self.code.byte()?;
                    if !(2..=5).contains(&version) {
                        return malformed(format!("has protocol {version}"));
                    }
                }
                0x95 => drop(self.code.take(8)?),
                b'.' => return self.pop(),
                b'(' => self.marks.push(self.stack.len()),
                b'0' => drop(self.pop()?),
                b'1' => drop(self.pop_mark()?),
                b'2' => {
                    let top = self.pop()?;
                    self.stack.extend([top, top]);
                }
                b'N' => self.push(Value::None),
                0x88 => self.push(Value::Bool(true)),
                0x89 => self.push(Value::Bool(false)),
                b'K' => {
                    let value = self.code.byte()?;
                    self.push(Value::Int(i64::from(value)));
                }
                b'M' => {
                    let raw = self.code.array::<2>()?;
                    self.push(Value::Int(i64::from(u16::from_le_bytes(raw))));
                }
                b'J' => {
                    let raw = self.code.array::<4>()?;
                    self.push(Value::Int(i64::from(i32::from_le_bytes(raw))));
                }
                0x8a => {
                    let len = self.code.byte()? as usize;
                    self.long(len)?;
                }
                0x8b => {
                    let len = self.code.length4()?;
                    self.long(len)?;
                }
                b'G' => {
                    self.code.take(8)?;
                    self.push(Value::Float);
                }
                b'X' => {
                    let len = self.code.length4()?;
                    self.text(len)?;
                }
                0x8c => {
                    let len = self.code.byte()? as usize;
                    self.text(len)?;
                }
                0x8d => {
                    let len = self.code.length8()?;
                    self.text(len)?;
                }
                b'C' | b'U' => {
                    let len = self.code.byte()? as usize;
                    self.raw(len)?;
                }
                b'B' | b'T' => {
                    let len = self.code.length4()?;
                    self.raw(len)?;
                }
                0x8e => {
                    let len = self.code.length8()?;
                    self.raw(len)?;
                }
                b')' => self.push(Value::Tuple(Vec::new())),
                b']' | 0x8f => self.push(Value::List(Vec::new())),
                b'}' => self.push(Value::Dict(Vec::new())),
                b't' => {
                    let items = self.pop_mark()?;
                    self.push(Value::Tuple(items));
                }
                b'l' => {
                    let items = self.pop_mark()?;
                    self.push(Value::List(items));
                }
                b'd' => {
                    let items = self.pop_mark()?;
                    self.push(Value::Dict(Vec::new()));
                    self.set_items(&items)?;
                }
                0x85 => self.tuple(1)?,
                0x86 => self.tuple(2)?,
                0x87 => self.tuple(3)?,
                b'a' => {
                    let item = self.pop()?;
                    self.append(&[item])?;
                }
                b'e' | 0x90 => {
                    let items = self.pop_mark()?;
                    self.append(&items)?;
                }
                b's' => {
                    let value = self.pop()?;
                    let key = self.pop()?;
                    self.set_items(&[key, value])?;
                }
                b'u' => {
                    let items = self.pop_mark()?;
                    self.set_items(&items)?;
                }
                b'q' => {
                    let slot = u32::from(self.code.byte()?);
                    self.remember(slot)?;
                }
                b'r' => {
                    let slot = u32::from_le_bytes(self.code.array()?);
                    self.remember(slot)?;
                }
                0x94 => {
                    let slot = self.memo.len() as u32;
                    self.remember(slot)?;
                }
                b'h' => {
                    let slot = u32::from(self.code.byte()?);
                    self.recall(slot)?;
                }
                b'j' => {
                    let slot = u32::from_le_bytes(self.code.array()?);
                    self.recall(slot)?;
                }
                b'c' => {
                    let module = self.code.line()?;
                    let name = self.code.line()?;
                    self.global(module, name)?;
                }
                0x93 => {
                    let name = self.pop_text()?;
                    let module = self.pop_text()?;
                    self.global(&module, &name)?;
                }
                b'Q' => self.persistent()?,
                b'R' => self.reduce()?,
                0x81 if self.makes_container() => self.reduce()?,
                b'b' => self.build()?,
                _ => {
                    return Err(PickleError::Refused(format!(
                        "uses the instruction {}",
                        opcode_name(opcode)
                    )));
                }
            }
        }
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), PickleError> {
        match Global::named(module, name) {
            Some(global) => {
                self.push(Value::Global(global));
                Ok(())
            }
            None if is_container(module, name) => {
                self.push(Value::Opaque(format!("{module}.{name}")));
                Ok(())
            }
            None => Err(PickleError::Refused(format!(
                "asks for `{}.{}`",
                printable(module),
                printable(name)
            ))),
        }
    }

    /// A reference to a storage: `("storage", type, entry, device, count)`.
    fn persistent(&mut self) -> Result<(), PickleError> {
        let id = self.pop()?;
        let parts = self.tuple_of(id)?;
        let known = match parts.as_slice() {
            [kind, global, name, _, _] => {
                match (self.value(*kind), self.value(*global), self.value(*name)) {
                    (
                        Value::Text(kind),
                        Value::Global(Global::Storage(element)),
                        Value::Text(name),
                    ) if kind == "storage" && name.len() <= 64 => Some(Value::Storage {
                        name: name.clone(),
                        element: *element,
                    }),
                    _ => None,
                }
            }
            _ => None,
        };
        let Some(storage) = known else {
            return Err(PickleError::Refused(
                "refers to something outside that is no tensor storage".to_owned(),
            ));
        };
        self.push(storage);
        Ok(())
    }

    /// A call of one of the known names.
    fn reduce(&mut self) -> Result<(), PickleError> {
        let arguments = self.pop()?;
        let arguments = self.tuple_of(arguments)?;
        let callee = self.pop()?;
        if let Value::Opaque(name) = self.value(callee) {
            let value = Value::Opaque(name.clone());
            self.push(value);
            return Ok(());
        }
        let Value::Global(callee) = *self.value(callee) else {
            return Err(PickleError::Refused(
                "calls something that is not a name".to_owned(),
            ));
        };
        let value = match (callee, arguments.as_slice()) {
            (Global::OrderedDict, []) => Value::Dict(Vec::new()),
            (Global::OrderedDict, [pairs]) => self.dict_of_pairs(*pairs)?,
            (Global::RebuildTensor, [storage, offset, shape, strides, ..]) => Value::Tensor {
                storage: *storage,
                offset: self.size(*offset)?,
                shape: self.sizes(*shape)?,
                strides: self.sizes(*strides)?,
            },
            (Global::RebuildParameter, [tensor, ..]) => self.value(*tensor).clone(),
            (Global::Size, [sizes]) => Value::Tuple(self.tuple_of(*sizes)?),
            (Global::Set, [items]) => Value::List(self.tuple_of(*items)?),
            (Global::Device, _) => Value::None,
            _ => {
                return malformed(format!(
                    "calls {callee:?} with {} arguments",
                    arguments.len()
                ));
            }
        };
        self.push(value);
        Ok(())
    }

    /// Whether `NEWOBJ` would make a container of the values on the stack.
    fn makes_container(&self) -> bool {
        let callee = self.stack.len().checked_sub(2).map(|at| self.stack[at]);
        callee.is_some_and(|id| matches!(self.value(id), Value::Opaque(_)))
    }

    /// Attributes of an `OrderedDict` (`_metadata` of a state dict): dropped.
    fn build(&mut self) -> Result<(), PickleError> {
        self.pop()?;
        let target = self.top()?;
        match self.value(target) {
            Value::Dict(_) | Value::Tensor { .. } | Value::Opaque(_) => Ok(()),
            _ => Err(PickleError::Refused(
                "sets the state of an object (BUILD)".to_owned(),
            )),
        }
    }

    fn dict_of_pairs(&self, pairs: Id) -> Result<Value, PickleError> {
        let mut entries = Vec::new();
        for pair in self.tuple_of(pairs)? {
            match self.tuple_of(pair)?.as_slice() {
                [key, value] => entries.push((*key, *value)),
                _ => return malformed("builds a dict from something else than pairs"),
            }
        }
        Ok(Value::Dict(entries))
    }

    fn size(&self, id: Id) -> Result<usize, PickleError> {
        match self.value(id) {
            Value::Int(value) if *value >= 0 => Ok(*value as usize),
            _ => malformed("has a dimension that is no size"),
        }
    }

    fn sizes(&self, id: Id) -> Result<Vec<usize>, PickleError> {
        let ids = self.tuple_of(id)?;
        if ids.len() > 16 {
            return malformed("has a tensor of more than 16 dimensions");
        }
        ids.into_iter().map(|id| self.size(id)).collect()
    }

    fn tuple_of(&self, id: Id) -> Result<Vec<Id>, PickleError> {
        match self.value(id) {
            Value::Tuple(items) | Value::List(items) => {
                self.copied.set(self.copied.get() + items.len());
                if self.copied.get() > MAX_COPIED {
                    return malformed("multiplies its values beyond any checkpoint");
                }
                Ok(items.clone())
            }
            _ => malformed("has another value where a tuple belongs"),
        }
    }

    fn tuple(&mut self, count: usize) -> Result<(), PickleError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() < floor + count {
            return malformed("takes more values than it has");
        }
        let items = self.stack.split_off(self.stack.len() - count);
        self.push(Value::Tuple(items));
        Ok(())
    }

    fn append(&mut self, items: &[Id]) -> Result<(), PickleError> {
        let list = self.top()?;
        match &mut self.values[list as usize] {
            Value::List(held) => {
                held.extend_from_slice(items);
                Ok(())
            }
            // What a skipped container holds is of no interest.
            Value::Opaque(_) => Ok(()),
            _ => malformed("appends to something that is no list"),
        }
    }

    fn set_items(&mut self, items: &[Id]) -> Result<(), PickleError> {
        let dict = self.top()?;
        let (pairs, rest) = items.as_chunks::<2>();
        match &mut self.values[dict as usize] {
            Value::Opaque(_) => Ok(()),
            Value::Dict(entries) if rest.is_empty() => {
                entries.extend(pairs.iter().map(|pair| (pair[0], pair[1])));
                Ok(())
            }
            _ => malformed("sets items of something that is no dict"),
        }
    }

    fn remember(&mut self, slot: u32) -> Result<(), PickleError> {
        let top = self.top()?;
        self.memo.insert(slot, top);
        Ok(())
    }

    fn recall(&mut self, slot: u32) -> Result<(), PickleError> {
        match self.memo.get(&slot) {
            Some(&id) => {
                self.stack.push(id);
                Ok(())
            }
            None => malformed("recalls a value that it never stored"),
        }
    }

    fn long(&mut self, len: usize) -> Result<(), PickleError> {
        let raw = self.code.take(len)?;
        let negative = raw.last().is_some_and(|byte| byte & 0x80 != 0);
        let value = if raw.len() > 8 {
            if negative { i64::MIN } else { i64::MAX }
        } else {
            let mut wide = [if negative { 0xff } else { 0 }; 8];
            wide[..raw.len()].copy_from_slice(raw);
            i64::from_le_bytes(wide)
        };
        self.push(Value::Int(value));
        Ok(())
    }

    fn text(&mut self, len: usize) -> Result<(), PickleError> {
        match std::str::from_utf8(self.code.take(len)?) {
            Ok(text) => {
                let text = text.to_owned();
                self.push(Value::Text(text));
                Ok(())
            }
            Err(_) => malformed("has text that is not UTF-8"),
        }
    }

    fn raw(&mut self, len: usize) -> Result<(), PickleError> {
        self.code.take(len)?;
        self.push(Value::Bytes);
        Ok(())
    }

    fn value(&self, id: Id) -> &Value {
        &self.values[id as usize]
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len() as Id);
        self.values.push(value);
    }

    fn top(&self) -> Result<Id, PickleError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(&id) if self.stack.len() > floor => Ok(id),
            _ => malformed("takes more values than it has"),
        }
    }

    fn pop(&mut self) -> Result<Id, PickleError> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_text(&mut self) -> Result<String, PickleError> {
        let id = self.pop()?;
        match self.value(id) {
            Value::Text(text) => Ok(text.clone()),
            _ => malformed("names something by a value that is no text"),
        }
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, PickleError> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => malformed("closes a group that it never opened"),
        }
    }
}
