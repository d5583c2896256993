//! Changing the key over the link.
//!
//! One end offers a new key, in frames encrypted under the old one. The other writes it down and says
//! that it holds it. Only then does the first use it, and the first frame under it makes the other use it
//! too; each drops the old key once it has heard the other under the new one. At every moment each end
//! holds the key that the other sends with, wherever either of them loses power.

use core::fmt;

use super::{Endpoint, Notice};
use crate::{
    auth::{Key, Keys, Protection},
    config::Mode,
    crc::crc32c_of,
    frame::Head,
    storage::{Register, Storage, StorageError, Value},
    time::Instant,
};

/// The shortest MTU that has room for the offer of a key.
const MIN_MTU: u8 = 40;

/// Why the key cannot be changed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RotateError {
    /// There is no key that a new one could be sent under.
    NoKey,
    /// The new key's id is not one above that of the key in use.
    Id,
    /// The `mtu` is under 40, or the ground cannot send.
    Unsupported,
    /// Storage failed.
    Storage,
}

impl fmt::Display for RotateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoKey => "there is no key that a new one could be sent under",
            Self::Id => "the new key's number must be one above that of the key in use",
            Self::Unsupported => "a key can be sent on a duplex link with an mtu of 40 or more",
            Self::Storage => "storage failed",
        })
    }
}

impl core::error::Error for RotateError {}

/// How far this end is with a new key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rotation {
    /// The key that the peer is being given.
    pub(super) offering: Option<u32>,
    /// When it is offered again.
    pub(super) offer_at: Instant,
    /// The peer is to be told that this end holds the key.
    pub(super) held_due: Option<u32>,
}

impl<S: Storage> Endpoint<S> {
    /// Gives the peer a new key, whose id is one above that of the key in use, and changes to it once
    /// the peer holds it. [`Event::KeyChanged`](crate::Event::KeyChanged) follows, at both ends.
    ///
    /// # Errors
    /// The link is not set up for it, or storage failed.
    pub fn rotate_key(&mut self, key: Key) -> Result<(), RotateError> {
        let active = self.config.keys.active().ok_or(RotateError::NoKey)?.id();
        if key.id() != active.wrapping_add(1) {
            return Err(RotateError::Id);
        }
        if self.config.mode != Mode::Duplex || self.config.mtu < MIN_MTU {
            return Err(RotateError::Unsupported);
        }
        let id = key.id();
        self.keep_key(key).ok_or(RotateError::Storage)?;
        let stored = self
            .storage
            .set(Register::ActiveKey, active_register(active, id));
        self.storage_result(stored).ok_or(RotateError::Storage)?;
        self.rotation.offering = Some(id);
        self.rotation.offer_at = Instant::ZERO;
        Ok(())
    }

    /// The id of the key that frames are sent with.
    pub fn key_id(&self) -> Option<u32> {
        self.config.keys.active().map(Key::id)
    }

    pub(super) fn offer_is_due(&self, now: Instant) -> bool {
        self.rotation.offering.is_some() && now >= self.rotation.offer_at
    }

    pub(super) fn receive_offer(&mut self, head: Head, id: u32, secret: &[u8; 16]) {
        let Some(active) = self.key_id() else { return };
        if head.protection != Protection::AuthenticatedEncrypted || self.rotation.offering.is_some()
        {
            return;
        }
        if id == active.wrapping_add(1) && self.keep_key(Key::new(id, secret)).is_none() {
            return;
        }
        if id == active || id == active.wrapping_add(1) {
            self.rotation.held_due = Some(id);
        }
    }

    pub(super) fn receive_held(&mut self, id: u32) {
        if self.rotation.offering == Some(id) && self.use_key(id).is_some() {
            self.rotation.offering = None;
        }
    }

    /// A good frame came under the key in this slot.
    pub(super) fn heard_under(&mut self, head: Head) {
        let (Some(active), Some(key)) =
            (self.config.keys.active(), self.config.keys.slot(head.slot))
        else {
            return;
        };
        let (active, heard) = (active.id(), key.id());
        if head.protection == Protection::Plain || self.rotation.offering.is_some() {
            return;
        }
        if heard == active.wrapping_add(1) && self.use_key(heard).is_none() {
            return;
        }
        let old = heard.wrapping_sub(1);
        if self.key_id() == Some(heard) && self.config.keys.remove(old) {
            for register in [Register::KeyLow(old as u8), Register::KeyHigh(old as u8)] {
                let stored = self.storage.set(register, [0; 12]);
                self.storage_result(stored);
            }
            self.notice(Notice::KeyChanged(heard));
        }
    }

    /// Writes a key down and installs it in its slot.
    fn keep_key(&mut self, key: Key) -> Option<()> {
        let [low, high] = key_registers(&key);
        for (register, value) in [
            (Register::KeyLow(key.slot()), low),
            (Register::KeyHigh(key.slot()), high),
        ] {
            let stored = self.storage.set(register, value);
            self.storage_result(stored)?;
        }
        self.config.keys.install(key);
        Some(())
    }

    fn use_key(&mut self, id: u32) -> Option<()> {
        let stored = self
            .storage
            .set(Register::ActiveKey, active_register(id, 0));
        self.storage_result(stored)?;
        self.config.keys.activate(id);
        // The peer is shown at once, and drops the old key.
        self.handshake.hello_due = true;
        Some(())
    }
}

impl Rotation {
    /// Puts the keys that came over the link beside those of the configuration. The newer ones count.
    pub(super) fn recover<S: Storage>(
        keys: &mut Keys,
        storage: &mut S,
    ) -> Result<Self, StorageError<S::Error>> {
        let mut offering = None;
        if let Some(configured) = keys.active().map(Key::id) {
            let stored = [read_key(storage, 0)?, read_key(storage, 1)?];
            let [a, b, c, d, e, f, g, h, ..] =
                storage.get(Register::ActiveKey)?.unwrap_or_default();
            let in_use = u32::from_le_bytes([a, b, c, d]);
            let newer = in_use.wrapping_sub(configured) as i32 > 0;
            let names = [&stored[0], &stored[1]].map(|key| key.as_ref().map(Key::id));
            let is_there = |id| names.contains(&Some(id));
            let active = if newer && is_there(in_use) {
                in_use
            } else {
                configured
            };
            for key in stored.into_iter().flatten() {
                let id = key.id();
                // The one in use, the next, and the one before it.
                if id == active && id != configured
                    || id == active.wrapping_add(1)
                    || id == active.wrapping_sub(1) && id != configured
                {
                    keys.install(key);
                }
            }
            keys.activate(active);
            let offered = u32::from_le_bytes([e, f, g, h]);
            let next = active.wrapping_add(1);
            offering = (in_use == active && offered == next && is_there(next)).then_some(next);
        }
        Ok(Self {
            offering,
            offer_at: Instant::ZERO,
            held_due: None,
        })
    }
}

fn active_register(active: u32, offering: u32) -> Value {
    let mut value = [0; 12];
    value[..4].copy_from_slice(&active.to_le_bytes());
    value[4..8].copy_from_slice(&offering.to_le_bytes());
    value
}

/// Both halves, of which the second checks that they belong together.
fn key_registers(key: &Key) -> [Value; 2] {
    let (mut low, mut high) = ([0; 12], [0; 12]);
    let secret = key.secret();
    low[..4].copy_from_slice(&key.id().to_le_bytes());
    low[4..].copy_from_slice(&secret[..8]);
    high[..8].copy_from_slice(&secret[8..]);
    let check = crc32c_of(&[&low, &high[..8]]);
    high[8..].copy_from_slice(&check.to_le_bytes());
    [low, high]
}

fn read_key<S: Storage>(storage: &mut S, slot: u8) -> Result<Option<Key>, StorageError<S::Error>> {
    let low = storage.get(Register::KeyLow(slot))?.unwrap_or_default();
    let high = storage.get(Register::KeyHigh(slot))?.unwrap_or_default();
    let mut secret = [0; 16];
    secret[..8].copy_from_slice(&low[4..]);
    secret[8..].copy_from_slice(&high[..8]);
    let [a, b, c, d, ..] = low;
    let key = Key::new(u32::from_le_bytes([a, b, c, d]), &secret);
    // What was cut off in between, or wiped, does not check.
    let is_whole = key_registers(&key) == [low, high] && key.slot() == slot && low != [0; 12];
    Ok(is_whole.then_some(key))
}
