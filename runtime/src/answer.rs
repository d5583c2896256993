//! Typed answers, and how sure the model was of each part.

use std::ops::Range;

use deltavlm_bundle::{Cell, Instruction};

use crate::decode::Decoded;
use crate::{Decoding, Grid};

/// An answer to one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What was understood.
    pub body: Body,
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
pub enum Body {
    /// Has anything changed?
    Classify {
        /// Yes or no.
        changed: bool,
    },
    /// How many have changed?
    Count {
        /// Roads.
        roads: Counted,
        /// Buildings.
        buildings: Counted,
    },
    /// Where?
    Localize {
        /// Roads.
        roads: Located,
        /// Buildings.
        buildings: Located,
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

impl Body {
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
    pub(crate) fn right_cells(&self) -> Option<f32> {
        let Self::Localize { roads, buildings } = self else {
            return None;
        };
        let cells = roads.confidence.iter().chain(&buildings.confidence);
        Some(cells.sum::<f32>() / 18.0)
    }
}

/// A number, and how sure the model was of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counted {
    /// The number.
    pub number: u32,
    /// Its probability among the alternatives.
    pub confidence: f32,
}

/// Grid cells, and how sure the model was of each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Located {
    /// The cells in which something has changed.
    pub grid: Grid,
    /// By cell in the order of [`Cell::ALL`]: the probability that the cell is as
    /// the grid says. For a cell that is not named it is a lower bound.
    pub confidence: [f32; 9],
}

/// Types what was decoded for a fixed instruction.
pub(crate) fn body(instruction: Instruction, decoded: &Decoded) -> Body {
    let text = decoded.text.as_str();
    let parsed = match instruction {
        Instruction::Classify => changed(text).map(|changed| Body::Classify { changed }),
        Instruction::Count => counts(text).map(|[roads, buildings]| {
            let count = |(number, span): (u32, Range<usize>)| Counted {
                number,
                confidence: decoded.probability_of(&span),
            };
            Body::Count {
                roads: count(roads),
                buildings: count(buildings),
            }
        }),
        Instruction::Localize => grids(text).map(|[roads, buildings]| Body::Localize {
            roads: located(&roads, decoded),
            buildings: located(&buildings, decoded),
        }),
        Instruction::Caption => Some(Body::Caption),
    };
    parsed.unwrap_or(Body::Unparsed { instruction })
}

/// `yes` or `no`, whatever follows the word.
pub(crate) fn changed(text: &str) -> Option<bool> {
    let first = text
        .split(|c: char| !c.is_alphabetic())
        .find(|word| !word.is_empty())?;
    match first.to_ascii_lowercase().as_str() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

const NUMBER_WORDS: [&str; 21] = [
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
];

/// Numbers of roads and of buildings, each with the part of the text that states it.
pub(crate) fn counts(text: &str) -> Option<[(u32, Range<usize>); 2]> {
    let lower = text.to_ascii_lowercase();
    let words = words(&lower);
    let mut found: [Option<(u32, Range<usize>)>; 2] = [None, None];
    for (index, word) in words.iter().enumerate() {
        let slot = match word.text {
            "road" | "roads" => 0,
            "building" | "buildings" => 1,
            _ => continue,
        };
        // `2 new roads`, `2 roads`; in between only adjectives of change.
        let number = words[..index]
            .iter()
            .rev()
            .take(3)
            .find_map(|before| Some((number(before.text)?, before.start)));
        if let (Some((number, start)), None) = (number, &found[slot]) {
            found[slot] = Some((number, start..word.start + word.text.len()));
        }
    }
    let whole = (0, 0..text.len());
    let none = found.iter().flatten().all(|(number, _)| *number == 0);
    if none && (lower.contains("no change") || lower.contains("no road")) {
        return Some([whole.clone(), whole]);
    }
    match found {
        [None, None] => None,
        [roads, buildings] => Some([
            roads.unwrap_or_else(|| whole.clone()),
            buildings.unwrap_or(whole),
        ]),
    }
}

fn number(word: &str) -> Option<u32> {
    let digits = word.parse().ok();
    let spelled = || NUMBER_WORDS.iter().position(|&name| name == word);
    digits
        .or_else(|| u32::try_from(spelled()?).ok())
        .or((word == "a").then_some(1))
}

struct Word<'a> {
    text: &'a str,
    start: usize,
}

fn words(text: &str) -> Vec<Word<'_>> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| Word {
            text: word,
            start: word.as_ptr() as usize - text.as_ptr() as usize,
        })
        .collect()
}

/// One bracketed list: its cells, and where its inside lies in the text.
pub(crate) struct CellList {
    cells: Vec<(Cell, Range<usize>)>,
    inside: Range<usize>,
}

impl CellList {
    pub(crate) fn grid(&self) -> Grid {
        self.cells.iter().map(|(cell, _)| *cell).collect()
    }
}

/// `roads [...] buildings [...]`, in either order.
pub(crate) fn grids(text: &str) -> Option<[CellList; 2]> {
    Some([list(text, "road")?, list(text, "building")?])
}

fn list(text: &str, noun: &str) -> Option<CellList> {
    let at = text.to_ascii_lowercase().find(noun)?;
    let open = at + text[at..].find('[')? + 1;
    let inside = open..open + text[open..].find(']')?;
    let mut cells = Vec::new();
    let mut start = inside.start;
    for item in text[inside.clone()].split(',') {
        let name = item.trim().trim_matches(['\'', '"']);
        if !name.is_empty() {
            let cell = Cell::from_name(&name.to_ascii_lowercase())?;
            let begin = start + (item.len() - item.trim_start().len());
            cells.push((cell, begin..begin + item.trim().len()));
        }
        start += item.len() + 1;
    }
    Some(CellList { cells, inside })
}

/// A named cell is as sure as the choice that named it; one that is not named is
/// as sure as all the choices that passed it by.
fn located(list: &CellList, decoded: &Decoded) -> Located {
    let grid = list.grid();
    let mut confidence = [1.0; 9];
    for (cell, confidence) in Cell::ALL.into_iter().zip(&mut confidence) {
        *confidence = if let Some((_, span)) = list.cells.iter().find(|(named, _)| *named == cell) {
            decoded.probability_of(span)
        } else {
            1.0 - decoded.could_have_said(cell.name(), &list.inside)
        };
    }
    Located { grid, confidence }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Option<(u32, u32)> {
        counts(text).map(|[roads, buildings]| (roads.0, buildings.0))
    }

    #[test]
    fn counts_are_read_from_every_customary_wording() {
        for (text, expected) in [
            ("there are no changes in roads or buildings", (0, 0)),
            ("there are 2 new roads and 17 new buildings", (2, 17)),
            ("1 new road and no new buildings", (1, 0)),
            ("no new roads and 3 new buildings", (0, 3)),
            ("no roads and 3 new buildings", (0, 3)),
            ("no changes in roads, 2 new buildings", (0, 2)),
            ("There are 4 new buildings.", (0, 4)),
            ("there is a new road and two new buildings", (1, 2)),
            ("12 buildings and 1 road", (1, 12)),
        ] {
            assert_eq!(numbers(text), Some(expected), "{text}");
        }
        assert_eq!(numbers("yes"), None);
        assert_eq!(numbers(""), None);
    }

    #[test]
    fn a_count_knows_where_it_stands() {
        let text = "2 new roads and 17 new buildings";
        let [roads, buildings] = counts(text).unwrap();
        assert_eq!(
            (&text[roads.1], &text[buildings.1]),
            ("2 new roads", "17 new buildings")
        );
    }

    #[test]
    fn grids_are_read_and_a_wrong_cell_is_no_answer() {
        let [roads, buildings] = grids("roads [top-left, center-center] buildings []").unwrap();
        assert_eq!(roads.grid().to_string(), "#../.#./...");
        assert!(buildings.grid().is_empty());
        assert!(grids("roads [top-left] buildings [middle]").is_none());
        assert!(grids("roads [top-left").is_none());
        assert!(grids("").is_none());
    }

    #[test]
    fn yes_and_no_are_words() {
        assert_eq!(changed("Yes."), Some(true));
        assert_eq!(changed(" no, nothing"), Some(false));
        assert_eq!(changed("nothing"), None);
    }
}
