//! One answer beside its references: a line of the answers file.

use deltavlm_runtime::{Answer, AnswerContent, Cell, CellSet, parse};
use serde::{Deserialize, Serialize};

use super::annotations::{Entry, Task};
use super::facts::CaptionFacts;
use super::settings::Settings;

/// An answer with what it is compared to. Serialises to one JSON line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Name of the [`Task`].
    pub task: String,
    /// The annotation's id.
    pub id: String,
    /// Which turn of it.
    pub turn: usize,
    /// The pictures.
    pub image: [String; 2],
    /// The question.
    pub question: String,
    /// What the model wrote.
    pub text: String,
    /// What it may be answered with.
    pub references: Vec<String>,
    /// How sure the model was.
    pub confidence: f32,
    /// Whether the text answers the instruction.
    pub parsed: bool,
    /// Milliseconds.
    pub ms: f64,
    /// The bundle that answered.
    pub model: String,
    /// The [`Settings`] it answered with.
    pub decoding: String,
    /// What sort of pair it is, where the annotations say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// What sort of question it is, where the annotations say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The facts that a caption states, where the annotations know the truth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stated: Option<CaptionFacts>,
}

impl Outcome {
    pub(super) fn new(
        entry: &Entry,
        turn: usize,
        answer: &Answer,
        model: &str,
        settings: &Settings,
    ) -> Self {
        Self {
            task: entry.task.name().to_owned(),
            id: entry.id.clone(),
            turn,
            image: entry.image.clone(),
            question: entry.turns[turn].question.clone(),
            text: answer.text.clone(),
            references: entry.turns[turn].references.clone(),
            confidence: answer.confidence,
            parsed: !matches!(answer.content, AnswerContent::Unparsed { .. }),
            ms: answer.ms,
            model: model.to_owned(),
            decoding: settings.to_string(),
            category: entry.category.clone(),
            kind: entry.kind.clone(),
            stated: entry
                .truth
                .as_ref()
                .filter(|_| entry.task == Task::Caption)
                .map(|(language, facts)| language.stated(&answer.text, facts)),
        }
    }

    /// What tells this outcome from all others of a run.
    pub fn key(&self) -> String {
        key(&self.task, &self.id, self.turn)
    }

    pub(super) fn key_of(entry: &Entry, turn: usize) -> String {
        key(entry.task.name(), &entry.id, turn)
    }

    pub(super) fn is(&self, task: Task) -> bool {
        self.task == task.name()
    }

    /// Answer and truth of a yes/no question; an unparsed answer is `None`.
    pub(super) fn changed(&self) -> Option<(Option<bool>, bool)> {
        let truth = parse::changed(self.references.first()?)?;
        Some((parse::changed(&self.text), truth))
    }

    /// Answer and truth of a count: roads, buildings.
    pub(super) fn counts(&self) -> Option<([u32; 2], [u32; 2])> {
        let truth = parse::counts(self.references.first()?)?;
        Some((parse::counts(&self.text).unwrap_or_default(), truth))
    }

    /// Answer and truth of a localisation: roads, buildings.
    pub(super) fn grids(&self) -> Option<([CellSet; 2], [CellSet; 2])> {
        let truth = parse::cells(self.references.first()?)?;
        Some((parse::cells(&self.text).unwrap_or_default(), truth))
    }
}

fn key(task: &str, id: &str, turn: usize) -> String {
    format!("{task}/{id}/{turn}")
}

/// Flags by cell.
pub(super) fn flags(grid: CellSet) -> [bool; 9] {
    Cell::ALL.map(|cell| grid.contains(cell))
}
