//! What the board answers.

use serde::{Deserialize, Serialize};

use super::{Confidence, Grid9, QueryId};
use crate::{crc::crc32c, text::Text};

/// The answer to a [`Query`](super::Query).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The query's id.
    pub query: QueryId,
    /// What the answer was computed from.
    pub source: Source,
    /// What was found.
    pub body: AnswerBody,
}

impl Answer {
    /// Whether there is text in it, which makes it less urgent.
    pub const fn has_text(&self) -> bool {
        matches!(
            self.body,
            AnswerBody::Caption { .. } | AnswerBody::Text { .. } | AnswerBody::Survey { .. }
        )
    }
}

/// The pair, model and prompt an answer came from, each by its [`short_hash`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Source {
    /// The pair of pictures.
    #[serde(with = "postcard::fixint::le")]
    pub pair: u16,
    /// The model.
    #[serde(with = "postcard::fixint::le")]
    pub model: u16,
    /// The prompt.
    #[serde(with = "postcard::fixint::le")]
    pub prompt: u16,
}

/// A name of two bytes for something longer: the low half of its CRC-32C.
pub fn short_hash(bytes: &[u8]) -> u16 {
    crc32c(bytes) as u16
}

/// What was found. Numbers are frozen in the order listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum AnswerBody {
    /// Has anything changed?
    Classify {
        /// Yes or no.
        changed: bool,
        /// How sure.
        confidence: Confidence,
    },
    /// How many?
    Count {
        /// New roads.
        roads: u16,
        /// New buildings.
        buildings: u16,
        /// How sure.
        confidence: Confidence,
    },
    /// Where?
    Localize {
        /// Where roads changed.
        roads: Grid9,
        /// Where buildings changed.
        buildings: Grid9,
        /// How sure.
        confidence: Confidence,
    },
    /// The change in a sentence.
    Caption {
        /// The sentence.
        text: Text,
        /// How sure.
        confidence: Confidence,
    },
    /// All of the above.
    Survey {
        /// Yes or no.
        changed: bool,
        /// How sure of that.
        confidence: Confidence,
        /// New roads.
        roads: u16,
        /// New buildings.
        buildings: u16,
        /// Where roads changed.
        roads_grid: Grid9,
        /// Where buildings changed.
        buildings_grid: Grid9,
        /// The change in a sentence.
        text: Text,
    },
    /// The answer to a question in free words.
    Text {
        /// The answer.
        text: Text,
        /// How sure.
        confidence: Confidence,
    },
}

/// There will be no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Refusal {
    /// The query's id.
    pub query: QueryId,
    /// Why not.
    pub reason: RefusalReason,
}

/// Why something was refused. Numbers are frozen in the order listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
#[non_exhaustive]
pub enum RefusalReason {
    /// Longer than the receiver takes.
    TooLarge,
    /// No room in a queue.
    QueueFull,
    /// Too many in too short a time.
    RateLimited,
    /// A command that was not authenticated as the receiver demands.
    BadAuthentication,
    /// Another job runs.
    Busy,
    /// No such tile, or no pictures of it.
    UnknownTarget,
    /// The receiver does not know how.
    Unsupported,
    /// The receiver tried and failed.
    Failed,
}

impl RefusalReason {
    /// The reason with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::TooLarge,
            1 => Self::QueueFull,
            2 => Self::RateLimited,
            3 => Self::BadAuthentication,
            4 => Self::Busy,
            5 => Self::UnknownTarget,
            6 => Self::Unsupported,
            7 => Self::Failed,
            _ => return None,
        })
    }
}
