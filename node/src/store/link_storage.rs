//! The link's storage, in the store.

use super::{Batch, Store, StoreError};
use deltavlm_link::{
    Class,
    storage::{Direction, Key, Register, Storage, StorageError, Value, copy_from},
};
use std::collections::BTreeMap;

const ENTRIES: &str = "link entry";
pub(super) const REGISTERS: &str = "link register";
const SALVAGED: &str = "link salvaged";

/// The link's messages and registers in a [`Store`], with a copy in memory.
///
/// Two things are [deferred](Store::defer), because a power cut that undoes them does no harm. That
/// a message is done with: it is sent or shown again, and the other end or the program recognises
/// it. And the number to go on with, which is written together with that and follows from the
/// message as long as it is there. Messages of a class where the newest wins are in memory only, as
/// the trait allows.
#[derive(Debug)]
pub struct LinkStorage {
    store: Store,
    entries: BTreeMap<Key, Vec<u8>>,
    registers: [Option<Value>; Register::COUNT],
    attached: Batch,
    salvaged: bool,
}

impl LinkStorage {
    pub(super) fn read(store: &Store) -> Result<Self, StoreError> {
        let mut entries = BTreeMap::new();
        store.for_each(ENTRIES, |key, value| {
            entries.extend(read_key(key).map(|key| (key, value.to_vec())));
        })?;
        let mut registers = [None; Register::COUNT];
        store.for_each(REGISTERS, |key, value| {
            let number = key.first().copied().and_then(Register::from_number);
            if let (Some(register), Ok(value)) = (number, value.try_into()) {
                registers[usize::from(register.number())] = Some(value);
            }
        })?;
        Ok(Self {
            store: store.clone(),
            entries,
            registers,
            attached: Batch::default(),
            salvaged: store.get(SALVAGED, &[])?.is_some(),
        })
    }

    /// Has the changes made in the transaction that keeps the next outgoing message.
    pub(crate) fn attach(&mut self, batch: Batch) {
        self.attached = batch;
    }

    /// Takes back what was attached and went with no message.
    pub(crate) fn detach(&mut self) -> Batch {
        std::mem::take(&mut self.attached)
    }

    /// Whether what the registers hold may be out of date, until [`renewed`](Self::renewed).
    pub(crate) fn is_salvaged(&self) -> bool {
        self.salvaged
    }

    /// Says that the endpoint has started in spite of it, under another name.
    pub(crate) fn renewed(&mut self) {
        if std::mem::take(&mut self.salvaged) {
            let mut batch = Batch::default();
            batch.remove(SALVAGED, &[]);
            self.store.defer(batch);
        }
    }

    /// Notes that what the registers hold may be out of date.
    pub(super) fn put_salvaged(batch: &mut Batch) {
        batch.put(SALVAGED, &[], &[]);
    }

    /// The changes that make the store's part of the link hold this.
    pub(super) fn import(
        entries: &[(Key, Vec<u8>)],
        registers: impl IntoIterator<Item = (Register, Value)>,
    ) -> Batch {
        let mut batch = Batch::default();
        for (key, bytes) in entries {
            batch.put(ENTRIES, &key_bytes(*key), bytes);
        }
        for (register, value) in registers {
            batch.put(REGISTERS, &[register.number()], &value);
        }
        batch
    }
}

impl Storage for LinkStorage {
    type Error = StoreError;

    fn append(&mut self, key: Key, parts: &[&[u8]]) -> Result<(), StorageError<StoreError>> {
        let bytes = parts.concat();
        if !key.class.latest_wins() {
            let mut batch = match key.direction {
                Direction::Outbound => self.detach(),
                Direction::Inbound => Batch::default(),
            };
            batch.put(ENTRIES, &key_bytes(key), &bytes);
            self.store.commit(&batch)?;
        }
        self.entries.insert(key, bytes);
        Ok(())
    }

    fn acknowledge(&mut self, key: Key) -> Result<(), StorageError<StoreError>> {
        if self.entries.remove(&key).is_some() && !key.class.latest_wins() {
            let mut batch = Batch::default();
            batch.remove(ENTRIES, &key_bytes(key));
            self.store.defer(batch);
        }
        Ok(())
    }

    fn read(
        &mut self,
        key: Key,
        offset: usize,
        into: &mut [u8],
    ) -> Result<usize, StorageError<StoreError>> {
        let bytes = self.entries.get(&key).map_or(&[][..], Vec::as_slice);
        Ok(copy_from(bytes, offset, into))
    }

    /// Oldest first within a class.
    fn recover(
        &mut self,
        each: &mut dyn FnMut(Key, usize),
    ) -> Result<(), StorageError<StoreError>> {
        for (key, bytes) in &self.entries {
            each(*key, bytes.len());
        }
        Ok(())
    }

    fn set(&mut self, register: Register, value: Value) -> Result<(), StorageError<StoreError>> {
        let present = &mut self.registers[usize::from(register.number())];
        if *present == Some(value) {
            return Ok(());
        }
        let mut batch = Batch::default();
        batch.put(REGISTERS, &[register.number()], &value);
        match register {
            Register::NextSequence(class) if !class.latest_wins() => self.store.defer(batch),
            _ => self.store.commit(&batch)?,
        }
        *present = Some(value);
        Ok(())
    }

    fn get(&mut self, register: Register) -> Result<Option<Value>, StorageError<StoreError>> {
        Ok(self.registers[usize::from(register.number())])
    }
}

impl From<StoreError> for StorageError<StoreError> {
    fn from(error: StoreError) -> Self {
        Self::Device(error)
    }
}

/// Direction, class and sequence, so that keys sort by age within a class.
fn key_bytes(key: Key) -> [u8; 6] {
    let [a, b, c, d] = key.sequence.to_be_bytes();
    [key.direction as u8, key.class as u8, a, b, c, d]
}

fn read_key(bytes: &[u8]) -> Option<Key> {
    let &[direction, class, a, b, c, d] = bytes else {
        return None;
    };
    Some(Key {
        direction: match direction {
            0 => Direction::Outbound,
            1 => Direction::Inbound,
            _ => return None,
        },
        class: Class::from_number(class)?,
        sequence: u32::from_be_bytes([a, b, c, d]),
    })
}
