//! The published answers as regular expressions, for constrained decoding.

use deltavlm_bundle::AnswerKind;
use deltavlm_messages::{Cell, Instruction};

const CLASSIFY: &str = "^(yes|no)$";
const COUNT: &str = concat!(
    "^(there are no changes in roads or buildings|",
    "(no new roads|1 new road|([2-9]|[1-9][0-9]) new roads) and ",
    "(no new buildings|1 new building|([2-9]|[1-9][0-9]) new buildings))$"
);

/// Roads and buildings with their cells, which stand in reading order, each at
/// most once: an exact grammar keeps an answer short and its confidence true.
fn localize() -> String {
    let cells = cells_in_order();
    format!(r"^roads \[({cells})?\] buildings \[({cells})?\]$")
}

/// Every non-empty list: a first cell, then any of the later ones.
fn cells_in_order() -> String {
    let lists: Vec<String> = (0..Cell::ALL.len())
        .map(|first| {
            let later: String = Cell::ALL[first + 1..]
                .iter()
                .map(|cell| format!("(, {})?", cell.name()))
                .collect();
            format!("{}{later}", Cell::ALL[first].name())
        })
        .collect();
    lists.join("|")
}

/// How an instruction's answer is typed, and the grammar it follows unless the
/// configuration gives another; `None` for one that is asked as its parts.
pub(crate) fn of(instruction: Instruction) -> Option<(AnswerKind, Option<String>)> {
    Some(match instruction {
        Instruction::Classify => (AnswerKind::Changed, Some(CLASSIFY.to_owned())),
        Instruction::Count => (AnswerKind::Counts, Some(COUNT.to_owned())),
        Instruction::Localize => (AnswerKind::Grids, Some(localize())),
        Instruction::Caption => (AnswerKind::Text, None),
        Instruction::Survey => return None,
    })
}
