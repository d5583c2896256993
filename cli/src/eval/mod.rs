//! Measuring answers against ChangeChat-105k annotations, with the paper's metrics.
//!
//! Answers that do not parse are counted, never dropped: an unparsed `classify` is
//! wrong, an unparsed `count` or `localize` is scored as "nothing".
//!
//! METEOR is not among the metrics: the customary implementation is a Java program
//! with WordNet's synonyms and paraphrase tables, and without those data its figures
//! cannot be had. Answers written with `--answers` can be given to it.

mod annotations;
mod classify;
mod facts;
mod outcome;
mod ratio;
mod score;
mod settings;
mod text;

pub use annotations::{Entry, Task, read};
pub use classify::{Alarms, Classification, Threshold};
pub use facts::{CaptionFacts, Facts, Language};
pub use outcome::Outcome;
pub use score::{Counting, Errors, Exact, Localisation, Report, Sets, StatedFacts, Texts, score};
pub use settings::Settings;
pub use text::{TextScores, text_scores, tokenize};

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use deltavlm_runtime::{Instruction, Model, Request, Turn};

use crate::error::CliError;

/// The entries of one pair, which is encoded once for all of them.
#[derive(Debug, Clone, PartialEq)]
pub struct PairEntries {
    /// Paths of before and after, relative to the images directory.
    pub image: [String; 2],
    /// Everything that is asked about the pair.
    pub entries: Vec<Entry>,
}

/// Groups entries by pair, in the order in which pairs first occur.
pub fn by_pair(entries: Vec<Entry>) -> Vec<PairEntries> {
    let mut pairs: Vec<PairEntries> = Vec::new();
    let mut places: BTreeMap<[String; 2], usize> = BTreeMap::new();
    for entry in entries {
        let place = *places.entry(entry.image.clone()).or_insert_with(|| {
            pairs.push(PairEntries {
                image: entry.image.clone(),
                entries: Vec::new(),
            });
            pairs.len() - 1
        });
        pairs[place].entries.push(entry);
    }
    pairs
}

/// Answers every entry of a pair that is not among `done` (see [`Outcome::key`]).
///
/// # Errors
/// As [`Model::pair`] and [`Model::ask`].
pub fn answer(
    model: &mut Model,
    images: &Path,
    pair: &PairEntries,
    settings: &Settings,
    done: &HashSet<String>,
) -> Result<Vec<Outcome>, CliError> {
    let open: Vec<&Entry> = pair
        .entries
        .iter()
        .filter(|entry| {
            (0..entry.turns.len()).any(|turn| !done.contains(&Outcome::key_of(entry, turn)))
        })
        .collect();
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let [before, after] = pair.image.each_ref().map(|name| locate(images, name));
    let encoded = model.pair(before.as_path(), after.as_path())?;
    let mut outcomes = Vec::new();
    for entry in open {
        let mut history: Vec<Turn> = Vec::new();
        for (index, turn) in entry.turns.iter().enumerate() {
            if !done.contains(&Outcome::key_of(entry, index)) {
                let request = request(entry, &history, &turn.question, settings);
                let answer = model.ask(&encoded, &request)?;
                let outcome = Outcome::new(entry, index, &answer, model.id(), settings);
                outcomes.push(outcome);
            }
            // The reference of a turn is given the reference answers before it.
            history.push(Turn {
                question: turn.question.clone(),
                answer: turn.references.first().cloned().unwrap_or_default(),
            });
        }
    }
    Ok(outcomes)
}

fn request(entry: &Entry, history: &[Turn], question: &str, settings: &Settings) -> Request {
    let fixed = match entry.task {
        Task::Caption => Some(Instruction::Caption),
        Task::Classify => Some(Instruction::Classify),
        Task::Count => Some(Instruction::Count),
        Task::Localize => Some(Instruction::Localize),
        Task::Question | Task::Dialog => None,
    };
    let mut request = match fixed {
        Some(instruction) => Request::fixed(instruction),
        None => Request::follow_up(history.to_vec(), question),
    };
    request = request
        .decoding(settings.decoding)
        .beams(settings.beams.max(1));
    match settings.max_tokens {
        Some(tokens) => request.max_tokens(tokens),
        None => request,
    }
}

/// Annotations name pictures relative to the images directory, in some editions
/// with a split in front (`test/A/x.png`) or without the folder of the date.
fn locate(images: &Path, name: &str) -> PathBuf {
    let direct = images.join(name);
    if direct.exists() {
        return direct;
    }
    let parts: Vec<&str> = name.split('/').collect();
    let shorter = (1..parts.len()).map(|skip| images.join(parts[skip..].join("/")));
    shorter
        .into_iter()
        .find(|path| path.exists())
        .unwrap_or(direct)
}
