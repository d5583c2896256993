//! Authentication: AES-128-CCM with an 8-byte tag, with or without encryption.
//!
//! CCM because it signs and encrypts with one block cipher that most microcontrollers have in
//! hardware, because its tag may be cut to 8 bytes by specification (RFC 3610, M = 8), and because
//! signing alone is the same computation with the payload as associated data.
//!
//! The nonce is never sent: craft (2 bytes), sending end (1 bit) and station (7 bits), the sender's epoch
//! (4) and its counter (6), all little-endian. It repeats only if a counter does within an epoch.

use core::fmt;

use aes::Aes128Enc;
use ccm::{
    Ccm, KeyInit,
    aead::AeadInOut,
    consts::{U8, U13},
};

use crate::mtu::MAX_MTU;

/// Length of the authentication tag.
pub const TAG: usize = 8;

type Cipher = Ccm<Aes128Enc, U8, U13>;

/// What makes each frame's encryption its own.
pub(crate) type Nonce = [u8; 13];

/// What protects the frames of one direction. A later one is stronger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Protection {
    /// A CRC-32C against noise; nothing against an attacker.
    #[default]
    Plain = 0,
    /// A tag: readable by all, written only by those who hold the key.
    Authenticated = 1,
    /// A tag, and the payload encrypted.
    AuthenticatedEncrypted = 2,
}

impl Protection {
    /// Bytes at the end of a frame that check it.
    pub const fn check_bytes(self) -> usize {
        match self {
            Self::Plain => 4,
            Self::Authenticated | Self::AuthenticatedEncrypted => TAG,
        }
    }
}

/// A shared key and its name.
#[derive(Clone)]
pub struct Key {
    id: u32,
    secret: [u8; 16],
    cipher: Cipher,
}

impl Key {
    /// The key `secret` under the name `id`. The lowest bit of the id is its slot.
    pub fn new(id: u32, secret: &[u8; 16]) -> Self {
        Self {
            id,
            secret: *secret,
            cipher: Cipher::new(secret.into()),
        }
    }

    /// Its name.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// What both ends keep to themselves.
    pub(crate) const fn secret(&self) -> &[u8; 16] {
        &self.secret
    }

    pub(crate) const fn slot(&self) -> u8 {
        (self.id & 1) as u8
    }

    /// Authenticated, and not sent: the key's name, the epoch of the end that the frame is for, and
    /// `clear`.
    fn associated(&self, addressee: u32, clear: &[u8]) -> heapless::Vec<u8, { MAX_MTU + 8 }> {
        let mut data = heapless::Vec::new();
        for part in [&self.id.to_le_bytes()[..], &addressee.to_le_bytes(), clear] {
            let fits = data.extend_from_slice(part).is_ok();
            debug_assert!(fits, "a frame is no longer than the MTU");
        }
        data
    }

    /// Computes the tag over both parts and the addressee, and encrypts `hidden`.
    pub(crate) fn seal(
        &self,
        nonce: &Nonce,
        addressee: u32,
        clear: &[u8],
        hidden: &mut [u8],
    ) -> [u8; TAG] {
        let associated = self.associated(addressee, clear);
        match self
            .cipher
            .encrypt_inout_detached(&(*nonce).into(), &associated, hidden.into())
        {
            Ok(tag) => tag.into(),
            // CCM fails only on lengths over 64 KiB, and a frame has 255 bytes.
            Err(_) => unreachable!("a frame is shorter than CCM's limit"),
        }
    }

    /// Decrypts `hidden` when the tag fits; otherwise leaves no plain text behind.
    pub(crate) fn open(
        &self,
        nonce: &Nonce,
        addressee: u32,
        clear: &[u8],
        hidden: &mut [u8],
        tag: &[u8; TAG],
    ) -> bool {
        let associated = self.associated(addressee, clear);
        self.cipher
            .decrypt_inout_detached(&(*nonce).into(), &associated, hidden.into(), &(*tag).into())
            .is_ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Two slots for keys, so that a new one can be in place before the old one goes.
///
/// Frames name the slot. To roll over: install the new key (its id one higher, so in the other
/// slot) at both ends, then [`activate`](Keys::activate) it at both, then remove the old one.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    slots: [Option<Key>; 2],
    active: u8,
}

impl Keys {
    /// One key, and active.
    pub fn single(key: Key) -> Self {
        let mut keys = Self {
            active: key.slot(),
            ..Self::default()
        };
        keys.install(key);
        keys
    }

    /// Puts the key into its slot; what was there is gone.
    pub fn install(&mut self, key: Key) {
        let slot = usize::from(key.slot());
        self.slots[slot] = Some(key);
    }

    /// Signs with the key of this id from now on. False, and nothing happens, if it is not there.
    pub fn activate(&mut self, id: u32) -> bool {
        let slot = (id & 1) as u8;
        let found = self.slot(slot).is_some_and(|key| key.id == id);
        if found {
            self.active = slot;
        }
        found
    }

    /// Removes the key of this id. False, and nothing happens, if it is not there or active.
    pub fn remove(&mut self, id: u32) -> bool {
        let slot = (id & 1) as u8;
        let found = slot != self.active && self.slot(slot).is_some_and(|key| key.id == id);
        if found {
            self.slots[usize::from(slot)] = None;
        }
        found
    }

    /// Whether there is no key to sign with.
    pub fn is_empty(&self) -> bool {
        self.active().is_none()
    }

    pub(crate) fn active(&self) -> Option<&Key> {
        self.slot(self.active)
    }

    pub(crate) const fn active_slot(&self) -> u8 {
        self.active
    }

    pub(crate) fn slot(&self, slot: u8) -> Option<&Key> {
        self.slots[usize::from(slot & 1)].as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rollover_keeps_both_keys_until_the_old_one_is_removed() {
        let mut keys = Keys::single(Key::new(6, &[1; 16]));
        assert!(!keys.activate(7));
        keys.install(Key::new(7, &[2; 16]));
        assert!(!keys.remove(6), "the active key stays");
        assert!(keys.activate(7));
        assert!(keys.slot(0).is_some());
        assert!(keys.remove(6));
        assert!(keys.slot(0).is_none());
    }

    #[test]
    fn a_tag_fits_one_nonce_addressee_key_and_content() {
        let key = Key::new(6, &[1; 16]);
        let nonce = [9; 13];
        let mut hidden = *b"alert";
        let tag = key.seal(&nonce, 3, b"head", &mut hidden);
        assert_ne!(&hidden, b"alert");
        let opens = |key: &Key, nonce: &Nonce, addressee, clear: &[u8]| {
            key.open(nonce, addressee, clear, &mut hidden.clone(), &tag)
        };
        assert!(opens(&key, &nonce, 3, b"head"));
        for byte in 0..13 {
            let mut other = nonce;
            other[byte] ^= 1;
            assert!(!opens(&key, &other, 3, b"head"));
        }
        assert!(!opens(&key, &nonce, 4, b"head"));
        assert!(!opens(&key, &nonce, 3, b"hexd"));
        assert!(!opens(&Key::new(8, &[1; 16]), &nonce, 3, b"head"));
        assert!(!opens(&Key::new(6, &[2; 16]), &nonce, 3, b"head"));
    }
}
