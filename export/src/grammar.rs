//! The published answers as regular expressions, for constrained decoding.

use deltavlm_bundle::{AnswerKind, Instruction};

const CLASSIFY: &str = "^(yes|no)$";
const COUNT: &str = concat!(
    "^(there are no changes in roads or buildings|",
    "(no new roads|1 new road|([2-9]|[1-9][0-9]) new roads) and ",
    "(no new buildings|1 new building|([2-9]|[1-9][0-9]) new buildings))$"
);
const LOCALIZE: &str = concat!(
    r"^roads \[((top|center|bottom)-(left|center|right)(, (top|center|bottom)-(left|center|right)){0,8})?\] ",
    r"buildings \[((top|center|bottom)-(left|center|right)(, (top|center|bottom)-(left|center|right)){0,8})?\]$"
);

/// How an instruction's answer is typed, and the grammar it follows unless the
/// configuration gives another.
pub(crate) fn of(instruction: Instruction) -> (AnswerKind, Option<&'static str>) {
    match instruction {
        Instruction::Classify => (AnswerKind::Changed, Some(CLASSIFY)),
        Instruction::Count => (AnswerKind::Counts, Some(COUNT)),
        Instruction::Localize => (AnswerKind::Grids, Some(LOCALIZE)),
        Instruction::Caption => (AnswerKind::Text, None),
    }
}
