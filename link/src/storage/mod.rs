//! What must survive a power cut, and the trait that keeps it.
//!
//! An endpoint keeps two kinds of things: *entries*, the messages that are not done with yet, and
//! *registers*, small values that are overwritten. It relies on one promise, given by every
//! implementation: **when a call returns `Ok`, its effect survives a power cut, and a call that a
//! power cut interrupts has either its whole effect or none.** What follows from it:
//!
//! - `send` appends the message and then reports it accepted.
//! - A received message is appended and then acknowledged to the peer.
//! - Frame counters are taken from a block whose end was written to a register first, so a start
//!   after a power cut goes on behind every counter that was ever used.
//! - The duplicate window of a class is written to its register before the entry it stands for is
//!   removed. The window after a start is the register plus the entries that are left.

#[cfg(feature = "std")]
mod file;
#[cfg(feature = "std")]
pub mod log;
mod memory;

#[cfg(feature = "std")]
pub use file::{FileDisk, FileStorage};
pub use memory::MemoryStorage;

use crate::class::Class;

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Direction {
    /// From this end to the peer.
    Outbound = 0,
    /// From the peer to this end.
    Inbound = 1,
}

/// Names an entry. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Which way the message goes.
    pub direction: Direction,
    /// Its class.
    pub class: Class,
    /// Its number within direction and class.
    pub sequence: u32,
}

/// Names a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Register {
    /// Frame counters below this one may have been used.
    SendCounter,
    /// Frame counters of the peer below this one are refused, and the peer's epoch.
    ReplayFloor,
    /// This end's epoch, how often it started, and whether the peer has proved its epoch.
    Identity,
    /// Outbound sequence numbers of the class below this one may have been used.
    NextSequence(Class),
    /// Inbound sequence numbers of the class that are done with.
    Settled(Class),
    /// Epochs of the peer that others took the place of; none of them is taken again.
    ReplacedEpochs,
    /// Half of the key in this slot (0 or 1) that came over the link.
    KeyLow(u8),
    /// The other half.
    KeyHigh(u8),
    /// The name of the key in use, and of the one that the peer is being given.
    ActiveKey,
}

impl Register {
    /// How many registers there are.
    pub const COUNT: usize = 19;

    /// Its number, below [`Register::COUNT`].
    pub const fn number(self) -> u8 {
        match self {
            Self::SendCounter => 0,
            Self::ReplayFloor => 1,
            Self::Identity => 2,
            Self::NextSequence(class) => 3 + class as u8,
            Self::Settled(class) => 8 + class as u8,
            Self::ReplacedEpochs => 13,
            Self::KeyLow(slot) => 14 + (slot & 1),
            Self::KeyHigh(slot) => 16 + (slot & 1),
            Self::ActiveKey => 18,
        }
    }

    /// The register with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::SendCounter,
            1 => Self::ReplayFloor,
            2 => Self::Identity,
            3..=7 => match Class::from_number(number - 3) {
                Some(class) => Self::NextSequence(class),
                None => return None,
            },
            8..=12 => match Class::from_number(number - 8) {
                Some(class) => Self::Settled(class),
                None => return None,
            },
            13 => Self::ReplacedEpochs,
            14 | 15 => Self::KeyLow(number - 14),
            16 | 17 => Self::KeyHigh(number - 16),
            18 => Self::ActiveKey,
            _ => return None,
        })
    }
}

/// What a register holds.
pub type Value = [u8; 12];

/// Why storage did not do as it was told. Whatever the reason, nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageError<E> {
    /// No room for another entry.
    Full,
    /// The device failed.
    Device(E),
}

impl<E: core::fmt::Display> core::fmt::Display for StorageError<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Full => f.write_str("storage is full"),
            Self::Device(error) => write!(f, "storage failed: {error}"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for StorageError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Full => None,
            Self::Device(error) => Some(error),
        }
    }
}

/// Copies what fits of `bytes` from `offset` on into `into`, and returns how much that was: what
/// [`Storage::read`] does with an entry that lies in memory.
pub fn copy_from(bytes: &[u8], offset: usize, into: &mut [u8]) -> usize {
    let from = bytes.get(offset..).unwrap_or_default();
    let count = from.len().min(into.len());
    into[..count].copy_from_slice(&from[..count]);
    count
}

/// Keeps messages and registers over a power cut.
///
/// Entries of a class that [`latest_wins`](Class::latest_wins) may be forgotten at a power cut.
pub trait Storage {
    /// What the device reports when it fails.
    type Error: core::fmt::Debug;

    /// Keeps `parts`, one after the other, under `key`.
    fn append(&mut self, key: Key, parts: &[&[u8]]) -> Result<(), StorageError<Self::Error>>;

    /// Forgets the entry, if there is one.
    fn acknowledge(&mut self, key: Key) -> Result<(), StorageError<Self::Error>>;

    /// Copies the entry from `offset` on into `into` and returns the number of bytes copied: fewer
    /// than asked for at the entry's end, none where there is no entry.
    fn read(
        &mut self,
        key: Key,
        offset: usize,
        into: &mut [u8],
    ) -> Result<usize, StorageError<Self::Error>>;

    /// Calls `each` with the key and length of every entry, oldest first.
    fn recover(
        &mut self,
        each: &mut dyn FnMut(Key, usize),
    ) -> Result<(), StorageError<Self::Error>>;

    /// Overwrites a register.
    fn set(&mut self, register: Register, value: Value) -> Result<(), StorageError<Self::Error>>;

    /// The value of a register, `None` when it was never written.
    fn get(&mut self, register: Register) -> Result<Option<Value>, StorageError<Self::Error>>;
}

impl<S: Storage + ?Sized> Storage for &mut S {
    type Error = S::Error;

    fn append(&mut self, key: Key, parts: &[&[u8]]) -> Result<(), StorageError<Self::Error>> {
        (**self).append(key, parts)
    }

    fn acknowledge(&mut self, key: Key) -> Result<(), StorageError<Self::Error>> {
        (**self).acknowledge(key)
    }

    fn read(
        &mut self,
        key: Key,
        offset: usize,
        into: &mut [u8],
    ) -> Result<usize, StorageError<Self::Error>> {
        (**self).read(key, offset, into)
    }

    fn recover(
        &mut self,
        each: &mut dyn FnMut(Key, usize),
    ) -> Result<(), StorageError<Self::Error>> {
        (**self).recover(each)
    }

    fn set(&mut self, register: Register, value: Value) -> Result<(), StorageError<Self::Error>> {
        (**self).set(register, value)
    }

    fn get(&mut self, register: Register) -> Result<Option<Value>, StorageError<Self::Error>> {
        (**self).get(register)
    }
}
