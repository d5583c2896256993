//! The fixed instruction set: exact prompts, answer kinds and the 3x3 grid.

use serde::{Deserialize, Serialize};

/// An instruction with a fixed prompt (ChangeChat-105k; DeltaVLM, section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Instruction {
    /// Has anything changed? `yes` or `no`.
    Classify,
    /// How many roads and buildings have changed?
    Count,
    /// In which cells of the 3x3 grid have roads and buildings changed?
    Localize,
    /// A sentence that describes the change.
    Caption,
}

impl Instruction {
    /// Every fixed instruction, in the order in which a survey asks them.
    pub const ALL: [Self; 4] = [Self::Classify, Self::Count, Self::Localize, Self::Caption];

    /// The name used on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classify => "classify",
            Self::Count => "count",
            Self::Localize => "localize",
            Self::Caption => "caption",
        }
    }

    /// The published prompt, to the letter.
    pub const fn prompt(self) -> &'static str {
        match self {
            Self::Classify => {
                "Please judge whether these two images have changed. Please answer yes or no."
            }
            Self::Count => "Please determine how many roads and buildings have changed?",
            Self::Localize => concat!(
                "Please indicate the locations where changes have occurred in the buildings and ",
                "roads, using a 3x3 grid (namely, 'top', 'center', and 'bottom' vertically and ",
                "'left', 'center', 'right' horizontally)."
            ),
            Self::Caption => "Please briefly describe the changes in these two images.",
        }
    }
}

/// How an answer is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnswerKind {
    /// `yes` or `no`.
    Changed,
    /// Two numbers: roads and buildings.
    Counts,
    /// Two sets of grid cells: roads and buildings.
    Grids,
    /// Free text.
    Text,
}

/// A cell of the 3x3 grid; the discriminant is its bit in a 9-bit grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Cell {
    TopLeft,
    TopCenter,
    TopRight,
    CenterLeft,
    CenterCenter,
    CenterRight,
    BottomLeft,
    BottomCenter,
    BottomRight,
}

impl Cell {
    /// Every cell, row by row from the top left: the order of the bits.
    pub const ALL: [Self; 9] = [
        Self::TopLeft,
        Self::TopCenter,
        Self::TopRight,
        Self::CenterLeft,
        Self::CenterCenter,
        Self::CenterRight,
        Self::BottomLeft,
        Self::BottomCenter,
        Self::BottomRight,
    ];

    /// The published name, e.g. `top-left`.
    pub const fn name(self) -> &'static str {
        [
            "top-left",
            "top-center",
            "top-right",
            "center-left",
            "center-center",
            "center-right",
            "bottom-left",
            "bottom-center",
            "bottom-right",
        ][self as usize]
    }

    /// The cell of that published name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cell| cell.name() == name)
    }

    /// The cell's bit in a 9-bit grid.
    pub const fn bit(self) -> u16 {
        1 << self as u16
    }
}
