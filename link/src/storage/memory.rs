//! Storage in memory, for microcontrollers without flash to spare, for tests and simulations.

use core::convert::Infallible;

use super::{Direction, Key, Register, Storage, StorageError, Value, copy_from};
use crate::class::Class;

/// Length of an entry's head: direction and class, sequence, length.
const HEAD: usize = 7;

/// Storage of `BYTES` bytes in memory. Every entry costs seven bytes on top of its own.
///
/// It keeps its promise as long as the memory is powered; a program that restarts with the same
/// value goes on where it was.
#[derive(Debug, Clone)]
pub struct MemoryStorage<const BYTES: usize> {
    /// Entries one after the other, each a head and its bytes.
    entries: heapless::Vec<u8, BYTES>,
    registers: [Option<Value>; Register::COUNT],
}

impl<const BYTES: usize> Default for MemoryStorage<BYTES> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const BYTES: usize> MemoryStorage<BYTES> {
    /// Empty storage.
    pub const fn new() -> Self {
        Self {
            entries: heapless::Vec::new(),
            registers: [None; Register::COUNT],
        }
    }

    /// Bytes left for entries and their heads.
    pub fn free(&self) -> usize {
        BYTES - self.entries.len()
    }

    fn find(&self, key: Key) -> Option<(usize, usize)> {
        let mut at = 0;
        while let Some((found, length)) = self.head(at) {
            if found == key {
                return Some((at, length));
            }
            at += HEAD + length;
        }
        None
    }

    fn head(&self, at: usize) -> Option<(Key, usize)> {
        let &[kind, s0, s1, s2, s3, l0, l1] = self.entries.get(at..)?.first_chunk()?;
        let direction = if kind & 0x80 == 0 {
            Direction::Outbound
        } else {
            Direction::Inbound
        };
        let class = Class::from_number(kind & 0x7F)?;
        let key = Key {
            direction,
            class,
            sequence: u32::from_le_bytes([s0, s1, s2, s3]),
        };
        Some((key, usize::from(u16::from_le_bytes([l0, l1]))))
    }
}

impl<const BYTES: usize> Storage for MemoryStorage<BYTES> {
    type Error = Infallible;

    fn append(&mut self, key: Key, parts: &[&[u8]]) -> Result<(), StorageError<Infallible>> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let counted = u16::try_from(length).map_err(|_| StorageError::Full)?;
        if self.free() < HEAD + length {
            return Err(StorageError::Full);
        }
        let kind = (key.direction as u8) << 7 | key.class as u8;
        let head = [
            &[kind][..],
            &key.sequence.to_le_bytes(),
            &counted.to_le_bytes(),
        ];
        for part in head.iter().chain(parts) {
            self.entries
                .extend_from_slice(part)
                .map_err(|_| StorageError::Full)?;
        }
        Ok(())
    }

    fn acknowledge(&mut self, key: Key) -> Result<(), StorageError<Infallible>> {
        if let Some((at, length)) = self.find(key) {
            let end = at + HEAD + length;
            self.entries.copy_within(end.., at);
            self.entries.truncate(self.entries.len() - (end - at));
        }
        Ok(())
    }

    fn read(
        &mut self,
        key: Key,
        offset: usize,
        into: &mut [u8],
    ) -> Result<usize, StorageError<Infallible>> {
        let Some((at, length)) = self.find(key) else {
            return Ok(0);
        };
        let from = &self.entries[at + HEAD..at + HEAD + length];
        Ok(copy_from(from, offset, into))
    }

    fn recover(
        &mut self,
        each: &mut dyn FnMut(Key, usize),
    ) -> Result<(), StorageError<Infallible>> {
        let mut at = 0;
        while let Some((key, length)) = self.head(at) {
            each(key, length);
            at += HEAD + length;
        }
        Ok(())
    }

    fn set(&mut self, register: Register, value: Value) -> Result<(), StorageError<Infallible>> {
        self.registers[usize::from(register.number())] = Some(value);
        Ok(())
    }

    fn get(&mut self, register: Register) -> Result<Option<Value>, StorageError<Infallible>> {
        Ok(self.registers[usize::from(register.number())])
    }
}
