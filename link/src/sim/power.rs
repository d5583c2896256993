//! Power cuts: between storage calls, and in the middle of one.

use std::vec::Vec;

use super::Rng;
use crate::storage::{Key, Register, Storage, StorageError, Value, log::Disk};

/// The power is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Severed;

/// Storage whose power can be cut at any call. The call that is cut has its effect or not, as chance
/// has it, and reports failure either way; all later ones fail.
#[derive(Debug, Clone)]
pub struct PowerCut<S> {
    inner: S,
    /// Calls until the cut.
    fuse: Option<u64>,
    rng: Rng,
    off: bool,
}

impl<S> PowerCut<S> {
    /// Storage with its power on.
    pub const fn new(inner: S, seed: u64) -> Self {
        Self {
            inner,
            fuse: None,
            rng: Rng::new(seed),
            off: false,
        }
    }

    /// Cuts the power at the call after `calls` more.
    pub const fn cut_after(&mut self, calls: u64) {
        self.fuse = Some(calls);
    }

    /// Whether the power is off.
    pub const fn is_off(&self) -> bool {
        self.off
    }

    /// Turns it on again.
    pub const fn restore(&mut self) {
        self.off = false;
        self.fuse = None;
    }

    /// The storage inside.
    pub const fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S: Storage> PowerCut<S> {
    fn call<T>(
        &mut self,
        work: impl FnOnce(&mut S) -> Result<T, StorageError<S::Error>>,
    ) -> Result<T, StorageError<Severed>> {
        if self.off {
            return Err(StorageError::Device(Severed));
        }
        let cut = self.fuse == Some(0);
        self.fuse = self.fuse.map(|calls| calls.saturating_sub(1));
        if cut {
            self.off = true;
            if self.rng.chance(0.5) {
                let _ = work(&mut self.inner);
            }
            return Err(StorageError::Device(Severed));
        }
        work(&mut self.inner).map_err(|error| match error {
            StorageError::Full => StorageError::Full,
            StorageError::Device(_) => StorageError::Device(Severed),
        })
    }
}

impl<S: Storage> Storage for PowerCut<S> {
    type Error = Severed;

    fn append(&mut self, key: Key, parts: &[&[u8]]) -> Result<(), StorageError<Severed>> {
        self.call(|inner| inner.append(key, parts))
    }

    fn acknowledge(&mut self, key: Key) -> Result<(), StorageError<Severed>> {
        self.call(|inner| inner.acknowledge(key))
    }

    fn read(
        &mut self,
        key: Key,
        offset: usize,
        into: &mut [u8],
    ) -> Result<usize, StorageError<Severed>> {
        self.call(|inner| inner.read(key, offset, into))
    }

    fn recover(&mut self, each: &mut dyn FnMut(Key, usize)) -> Result<(), StorageError<Severed>> {
        self.call(|inner| inner.recover(each))
    }

    fn set(&mut self, register: Register, value: Value) -> Result<(), StorageError<Severed>> {
        self.call(|inner| inner.set(register, value))
    }

    fn get(&mut self, register: Register) -> Result<Option<Value>, StorageError<Severed>> {
        self.call(|inner| inner.get(register))
    }
}

/// A disk in memory whose power is cut after a given number of bytes. What was written and not
/// synchronised by then is there not at all, in part, or garbled.
#[derive(Debug, Clone)]
pub struct CutDisk {
    content: Vec<u8>,
    /// How much of the content is synchronised.
    durable: usize,
    /// Bytes until the cut. A cut-off and a synchronisation count as one.
    fuse: u64,
    off: bool,
    rng: Rng,
}

impl CutDisk {
    /// A disk with this content, on which `fuse` more bytes can be written.
    pub const fn new(content: Vec<u8>, fuse: u64, seed: u64) -> Self {
        let durable = content.len();
        Self {
            content,
            durable,
            fuse,
            off: false,
            rng: Rng::new(seed),
        }
    }

    /// What is there when the power comes back.
    pub fn after_cut(mut self) -> Vec<u8> {
        let tail = (self.content.len() - self.durable) as u64;
        match self.rng.below(3) {
            0 => self.content.truncate(self.durable),
            1 => self
                .content
                .truncate(self.durable + self.rng.below(tail + 1) as usize),
            // The length is there, the bytes are not.
            _ => {
                let garbled = self.rng.below(tail + 1) as usize;
                self.content
                    .iter_mut()
                    .rev()
                    .take(garbled)
                    .for_each(|byte| *byte = 0);
            }
        }
        self.content
    }

    /// Whether the power is off.
    pub const fn is_off(&self) -> bool {
        self.off
    }

    /// What is there while the power is on.
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// Bytes that can still be written.
    pub const fn fuse(&self) -> u64 {
        self.fuse
    }

    fn burn(&mut self, cost: u64) -> u64 {
        let burnt = cost.min(self.fuse);
        self.fuse -= burnt;
        self.off |= burnt < cost;
        burnt
    }
}

impl Disk for CutDisk {
    type Error = Severed;

    fn read(&mut self) -> Result<Vec<u8>, Severed> {
        Ok(self.content.clone())
    }

    fn append(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Severed> {
        if self.off {
            return Err(Severed);
        }
        let written = self.burn(bytes.len() as u64) as usize;
        self.content.truncate(offset as usize);
        self.content.extend_from_slice(&bytes[..written]);
        if self.off { Err(Severed) } else { Ok(()) }
    }

    fn truncate(&mut self, length: u64) -> Result<(), Severed> {
        if self.off || self.burn(1) == 0 {
            return Err(Severed);
        }
        self.content.truncate(length as usize);
        self.durable = self.durable.min(self.content.len());
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Severed> {
        if self.off || self.burn(1) == 0 {
            return Err(Severed);
        }
        self.durable = self.content.len();
        Ok(())
    }

    fn replace(&mut self, content: &[u8]) -> Result<(), Severed> {
        let cost = content.len() as u64 + 1;
        if self.off || self.burn(cost) < cost {
            return Err(Severed);
        }
        self.content = content.to_vec();
        self.durable = self.content.len();
        Ok(())
    }
}
