//! Typed answers, and how sure the model was of each part.

use std::ops::Range;

use deltavlm_messages::{Cell, CellSet, Instruction};

use crate::decode::Decoded;
use crate::parse::{self, CellList, cell_lists, counts_with_spans};
use crate::request::Decoding;

/// An answer to one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What was understood.
    pub content: AnswerContent,
    /// What the model wrote, stripped.
    pub text: String,
    /// How the tokens were chosen.
    pub decoding: Decoding,
    /// Constrained: the probability of this answer among the grammar's
    /// alternatives; of cells the share that is expected to be right, because a grid
    /// is eighteen decisions and all of them at once are never probable. Free text:
    /// the geometric mean of its tokens' probabilities.
    pub confidence: f32,
    /// Ids of the generated tokens, the ending one not included.
    pub ids: Vec<u32>,
    /// False when the limit of tokens cut the answer short.
    pub complete: bool,
    /// Oldest turns of the dialogue that did not fit and were left out.
    pub trimmed_turns: usize,
    /// Milliseconds from request to answer, encoding of the pair not included.
    pub ms: f64,
}

/// The content of an answer, by instruction.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum AnswerContent {
    /// Has anything changed?
    Classify {
        /// Yes or no.
        changed: bool,
    },
    /// How many have changed?
    Count {
        /// Roads.
        roads: Count,
        /// Buildings.
        buildings: Count,
    },
    /// Where?
    Localize {
        /// Roads.
        roads: LocatedCells,
        /// Buildings.
        buildings: LocatedCells,
    },
    /// A sentence; it is in [`Answer::text`].
    Caption,
    /// An answer to an open question, in [`Answer::text`].
    Question {
        /// The question as it was put.
        question: String,
    },
    /// Free decoding produced a text that does not answer the instruction.
    Unparsed {
        /// The instruction.
        instruction: Instruction,
    },
}

impl AnswerContent {
    /// `classify`, `count`, `localize`, `caption` or `question`.
    pub fn instruction_name(&self) -> &'static str {
        match self {
            Self::Classify { .. } => Instruction::Classify.name(),
            Self::Count { .. } => Instruction::Count.name(),
            Self::Localize { .. } => Instruction::Localize.name(),
            Self::Caption => Instruction::Caption.name(),
            Self::Question { .. } => "question",
            Self::Unparsed { instruction } => instruction.name(),
        }
    }

    /// Of a grid: the share of cells that is expected to be right.
    pub(crate) fn expected_accuracy(&self) -> Option<f32> {
        let Self::Localize { roads, buildings } = self else {
            return None;
        };
        let cells = roads.confidence.iter().chain(&buildings.confidence);
        Some(cells.sum::<f32>() / 18.0)
    }
}

/// A number, and how sure the model was of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Count {
    /// The number.
    pub number: u32,
    /// Its probability among the alternatives.
    pub confidence: f32,
}

/// Cells, and how sure the model was of each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LocatedCells {
    /// The cells in which something has changed.
    pub cells: CellSet,
    /// By cell in the order of [`Cell::ALL`]: the probability that the cell is as
    /// the set says. For a cell that is not named it is a lower bound.
    pub confidence: [f32; 9],
}

/// Types what was decoded for a fixed instruction.
pub(crate) fn content(instruction: Instruction, decoded: &Decoded) -> AnswerContent {
    let text = decoded.text.as_str();
    let parsed = match instruction {
        Instruction::Classify => {
            parse::changed(text).map(|changed| AnswerContent::Classify { changed })
        }
        Instruction::Count => counts_with_spans(text).map(|[roads, buildings]| {
            let count = |(number, span): (u32, Range<usize>)| Count {
                number,
                confidence: decoded.probability_of(&span),
            };
            AnswerContent::Count {
                roads: count(roads),
                buildings: count(buildings),
            }
        }),
        Instruction::Localize => {
            cell_lists(text).map(|[roads, buildings]| AnswerContent::Localize {
                roads: located(&roads, decoded),
                buildings: located(&buildings, decoded),
            })
        }
        Instruction::Caption => Some(AnswerContent::Caption),
        // Asked as its parts, so nothing is ever decoded for it.
        Instruction::Survey => None,
    };
    parsed.unwrap_or(AnswerContent::Unparsed { instruction })
}

/// A named cell is as sure as the choice that named it; one that is not named is
/// as sure as all the choices that passed it by.
fn located(list: &CellList, decoded: &Decoded) -> LocatedCells {
    let cells = list.grid();
    let mut confidence = [1.0; 9];
    for (cell, confidence) in Cell::ALL.into_iter().zip(&mut confidence) {
        *confidence = if let Some((_, span)) = list.cells.iter().find(|(named, _)| *named == cell) {
            decoded.probability_of(span)
        } else {
            1.0 - decoded.mention_probability(cell.name(), &list.inside)
        };
    }
    LocatedCells { cells, confidence }
}
