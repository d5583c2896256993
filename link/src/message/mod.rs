//! What the two ends say to each other, and how it is laid out in bytes.
//!
//! A message is a *kind* (six bits, carried by the chunk that holds it) and a body. Kinds are
//! frozen: a number is never given a second meaning. Bodies are `postcard`, except for the
//! [`Alert`], which is packed by hand into 15 bytes. Bytes behind the fields a decoder knows are
//! ignored, so a later version may append fields.

mod alert;
mod answer;
mod chip;
mod config;
mod grid;
mod health;
mod query;

pub use alert::{Alert, FaultReason, PairFault};
pub use answer::{Answer, AnswerBody, Refusal, RefusalReason, Source, short_hash};
pub use chip::{CHIP_DATA, Chip, ChipFormat, ChipRequest, Picture};
pub use config::{Configure, Setting};
pub use grid::{Cell, Confidence, Grid9};
pub use health::Health;
pub use query::{Instruction, Query, QueryId};

use serde::{Deserialize, Serialize};

use crate::MAX_MESSAGE;

/// How urgent a message is, and which sequence of numbers it belongs to.
///
/// Listed from the most to the least urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// Changes noticed, pairs that could not be read. Never expires.
    Alert = 0,
    /// Commands, short answers, refusals.
    Reply = 1,
    /// The state of the board. Newer supersedes older, and it is not kept over a power cut.
    Health = 2,
    /// Answers that carry text.
    Text = 3,
    /// Pictures.
    Chip = 4,
}

impl Class {
    /// All classes, the most urgent first.
    pub const ALL: [Self; 5] = [
        Self::Alert,
        Self::Reply,
        Self::Health,
        Self::Text,
        Self::Chip,
    ];

    /// The class with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Alert),
            1 => Some(Self::Reply),
            2 => Some(Self::Health),
            3 => Some(Self::Text),
            4 => Some(Self::Chip),
            _ => None,
        }
    }

    /// Its place in [`Class::ALL`], and its number on the wire.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether the newest message makes all older ones void.
    pub const fn latest_wins(self) -> bool {
        matches!(self, Self::Health)
    }
}

/// The frozen numbers of the message kinds: 1 to 61.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// [`Alert`]
    Alert = 1,
    /// [`PairFault`]
    PairFault = 2,
    /// [`Query`]
    Query = 8,
    /// [`ChipRequest`]
    ChipRequest = 9,
    /// [`Configure`]
    Configure = 10,
    /// [`Message::Ping`]
    Ping = 11,
    /// [`Answer`] without text
    Answer = 16,
    /// [`Refusal`]
    Refusal = 17,
    /// [`Message::Pong`]
    Pong = 18,
    /// [`Message::Done`]
    Done = 19,
    /// [`Health`]
    Health = 24,
    /// [`Answer`] with text
    TextAnswer = 32,
    /// [`Chip`]
    Chip = 40,
}

/// The bits of a kind that name its class: a kind's class must be known even when the kind is not.
pub(crate) const fn class_of_kind(kind: u8) -> Class {
    match kind >> 3 {
        0 => Class::Alert,
        1 | 2 => Class::Reply,
        3 => Class::Health,
        4 => Class::Text,
        _ => Class::Chip,
    }
}

impl Kind {
    /// The kind with this number, `None` for one that this version does not know.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Alert,
            2 => Self::PairFault,
            8 => Self::Query,
            9 => Self::ChipRequest,
            10 => Self::Configure,
            11 => Self::Ping,
            16 => Self::Answer,
            17 => Self::Refusal,
            18 => Self::Pong,
            19 => Self::Done,
            24 => Self::Health,
            32 => Self::TextAnswer,
            40 => Self::Chip,
            _ => return None,
        })
    }

    /// The class of every message of this kind.
    pub const fn class(self) -> Class {
        class_of_kind(self as u8)
    }

    /// Whether it tells the board to do something.
    pub const fn is_command(self) -> bool {
        matches!(
            self,
            Self::Query | Self::ChipRequest | Self::Configure | Self::Ping
        )
    }
}

/// One message, in either direction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(
    clippy::large_enum_variant,
    reason = "there is no allocator to box a chip with"
)]
pub enum Message {
    /// Board: something changed.
    Alert(Alert),
    /// Board: a pair could not be used.
    PairFault(PairFault),
    /// Ground: a question about a tile.
    Query(Query),
    /// Ground: send a picture.
    ChipRequest(ChipRequest),
    /// Ground: change a setting.
    Configure(Configure),
    /// Either: are you there? The number comes back in the [`Message::Pong`].
    Ping(u32),
    /// Board: the answer to a [`Query`].
    Answer(Answer),
    /// Board: why there will be no answer.
    Refusal(Refusal),
    /// Either: the answer to a [`Message::Ping`].
    Pong(u32),
    /// Board: the [`Configure`] with this id took effect.
    Done(QueryId),
    /// Board: how it is doing.
    Health(Health),
    /// Board: part of a picture.
    Chip(Chip),
}

/// Why bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The sender speaks of something this version does not know.
    UnknownKind(u8),
    /// The body is cut short or holds a value outside its range.
    Malformed,
}

impl core::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::UnknownKind(kind) => write!(f, "unknown message kind {kind}"),
            Self::Malformed => f.write_str("malformed message body"),
        }
    }
}

impl core::error::Error for DecodeError {}

impl Message {
    /// The kind, which decides the class.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Alert(_) => Kind::Alert,
            Self::PairFault(_) => Kind::PairFault,
            Self::Query(_) => Kind::Query,
            Self::ChipRequest(_) => Kind::ChipRequest,
            Self::Configure(_) => Kind::Configure,
            Self::Ping(_) => Kind::Ping,
            Self::Answer(answer) if answer.has_text() => Kind::TextAnswer,
            Self::Answer(_) => Kind::Answer,
            Self::Refusal(_) => Kind::Refusal,
            Self::Pong(_) => Kind::Pong,
            Self::Done(_) => Kind::Done,
            Self::Health(_) => Kind::Health,
            Self::Chip(_) => Kind::Chip,
        }
    }

    /// Writes the body and returns its length, `None` when it does not fit into `into`.
    ///
    /// No message is longer than [`MAX_MESSAGE`] bytes.
    pub fn encode(&self, into: &mut [u8]) -> Option<usize> {
        let limit = into.len().min(MAX_MESSAGE);
        let into = &mut into[..limit];
        match self {
            Self::Alert(alert) => {
                let packed = alert.pack();
                into.get_mut(..packed.len())?.copy_from_slice(&packed);
                Some(packed.len())
            }
            Self::PairFault(body) => write(body, into),
            Self::Query(body) => write(body, into),
            Self::ChipRequest(body) => write(body, into),
            Self::Configure(body) => write(body, into),
            Self::Ping(body) | Self::Pong(body) => write(body, into),
            Self::Answer(body) => write(body, into),
            Self::Refusal(body) => write(body, into),
            Self::Done(body) => write(body, into),
            Self::Health(body) => write(body, into),
            Self::Chip(body) => write(body, into),
        }
    }

    /// Reads a body of the given kind. Bytes behind the last known field are ignored.
    pub fn decode(kind: u8, body: &[u8]) -> Result<Self, DecodeError> {
        let kind = Kind::from_number(kind).ok_or(DecodeError::UnknownKind(kind))?;
        Ok(match kind {
            Kind::Alert => {
                let packed = body.first_chunk().ok_or(DecodeError::Malformed)?;
                Self::Alert(Alert::unpack(packed))
            }
            Kind::PairFault => Self::PairFault(read(body)?),
            Kind::Query => Self::Query(read(body)?),
            Kind::ChipRequest => Self::ChipRequest(read(body)?),
            Kind::Configure => Self::Configure(read(body)?),
            Kind::Ping => Self::Ping(read(body)?),
            Kind::Answer | Kind::TextAnswer => {
                let answer: Answer = read(body)?;
                if answer.has_text() != (kind == Kind::TextAnswer) {
                    return Err(DecodeError::Malformed);
                }
                Self::Answer(answer)
            }
            Kind::Refusal => Self::Refusal(read(body)?),
            Kind::Pong => Self::Pong(read(body)?),
            Kind::Done => Self::Done(read(body)?),
            Kind::Health => Self::Health(read(body)?),
            Kind::Chip => Self::Chip(read(body)?),
        })
    }
}

fn write<T: Serialize>(body: &T, into: &mut [u8]) -> Option<usize> {
    postcard::to_slice(body, into)
        .ok()
        .map(|written| written.len())
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, DecodeError> {
    postcard::take_from_bytes(body)
        .map(|(value, _)| value)
        .map_err(|_| DecodeError::Malformed)
}
