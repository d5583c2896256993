//! What a frame's payload is made of.

use crate::class::Class;

const REPLAY_FLOOR: u8 = 0x02;
const REJECT: u8 = 0x03;
const CANCEL: u8 = 0x04;
const REPAIR: u8 = 0x05;
const BASE: u8 = 0x06;
const AUTH_DENIED: u8 = 0x07;
const HELLO: u8 = 0x08;
const HELLO_VERIFIED: u8 = 0x09;
const KEY_OFFER: u8 = 0x0A;
const KEY_HELD: u8 = 0x0B;
const ACK: u8 = 0x10;
const ACK_LAST: u8 = 0x18;
const SIZED_CONTROL: u8 = 0x20;
const FORM: u8 = 0xC0;
const CONTROL: u8 = 0x00;
const SIZED: u8 = 0x40;
const REST: u8 = 0x80;
const KIND: u8 = 0x3F;
const LAST: u16 = 0x8000;

/// Bytes that a whole message takes on top of its body, when it is the last of its frame.
pub(crate) const MESSAGE_HEAD: usize = 3;
/// Bytes that a fragment takes on top of its part of the body.
pub(crate) const FRAGMENT_HEAD: usize = 5;
/// Bytes of a hello.
pub(crate) const HELLO_BYTES: usize = 9;
/// Bytes of a replay floor.
pub(crate) const REPLAY_FLOOR_BYTES: usize = 9;
/// Bytes of a rejection.
pub(crate) const REJECT_BYTES: usize = 5;
/// Bytes of a cancellation.
pub(crate) const CANCEL_BYTES: usize = 4;
/// Bytes of an authentication denial.
pub(crate) const AUTH_DENIED_BYTES: usize = 2;
/// Bytes of the offer of a key.
pub(crate) const KEY_OFFER_BYTES: usize = 21;
/// Bytes of the answer to it.
pub(crate) const KEY_HELD_BYTES: usize = 5;
/// Bytes of a base.
pub(crate) const BASE_BYTES: usize = 6;
/// Bytes of a repair chunk on top of its data.
pub(crate) const REPAIR_HEAD: usize = 4;

/// One item of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunk<'a> {
    /// Who is speaking.
    Hello(Hello),
    /// The sender accepts no counter below this one.
    ReplayFloor(u64),
    /// The sender will not take this message.
    Reject {
        class: Class,
        sequence: u16,
        reason: u8,
    },
    /// This message will never come.
    Cancel { class: Class, sequence: u16 },
    /// The receiver is to keep this key; only in encrypted frames.
    KeyOffer { id: u32, secret: [u8; 16] },
    /// The sender holds the key of this name.
    KeyHeld(u32),
    /// Frames of the receiver do not pass the sender's authentication.
    AuthDenied(u8),
    /// Messages of the class before this one are done with.
    Base { class: Class, sequence: u32 },
    /// Repairs lost frames of a group.
    Repair(Repair<'a>),
    /// Bit `n` of `missing`: the frame `n` before `newest` did not come.
    Ack { newest: u16, missing: u64 },
    /// A whole message.
    Message {
        kind: u8,
        sequence: u16,
        body: &'a [u8],
    },
    /// Part of a message; `last` says that it ends with this part.
    Fragment {
        kind: u8,
        sequence: u16,
        offset: u16,
        last: bool,
        part: &'a [u8],
    },
    /// Something of a later version.
    Unknown,
}

/// Who is speaking, and whom it heard last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hello {
    /// Names this start of the sender: a number that it never used before.
    pub(crate) session: u32,
    /// The peer's session as the sender heard it last; zero for none. The peer knows by it that the
    /// frame is not an old one.
    pub(crate) echo: u32,
    /// The peer has proved to the sender which storage it speaks from.
    pub(crate) verified: bool,
}

/// A repair of frames `first..first + group`, the `index`-th of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Repair<'a> {
    /// The low half of the counter of the group's first frame.
    pub(crate) first: u16,
    pub(crate) group: u8,
    pub(crate) index: u8,
    pub(crate) data: &'a [u8],
}

/// A payload ends within a chunk, or holds a value that no version uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The chunks of a payload; ends after the first malformed one.
pub(crate) struct Chunks<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<Chunk<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let chunk = self.parse().ok_or(Malformed);
        if chunk.is_err() {
            self.0 = &[];
        }
        Some(chunk)
    }
}

impl<'a> Chunks<'a> {
    fn parse(&mut self) -> Option<Chunk<'a>> {
        let first = self.byte()?;
        let kind = first & KIND;
        Some(match first & FORM {
            CONTROL => self.control(first)?,
            SIZED => {
                let sequence = self.word()?;
                let length = self.byte()?;
                Chunk::Message {
                    kind,
                    sequence,
                    body: self.take(usize::from(length))?,
                }
            }
            REST => Chunk::Message {
                kind,
                sequence: self.word()?,
                body: core::mem::take(&mut self.0),
            },
            _ => {
                let sequence = self.word()?;
                let offset = self.word()?;
                let part = core::mem::take(&mut self.0);
                Chunk::Fragment {
                    kind,
                    sequence,
                    offset: offset & !LAST,
                    last: offset & LAST != 0,
                    part,
                }
            }
        })
    }

    fn control(&mut self, id: u8) -> Option<Chunk<'a>> {
        Some(match id {
            HELLO | HELLO_VERIFIED => Chunk::Hello(Hello {
                session: self.long()?,
                echo: self.long()?,
                verified: id == HELLO_VERIFIED,
            }),
            REPLAY_FLOOR => Chunk::ReplayFloor(u64::from_le_bytes(*self.take(8)?.first_chunk()?)),
            REJECT => {
                let class = Class::from_number(self.byte()?)?;
                Chunk::Reject {
                    class,
                    sequence: self.word()?,
                    reason: self.byte()?,
                }
            }
            CANCEL => Chunk::Cancel {
                class: Class::from_number(self.byte()?)?,
                sequence: self.word()?,
            },
            AUTH_DENIED => Chunk::AuthDenied(self.byte()?),
            KEY_OFFER => Chunk::KeyOffer {
                id: self.long()?,
                secret: *self.take(16)?.first_chunk()?,
            },
            KEY_HELD => Chunk::KeyHeld(self.long()?),
            BASE => {
                let class = Class::from_number(self.byte()?)?;
                Chunk::Base {
                    class,
                    sequence: self.long()?,
                }
            }
            REPAIR => {
                let first = self.word()?;
                let shape = self.byte()?;
                let data = core::mem::take(&mut self.0);
                Chunk::Repair(Repair {
                    first,
                    group: shape >> 4,
                    index: shape & 0xF,
                    data,
                })
            }
            ACK..=ACK_LAST => {
                let newest = self.word()?;
                let mut missing = [0; 8];
                let given = self.take(usize::from(id - ACK))?;
                missing[..given.len()].copy_from_slice(given);
                Chunk::Ack {
                    newest,
                    missing: u64::from_le_bytes(missing),
                }
            }
            SIZED_CONTROL.. => {
                let length = self.byte()?;
                self.take(usize::from(length))?;
                Chunk::Unknown
            }
            _ => return None,
        })
    }

    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn word(&mut self) -> Option<u16> {
        self.take(2)?
            .first_chunk()
            .map(|bytes| u16::from_le_bytes(*bytes))
    }

    fn long(&mut self) -> Option<u32> {
        self.take(4)?
            .first_chunk()
            .map(|bytes| u32::from_le_bytes(*bytes))
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
}

/// Writes chunks into a payload of limited length.
pub(crate) struct Writer<'a> {
    payload: &'a mut [u8],
    length: usize,
    /// Where the last chunk begins, if it is a whole message without a length.
    open: Option<usize>,
    /// A fragment or repair takes the rest: nothing can follow it.
    closed: bool,
}

impl<'a> Writer<'a> {
    /// A writer for as many bytes as `payload` has.
    pub(crate) fn new(payload: &'a mut [u8]) -> Self {
        Self {
            payload,
            length: 0,
            open: None,
            closed: false,
        }
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Bytes that one more chunk may take.
    pub(crate) fn room(&self) -> usize {
        if self.closed {
            return 0;
        }
        // A message in front must be given its length first.
        (self.payload.len() - self.length).saturating_sub(usize::from(self.open.is_some()))
    }

    pub(crate) fn hello(&mut self, hello: Hello) {
        let id = if hello.verified {
            HELLO_VERIFIED
        } else {
            HELLO
        };
        self.put(&[
            &[id],
            &hello.session.to_le_bytes(),
            &hello.echo.to_le_bytes(),
        ]);
    }

    pub(crate) fn replay_floor(&mut self, floor: u64) {
        self.put(&[&[REPLAY_FLOOR], &floor.to_le_bytes()]);
    }

    pub(crate) fn reject(&mut self, class: Class, sequence: u16, reason: u8) {
        self.put(&[&[REJECT, class as u8], &sequence.to_le_bytes(), &[reason]]);
    }

    pub(crate) fn cancel(&mut self, class: Class, sequence: u16) {
        self.put(&[&[CANCEL, class as u8], &sequence.to_le_bytes()]);
    }

    pub(crate) fn auth_denied(&mut self, reason: u8) {
        self.put(&[&[AUTH_DENIED, reason]]);
    }

    pub(crate) fn key_offer(&mut self, id: u32, secret: &[u8; 16]) {
        self.put(&[&[KEY_OFFER], &id.to_le_bytes(), secret]);
    }

    pub(crate) fn key_held(&mut self, id: u32) {
        self.put(&[&[KEY_HELD], &id.to_le_bytes()]);
    }

    pub(crate) fn base(&mut self, class: Class, sequence: u32) {
        self.put(&[&[BASE, class as u8], &sequence.to_le_bytes()]);
    }

    /// Bytes of an acknowledgement of these frames.
    pub(crate) fn ack_bytes(missing: u64) -> usize {
        3 + Self::bitmap_bytes(missing)
    }

    pub(crate) fn ack(&mut self, newest: u16, missing: u64) {
        let bytes = Self::bitmap_bytes(missing);
        self.put(&[
            &[ACK + bytes as u8],
            &newest.to_le_bytes(),
            &missing.to_le_bytes()[..bytes],
        ]);
    }

    fn bitmap_bytes(missing: u64) -> usize {
        (64 - missing.leading_zeros() as usize).div_ceil(8)
    }

    /// Returns the place for the body, for the caller to fill.
    pub(crate) fn message(&mut self, kind: u8, sequence: u16, length: usize) -> &mut [u8] {
        self.put(&[&[REST | kind], &sequence.to_le_bytes()]);
        self.open = Some(self.length - MESSAGE_HEAD);
        self.extend(length)
    }

    /// Returns the place for the part, for the caller to fill.
    pub(crate) fn fragment(
        &mut self,
        kind: u8,
        sequence: u16,
        offset: u16,
        last: bool,
        length: usize,
    ) -> &mut [u8] {
        let offset = if last { offset | LAST } else { offset };
        self.put(&[
            &[FORM | kind],
            &sequence.to_le_bytes(),
            &offset.to_le_bytes(),
        ]);
        self.closed = true;
        self.extend(length)
    }

    /// Returns the place for the data, for the caller to fill.
    pub(crate) fn repair(&mut self, first: u16, group: u8, index: u8, length: usize) -> &mut [u8] {
        self.put(&[&[REPAIR], &first.to_le_bytes(), &[group << 4 | index]]);
        self.closed = true;
        self.extend(length)
    }

    fn extend(&mut self, length: usize) -> &mut [u8] {
        let start = self.length;
        self.length += length;
        &mut self.payload[start..start + length]
    }

    fn put(&mut self, parts: &[&[u8]]) {
        if let Some(start) = self.open.take() {
            let body = start + MESSAGE_HEAD;
            self.payload.copy_within(body..self.length, body + 1);
            self.payload[body] = (self.length - body) as u8;
            self.payload[start] = self.payload[start] & KIND | SIZED;
            self.length += 1;
        }
        for part in parts {
            self.payload[self.length..self.length + part.len()].copy_from_slice(part);
            self.length += part.len();
        }
    }
}

#[cfg(test)]
mod tests;
