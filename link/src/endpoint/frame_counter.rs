//! The counter of the frames that this end sends.

use super::start::register;
use crate::storage::{Register, Storage, StorageError};

/// Counters are taken from storage in blocks of this many.
const COUNTER_BLOCK: u64 = 1024;

/// Hands out each counter once, over all starts: storage is always ahead of what was used.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameCounter {
    /// The counter of the next frame. Invariant: at most `reserved`.
    pub(super) next: u64,
    /// What storage says may have been used.
    reserved: u64,
}

impl FrameCounter {
    /// Goes on at `next`, of which storage is told.
    pub(super) fn reserve<S: Storage>(
        next: u64,
        storage: &mut S,
    ) -> Result<Self, StorageError<S::Error>> {
        let reserved = next + COUNTER_BLOCK;
        storage.set(Register::SendCounter, register(reserved))?;
        Ok(Self { next, reserved })
    }

    /// The counter for a frame.
    pub(super) fn take<S: Storage>(
        &mut self,
        storage: &mut S,
    ) -> Result<u64, StorageError<S::Error>> {
        if self.next >= self.reserved {
            *self = Self::reserve(self.next, storage)?;
        }
        let counter = self.next;
        self.next += 1;
        Ok(counter)
    }
}
