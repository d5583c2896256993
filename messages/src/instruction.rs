//! The instructions with a fixed wording.

use serde::{Deserialize, Serialize};

/// An instruction with a fixed prompt (ChangeChat-105k; DeltaVLM, section 3).
///
/// The one list of them in the workspace: its names are those of the command line, of JSON and of
/// bundles, its numbers those on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Instruction {
    /// Has anything changed? `yes` or `no`.
    Classify = 0,
    /// How many roads and buildings have changed?
    Count = 1,
    /// In which cells of the 3x3 grid have roads and buildings changed?
    #[cfg_attr(feature = "clap", value(alias = "localise"))]
    Localize = 2,
    /// A sentence that describes the change.
    Caption = 3,
    /// All of the above.
    Survey = 4,
}

const CLASSIFY: &str =
    "Please judge whether these two images have changed. Please answer yes or no.";
const COUNT: &str = "Please determine how many roads and buildings have changed?";
const LOCALIZE: &str = concat!(
    "Please indicate the locations where changes have occurred in the buildings and ",
    "roads, using a 3x3 grid (namely, 'top', 'center', and 'bottom' vertically and ",
    "'left', 'center', 'right' horizontally)."
);
const CAPTION: &str = "Please briefly describe the changes in these two images.";
const SURVEY: &str = concat!(
    "Please judge whether these two images have changed. Please answer yes or no. ",
    "Please determine how many roads and buildings have changed? ",
    "Please indicate the locations where changes have occurred in the buildings and ",
    "roads, using a 3x3 grid (namely, 'top', 'center', and 'bottom' vertically and ",
    "'left', 'center', 'right' horizontally). ",
    "Please briefly describe the changes in these two images."
);

impl Instruction {
    /// Every instruction; its place is its [`number`](Self::number).
    pub const ALL: [Self; 5] = [
        Self::Classify,
        Self::Count,
        Self::Localize,
        Self::Caption,
        Self::Survey,
    ];

    /// Those that a model is asked with a prompt of their own, in the order in which a survey asks
    /// them.
    pub const SINGLE: [Self; 4] = [Self::Classify, Self::Count, Self::Localize, Self::Caption];

    /// The number on the wire. Frozen.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The instruction with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        if (number as usize) < Self::ALL.len() {
            Some(Self::ALL[number as usize])
        } else {
            None
        }
    }

    /// The name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classify => "classify",
            Self::Count => "count",
            Self::Localize => "localize",
            Self::Caption => "caption",
            Self::Survey => "survey",
        }
    }

    /// The instruction with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// The published prompt, to the letter; of a survey those of its [`parts`](Self::parts), with
    /// a space between them.
    pub const fn prompt(self) -> &'static str {
        match self {
            Self::Classify => CLASSIFY,
            Self::Count => COUNT,
            Self::Localize => LOCALIZE,
            Self::Caption => CAPTION,
            Self::Survey => SURVEY,
        }
    }

    /// The instructions that a model is asked for this one: itself, or for a survey all of
    /// [`SINGLE`](Self::SINGLE).
    pub const fn parts(self) -> &'static [Self] {
        match self {
            Self::Classify => &[Self::Classify],
            Self::Count => &[Self::Count],
            Self::Localize => &[Self::Localize],
            Self::Caption => &[Self::Caption],
            Self::Survey => &Self::SINGLE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_lead_back_to_the_instruction() {
        for (number, instruction) in (0..).zip(Instruction::ALL) {
            assert_eq!(instruction.number(), number);
            assert_eq!(Instruction::from_number(number), Some(instruction));
            assert_eq!(
                Instruction::from_name(instruction.name()),
                Some(instruction)
            );
            let json = serde_json::to_string(&instruction).unwrap();
            assert_eq!(json, format!("\"{}\"", instruction.name()));
        }
        assert_eq!(Instruction::from_number(5), None);
        assert_eq!(Instruction::from_name("open"), None);
    }

    #[test]
    fn a_survey_asks_all_single_instructions() {
        let prompts = Instruction::SINGLE.map(Instruction::prompt);
        assert_eq!(Instruction::Survey.prompt(), prompts.join(" "));
        assert_eq!(Instruction::Survey.parts(), Instruction::SINGLE);
        for single in Instruction::SINGLE {
            assert_eq!(single.parts(), [single]);
        }
    }

    #[cfg(feature = "clap")]
    #[test]
    fn the_command_line_knows_the_same_names() {
        use clap::ValueEnum;
        for instruction in Instruction::value_variants() {
            let value = instruction.to_possible_value().unwrap();
            assert_eq!(value.get_name(), instruction.name());
        }
        assert_eq!(Instruction::value_variants(), Instruction::ALL);
    }
}
