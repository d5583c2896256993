//! One message as a value and as bytes.

use serde::{Deserialize, Serialize};

use crate::{
    Alert, Answer, Configure, Health, Kind, PairFault, PreviewPart, PreviewRequest, Query, QueryId,
    Refusal, StorageState,
};

/// The longest body of a message in bytes.
pub const MAX_BODY: usize = 1024;

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
    PreviewRequest(PreviewRequest),
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
    Applied(QueryId),
    /// Board: how it is doing.
    Health(Health),
    /// Board: part of a picture.
    Preview(PreviewPart),
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
            Self::PreviewRequest(_) => Kind::PreviewRequest,
            Self::Configure(_) => Kind::Configure,
            Self::Ping(_) => Kind::Ping,
            Self::Answer(answer) if answer.has_text() => Kind::TextAnswer,
            Self::Answer(_) => Kind::Answer,
            Self::Refusal(_) => Kind::Refusal,
            Self::Pong(_) => Kind::Pong,
            Self::Applied(_) => Kind::Applied,
            Self::Health(_) => Kind::Health,
            Self::Preview(_) => Kind::Preview,
        }
    }

    /// Writes the body and returns its length, `None` when it does not fit into `into`.
    ///
    /// No message is longer than [`MAX_BODY`] bytes.
    pub fn encode(&self, into: &mut [u8]) -> Option<usize> {
        let limit = into.len().min(MAX_BODY);
        let into = &mut into[..limit];
        match self {
            Self::Alert(alert) => {
                let packed = alert.pack();
                into.get_mut(..packed.len())?.copy_from_slice(&packed);
                Some(packed.len())
            }
            Self::PairFault(body) => write(body, into),
            Self::Query(body) => write(body, into),
            Self::PreviewRequest(body) => write(body, into),
            Self::Configure(body) => write(body, into),
            Self::Ping(body) | Self::Pong(body) => write(body, into),
            Self::Answer(body) => write(body, into),
            Self::Refusal(body) => write(body, into),
            Self::Applied(body) => write(body, into),
            Self::Health(body) => {
                let length = write(body, into)?;
                let is_usual = body.storage == StorageState::Working;
                Some(length - usize::from(is_usual))
            }
            Self::Preview(body) => write(body, into),
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
            Kind::PreviewRequest => Self::PreviewRequest(read(body)?),
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
            Kind::Applied => Self::Applied(read(body)?),
            Kind::Health => Self::Health(read_health(body)?),
            Kind::Preview => Self::Preview(read(body)?),
        })
    }
}

/// Bytes of the longest health message, and a few for what a later version adds.
const MAX_HEALTH: usize = 96;

fn write<T: Serialize>(body: &T, into: &mut [u8]) -> Option<usize> {
    postcard::to_slice(body, into)
        .ok()
        .map(|written| written.len())
}

/// The last byte is left out where it is zero, and by boards of earlier versions.
fn read_health(body: &[u8]) -> Result<Health, DecodeError> {
    let mut padded = [0; MAX_HEALTH + 1];
    let body = &body[..body.len().min(MAX_HEALTH)];
    padded[..body.len()].copy_from_slice(body);
    read(&padded[..=body.len()])
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, DecodeError> {
    postcard::take_from_bytes(body)
        .map(|(value, _)| value)
        .map_err(|_| DecodeError::Malformed)
}
