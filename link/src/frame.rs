//! Frames: from bytes on the air to a checked payload, and back.
//!
//! ```text
//! COBS code | control | address | counter | payload ......... | check  | 0
//!     1     |    1    |    1    |    2    |                   | 4 or 8 | 1
//! ```
//!
//! Control, from the highest bit: version (2 bits, 10), sender (1, set on frames of the ground), key slot
//! (1), protection (2), handshake (1), zero (1). The address is that of [`LinkId`]. The counter is the
//! low third of a 48-bit frame counter; a handshake begins its payload with the 32 bits above it and the
//! sender's epoch. The check is a CRC-32C, or in its place an authentication tag. A tag is not joined by
//! a CRC: it is the stronger check, and the four bytes would be an eighth of an alert.
//!
//! The check also covers what both ends know and nobody sends: the link's identity, the sender's epoch,
//! the whole counter, and the epoch of the end that the frame is for.

use crate::{
    auth::{Keys, Nonce, Protection, TAG},
    cobs,
    crc::crc32c_of,
    identity::LinkId,
    role::Role,
};

pub use crate::mtu::MAX_MTU;

/// The shortest MTU a link may have.
pub const MIN_MTU: u8 = 32;
/// Bytes in front of the payload, after the COBS code.
const HEADER: usize = 4;
/// The COBS code in front and the zero behind.
const STUFFING: usize = 2;
/// What a handshake puts in front of its payload: the upper 32 bits of the counter, and the epoch.
const WIDE: usize = 8;
/// Counters are below this.
pub(crate) const COUNTER_END: u64 = 1 << 48;

/// The version of the wire format that this end speaks, and its bits in a frame.
pub const VERSION: u8 = 2;

/// Bytes that a frame takes on top of its payload.
pub const fn overhead(protection: Protection) -> usize {
    STUFFING + HEADER + protection.check_bytes()
}

/// The longest payload of a frame of `mtu` bytes.
pub const fn capacity(mtu: u8, protection: Protection, handshake: bool) -> usize {
    mtu as usize - overhead(protection) - if handshake { WIDE } else { 0 }
}

/// Where the payload begins in a frame buffer.
pub(crate) const fn payload_at(handshake: bool) -> usize {
    1 + HEADER + if handshake { WIDE } else { 0 }
}

/// Why a frame is not accepted, from the outermost check to the innermost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FrameError {
    /// Longer than any frame, or COBS codes that do not add up, or too short to be a frame.
    Stuffing,
    /// Another version of the protocol, or bits set that this version keeps zero.
    Version,
    /// A whole frame of version 1, which had a length where the address is.
    Version1,
    /// Too short for what it says it is.
    Length,
    /// Of another craft or station.
    Foreign,
    /// The CRC does not fit.
    Checksum,
    /// A frame that this end could have sent itself.
    Reflected,
    /// Less protection than this direction demands.
    Unprotected,
    /// No key in the slot that the frame names.
    UnknownKey,
    /// The peer's storage is not known yet, and only a handshake can tell of it.
    UnknownEpoch,
    /// The tag does not fit.
    Authentication,
    /// The counter was seen before, or is too old to tell.
    Replayed,
}

/// What a frame says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) sender: Role,
    pub(crate) protection: Protection,
    pub(crate) handshake: bool,
    /// Of the key, where there is one.
    pub(crate) slot: u8,
    pub(crate) counter: u64,
    /// Names the sender's storage.
    pub(crate) epoch: u32,
    /// Names the storage of the end that the frame is for; zero in a handshake and in simplex.
    pub(crate) addressee: u32,
}

impl Head {
    fn nonce(&self, id: LinkId) -> Nonce {
        let mut nonce = [0; 13];
        nonce[..2].copy_from_slice(&id.craft.to_le_bytes());
        nonce[2] = (self.sender as u8) << 7 | id.station;
        nonce[3..7].copy_from_slice(&self.epoch.to_le_bytes());
        nonce[7..].copy_from_slice(&self.counter.to_le_bytes()[..6]);
        nonce
    }

    /// The check of a plain frame.
    fn crc(&self, id: LinkId, body: &[u8]) -> [u8; 4] {
        crc32c_of(&[&self.nonce(id), &self.addressee.to_le_bytes(), body]).to_le_bytes()
    }
}

/// What an end knows of the frames it may receive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected<'a> {
    pub(crate) role: Role,
    pub(crate) id: LinkId,
    pub(crate) demanded: Protection,
    pub(crate) keys: &'a Keys,
    /// The peer's epoch, once it is verified.
    pub(crate) epoch: Option<u32>,
    /// The epoch that frames for this end are addressed to.
    pub(crate) addressee: u32,
    /// The counter that should come next; the 16 bits in a frame mean the one nearest to it.
    pub(crate) counter: u64,
}

/// Closes a frame in `buffer`, whose payload of `length` bytes lies at [`payload_at`].
///
/// Returns the bytes to send. The caller has made sure that the active key exists where one is
/// needed.
pub(crate) fn seal<'a>(
    buffer: &'a mut [u8; MAX_MTU + 1],
    length: usize,
    head: Head,
    id: LinkId,
    keys: &Keys,
) -> &'a [u8] {
    buffer[1] = VERSION << 6
        | (head.sender as u8) << 5
        | head.slot << 4
        | (head.protection as u8) << 2
        | u8::from(head.handshake) << 1;
    buffer[2] = id.address();
    let counter = head.counter.to_le_bytes();
    buffer[3..5].copy_from_slice(&counter[..2]);
    if head.handshake {
        buffer[5..9].copy_from_slice(&counter[2..6]);
        buffer[9..13].copy_from_slice(&head.epoch.to_le_bytes());
    }
    let start = payload_at(head.handshake);
    let end = start + length;
    let check = head.protection.check_bytes();
    match (head.protection, keys.slot(head.slot)) {
        (Protection::Authenticated, Some(key)) => {
            let tag = key.seal(&head.nonce(id), head.addressee, &buffer[1..end], &mut []);
            buffer[end..end + TAG].copy_from_slice(&tag);
        }
        (Protection::AuthenticatedEncrypted, Some(key)) => {
            let (clear, hidden) = buffer[1..end].split_at_mut(start - 1);
            let tag = key.seal(&head.nonce(id), head.addressee, clear, hidden);
            buffer[end..end + TAG].copy_from_slice(&tag);
        }
        _ => {
            let crc = head.crc(id, &buffer[1..end]);
            buffer[end..end + 4].copy_from_slice(&crc);
        }
    }
    let sent = cobs::encode_in_place(buffer, end - 1 + check);
    &buffer[..sent]
}

/// Checks the bytes between two zeros and returns the payload.
pub(crate) fn open<'a>(
    block: &'a mut [u8],
    expected: &Expected<'_>,
) -> Result<(Head, &'a [u8]), FrameError> {
    let content = cobs::decode_in_place(block).ok_or(FrameError::Stuffing)?;
    let &mut [control, address, low0, low1, ..] = content else {
        return Err(FrameError::Stuffing);
    };
    let protection = match control >> 2 & 3 {
        0 => Protection::Plain,
        1 => Protection::Authenticated,
        2 => Protection::AuthenticatedEncrypted,
        _ => return Err(FrameError::Version),
    };
    let reserved = control & 1 != 0 || (protection == Protection::Plain && control & 0x10 != 0);
    if control >> 6 == 1 && !reserved {
        let implied = HEADER + usize::from(address) + protection.check_bytes();
        return Err(if content.len() == implied {
            FrameError::Version1
        } else {
            FrameError::Version
        });
    }
    if control >> 6 != VERSION || reserved {
        return Err(FrameError::Version);
    }
    let handshake = control & 2 != 0;
    let start = payload_at(handshake) - 1;
    let Some(end) = content
        .len()
        .checked_sub(protection.check_bytes())
        .filter(|&end| end >= start)
    else {
        return Err(FrameError::Length);
    };
    if address != expected.id.address() {
        return Err(FrameError::Foreign);
    }
    let sender = if control & 0x20 == 0 {
        Role::Board
    } else {
        Role::Ground
    };
    if sender == expected.role {
        return Err(FrameError::Reflected);
    }
    let (body, check) = content.split_at_mut(end);
    let (counter, epoch, addressee) = match body.get(HEADER..start) {
        Some(&[c2, c3, c4, c5, e0, e1, e2, e3]) => {
            let counter = u64::from_le_bytes([low0, low1, c2, c3, c4, c5, 0, 0]);
            (counter, u32::from_le_bytes([e0, e1, e2, e3]), 0)
        }
        _ => (
            nearest(expected.counter, u16::from_le_bytes([low0, low1])),
            expected.epoch.ok_or(FrameError::UnknownEpoch)?,
            expected.addressee,
        ),
    };
    let head = Head {
        sender,
        protection,
        handshake,
        slot: control >> 4 & 1,
        counter,
        epoch,
        addressee,
    };
    if protection == Protection::Plain && check != head.crc(expected.id, body) {
        return Err(FrameError::Checksum);
    }
    if protection < expected.demanded {
        return Err(FrameError::Unprotected);
    }
    if protection != Protection::Plain {
        let key = expected
            .keys
            .slot(control >> 4 & 1)
            .ok_or(FrameError::UnknownKey)?;
        let tag: &[u8; TAG] = check.first_chunk().ok_or(FrameError::Length)?;
        let (clear, hidden) =
            body.split_at_mut(if protection == Protection::AuthenticatedEncrypted {
                start
            } else {
                end
            });
        if !key.open(&head.nonce(expected.id), addressee, clear, hidden, tag) {
            return Err(FrameError::Authentication);
        }
    }
    Ok((head, &body[start..]))
}

/// The number nearest to `expected` that ends in the 16 bits `low`.
pub(crate) fn nearest(expected: u64, low: u16) -> u64 {
    let ahead = low.wrapping_sub(expected as u16) as i16;
    match expected.checked_add_signed(i64::from(ahead)) {
        Some(number) => number,
        None => u64::from(low),
    }
}

/// Collects bytes until a zero ends a frame.
#[derive(Debug, Clone)]
pub struct Deframer {
    buffer: [u8; MAX_MTU],
    /// Bytes since the last zero; more than the buffer holds means that they are being dropped.
    length: usize,
}

impl Default for Deframer {
    fn default() -> Self {
        Self::new()
    }
}

impl Deframer {
    /// Waits for the first byte.
    pub const fn new() -> Self {
        Self {
            buffer: [0; MAX_MTU],
            length: 0,
        }
    }

    /// Takes one byte. Returns the stuffed frame when the byte ends one, `None` for an empty one,
    /// and an error when more came than a frame can hold.
    pub fn push(&mut self, byte: u8) -> Option<Result<&mut [u8], FrameError>> {
        if byte != 0 {
            if let Some(place) = self.buffer.get_mut(self.length) {
                *place = byte;
            }
            self.length = (self.length + 1).min(MAX_MTU + 1);
            return None;
        }
        let length = core::mem::take(&mut self.length);
        match length {
            0 => None,
            1..MAX_MTU => Some(Ok(&mut self.buffer[..length])),
            _ => Some(Err(FrameError::Stuffing)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Key;
    use proptest::prelude::*;

    fn keys() -> Keys {
        Keys::single(Key::new(3, b"0123456789abcdef"))
    }

    fn protection() -> impl Strategy<Value = Protection> {
        prop_oneof![
            Just(Protection::Plain),
            Just(Protection::Authenticated),
            Just(Protection::AuthenticatedEncrypted)
        ]
    }

    proptest! {
        #[test]
        fn a_frame_opens_to_what_was_sealed(
            protection in protection(),
            handshake: bool,
            payload in proptest::collection::vec(any::<u8>(), 0..=200),
            counter in 0u64..1 << 47,
            craft: u16,
            station in 0u8..=127,
            epoch: u32,
            addressee: u32,
            drift in -30_000i64..30_000,
        ) {
            let mut buffer = [0; MAX_MTU + 1];
            let at = payload_at(handshake);
            buffer[at..at + payload.len()].copy_from_slice(&payload);
            let id = LinkId::new(craft, station);
            let addressee = if handshake { 0 } else { addressee };
            let slot = u8::from(protection != Protection::Plain);
            let head = Head { sender: Role::Board, protection, handshake, slot, counter, epoch, addressee };
            let sent = seal(&mut buffer, payload.len(), head, id, &keys());
            let extra = if handshake { WIDE } else { 0 };
            prop_assert_eq!(sent.len(), payload.len() + overhead(protection) + extra);
            let mut deframer = Deframer::new();
            let (last, inside) = sent.split_last().unwrap();
            for &byte in inside {
                prop_assert!(deframer.push(byte).is_none());
            }
            let block = deframer.push(*last).unwrap().unwrap();
            let keys = keys();
            let expected = Expected {
                role: Role::Ground,
                id,
                demanded: protection,
                keys: &keys,
                epoch: (!handshake).then_some(epoch),
                addressee,
                counter: counter.saturating_add_signed(if handshake { 0 } else { drift }),
            };
            for other in [
                Expected { id: LinkId::new(craft ^ 32, station), ..expected },
                Expected { id: LinkId::new(craft, station ^ 8), ..expected },
                Expected { addressee: if handshake { 0 } else { addressee ^ 1 }, id: LinkId::new(craft ^ u16::from(handshake), station), ..expected },
                Expected { epoch: if handshake { None } else { Some(epoch ^ 1 << 31) }, id: LinkId::new(craft, station ^ u8::from(handshake)), ..expected },
            ] {
                prop_assert!(open(&mut block.to_vec(), &other).is_err());
            }
            prop_assert_eq!(open(block, &expected).unwrap(), (head, &payload[..]));
        }
    }

    #[test]
    fn overhead_is_within_the_specified_bounds() {
        assert_eq!(overhead(Protection::Plain), 10);
        assert_eq!(overhead(Protection::Authenticated), 14);
        assert_eq!(overhead(Protection::AuthenticatedEncrypted), 14);
    }

    #[test]
    fn the_nearest_counter_is_found_on_both_sides() {
        assert_eq!(nearest(0x1_0005, 0xFFFF), 0xFFFF);
        assert_eq!(nearest(0xFFFE, 0x0003), 0x1_0003);
        assert_eq!(nearest(5, 0xFFFF), 0xFFFF, "there is nothing below zero");
        assert_eq!(nearest(u64::MAX, 3), 3, "and nothing above the last");
    }
}
