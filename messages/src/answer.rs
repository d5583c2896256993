//! What the board answers.

use serde::{Deserialize, Serialize};

use crate::{CellSet, Confidence, QueryId, text::Text};

/// The answer to a [`Query`](crate::Query).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The query's id.
    pub query: QueryId,
    /// What the answer was computed from.
    pub source: Provenance,
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

/// The pair, model and prompt an answer came from, each by its
/// [`short_hash`](crate::short_hash).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Provenance {
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
        roads: CellSet,
        /// Where buildings changed.
        buildings: CellSet,
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
        roads_grid: CellSet,
        /// Where buildings changed.
        buildings_grid: CellSet,
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
