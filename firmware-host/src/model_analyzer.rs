//! The model as an [`Analyzer`]: questions to the runtime, its answers to message bodies.

use crate::{
    analyzer::{AnalysisError, AnalyzedAnswer, Analyzer, Detection, Question},
    config::ModelConfig,
    pair_files::{PairFiles, PairVersion},
};
use deltavlm_imaging::{ImageError, ImageFault};
use deltavlm_messages::{AnswerBody, CellSet, Confidence, FaultReason, Text};
use deltavlm_runtime::{
    Answer, AnswerContent, Budget, Count, Error, Instruction, Model, Options, Pair, Request, Turn,
};
use std::{path::Path, time::Duration};

/// Encoded pairs kept for further questions about them.
const MAX_CACHED_PAIRS: usize = 4;

/// The model, opened, with the pairs that were asked about last.
pub struct ModelAnalyzer {
    model: Model,
    id: String,
    deadline: Duration,
    /// Encoded pairs, the one used last at the end.
    cache: Vec<(String, PairVersion, Pair)>,
}

impl ModelAnalyzer {
    /// Opens the bundle.
    ///
    /// # Errors
    /// The bundle is absent or damaged, no engine can run it, or it does not fit into memory.
    pub fn open(config: &ModelConfig) -> Result<Self, AnalysisError> {
        let options = Options {
            engine: config.engine.parse().unwrap_or_default(),
            ort_library: config.ort_library.clone(),
            threads: config.threads,
            decode: config.decode_options(),
            ..Options::default()
        };
        let model = Model::open(&config.bundle, &options).map_err(|error| AnalysisError {
            reason: FaultReason::Inference,
            detail: "the model cannot be opened".to_owned(),
            message: error.to_string(),
        })?;
        let id = model.id().to_owned();
        log::info!("{id} on {}", model.engine());
        for rejection in &model.engine().rejected {
            log::info!("not on {rejection}");
        }
        Ok(Self {
            model,
            id,
            deadline: config.deadline,
            cache: Vec::new(),
        })
    }

    /// The time that one pair or one question has.
    fn budget(&self) -> Budget {
        Budget::within(self.deadline)
    }

    /// Encodes the pair, or finds it among those kept.
    fn encode_cached(&mut self, files: &PairFiles, budget: &Budget) -> Result<Pair, AnalysisError> {
        let same = |(name, version, _): &(String, PairVersion, Pair)| {
            *name == files.name && *version == files.version
        };
        let entry = match self.cache.iter().position(same) {
            Some(place) => self.cache.remove(place),
            None => (
                files.name.clone(),
                files.version,
                self.encode(files, budget)?,
            ),
        };
        let pair = entry.2.clone();
        self.cache.push(entry);
        if self.cache.len() > MAX_CACHED_PAIRS {
            self.cache.remove(0);
        }
        Ok(pair)
    }

    fn encode(&mut self, files: &PairFiles, budget: &Budget) -> Result<Pair, AnalysisError> {
        let Some(before) = &files.before else {
            return Err(AnalysisError {
                reason: FaultReason::Missing,
                detail: format!("before {}", files.name),
                message: format!(
                    "{}: there is no before-picture of this tile; add one of the same name",
                    files.after.display()
                ),
            });
        };
        self.model
            .pair_within(before, &files.after, budget)
            .map_err(|error| analysis_error(&error, files))
    }

    fn answers(
        &mut self,
        files: &PairFiles,
        requests: Vec<Request>,
        budget: &Budget,
    ) -> Result<Vec<Answer>, AnalysisError> {
        let pair = self.encode_cached(files, budget)?;
        let given = self
            .model
            .ask_within(&pair, &requests, budget)
            .map_err(|error| analysis_error(&error, files))?;
        Ok(given.answers)
    }
}

impl Analyzer for ModelAnalyzer {
    fn model(&self) -> &str {
        &self.id
    }

    fn detect(&mut self, files: &PairFiles) -> Result<Detection, AnalysisError> {
        let budget = self.budget();
        let classify = vec![Request::fixed(Instruction::Classify)];
        let answers = self.answers(files, classify, &budget)?;
        let (changed, confidence) = classification(&answers)?;
        if !changed {
            return Ok(Detection::unchanged(confidence));
        }
        let further = [Instruction::Count, Instruction::Localize].map(Request::fixed);
        let answers = self.answers(files, further.into(), &budget)?;
        let (roads, buildings) = counts(&answers)?;
        let (roads_grid, buildings_grid, _) = location(&answers)?;
        Ok(Detection {
            changed,
            confidence,
            roads,
            buildings,
            roads_grid,
            buildings_grid,
        })
    }

    fn ask(
        &mut self,
        files: &PairFiles,
        question: &Question,
    ) -> Result<AnalyzedAnswer, AnalysisError> {
        let requests = match question {
            Question::Fixed(instruction) => instruction
                .parts()
                .iter()
                .copied()
                .map(Request::fixed)
                .collect(),
            Question::Text { history, text } if history.is_empty() => vec![Request::question(text)],
            Question::Text { history, text } => {
                let turn = |(question, answer): &(String, String)| Turn {
                    question: question.clone(),
                    answer: answer.clone(),
                };
                vec![Request::follow_up(history.iter().map(turn).collect(), text)]
            }
        };
        let answers = self.answers(files, requests, &self.budget())?;
        let body = body(question, &answers)?;
        let prompt = match question {
            Question::Fixed(instruction) => instruction.prompt().to_owned(),
            Question::Text { text, .. } => text.clone(),
        };
        let text = answers
            .iter()
            .map(|answer| answer.text.as_str())
            .collect::<Vec<_>>()
            .join("; ");
        Ok(AnalyzedAnswer { body, prompt, text })
    }
}

fn body(question: &Question, answers: &[Answer]) -> Result<AnswerBody, AnalysisError> {
    let confidence = answers.first().map_or(0.0, |answer| answer.confidence);
    let confidence = Confidence::from_fraction(confidence);
    let text = |answers: &[Answer]| {
        Text::truncated(answers.last().map_or("", |answer| answer.text.as_str()))
    };
    Ok(match question {
        Question::Fixed(Instruction::Classify) => AnswerBody::Classify {
            changed: classification(answers)?.0,
            confidence,
        },
        Question::Fixed(Instruction::Count) => {
            let (roads, buildings) = counts(answers)?;
            AnswerBody::Count {
                roads: clamp(roads),
                buildings: clamp(buildings),
                confidence,
            }
        }
        Question::Fixed(Instruction::Localize) => {
            let (roads, buildings, expected) = location(answers)?;
            AnswerBody::Localize {
                roads,
                buildings,
                confidence: Confidence::from_fraction(expected),
            }
        }
        Question::Fixed(Instruction::Caption) => AnswerBody::Caption {
            text: text(answers),
            confidence,
        },
        Question::Text { .. } => AnswerBody::Text {
            text: text(answers),
            confidence,
        },
        Question::Fixed(Instruction::Survey) => {
            let (changed, sure) = classification(answers)?;
            let (roads, buildings) = counts(answers)?;
            let (roads_grid, buildings_grid, _) = location(answers)?;
            AnswerBody::Survey {
                changed,
                confidence: Confidence::from_fraction(sure),
                roads: clamp(roads),
                buildings: clamp(buildings),
                roads_grid,
                buildings_grid,
                text: text(answers),
            }
        }
    })
}

fn clamp(number: u32) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

fn classification(answers: &[Answer]) -> Result<(bool, f32), AnalysisError> {
    find_body(answers, |answer| match answer.content {
        AnswerContent::Classify { changed } => Some((changed, answer.confidence)),
        _ => None,
    })
}

fn counts(answers: &[Answer]) -> Result<(u32, u32), AnalysisError> {
    find_body(answers, |answer| match answer.content {
        AnswerContent::Count {
            roads: Count { number: roads, .. },
            buildings,
        } => Some((roads, buildings.number)),
        _ => None,
    })
}

/// The cells, and the share of them that the model expects to be right.
fn location(answers: &[Answer]) -> Result<(CellSet, CellSet, f32), AnalysisError> {
    find_body(answers, |answer| match answer.content {
        AnswerContent::Localize { roads, buildings } => {
            Some((roads.cells, buildings.cells, answer.confidence))
        }
        _ => None,
    })
}

fn find_body<T>(
    answers: &[Answer],
    pick: impl Fn(&Answer) -> Option<T>,
) -> Result<T, AnalysisError> {
    answers.iter().find_map(pick).ok_or_else(|| AnalysisError {
        reason: FaultReason::Inference,
        detail: "no answer of the kind asked for".to_owned(),
        message:
            "the model gave no answer of the kind asked for; check the bundle with `dvlm info`"
                .to_owned(),
    })
}

/// Sorts the runtime's error into what the ground is told.
fn analysis_error(error: &Error, files: &PairFiles) -> AnalysisError {
    let (reason, detail) = match error {
        Error::Image(ImageError::Unusable { name, fault }) => {
            (picture_reason(fault), short_path(name))
        }
        Error::SizesDiffer { before, after } => (
            FaultReason::SizeMismatch,
            format!(
                "{}: {}x{}, {}x{}",
                files.name, before.0, before.1, after.0, after.1
            ),
        ),
        _ => (FaultReason::Inference, files.name.clone()),
    };
    AnalysisError {
        reason,
        detail,
        message: error.to_string(),
    }
}

fn picture_reason(fault: &ImageFault) -> FaultReason {
    match fault {
        ImageFault::Unreadable(error) if error.kind() == std::io::ErrorKind::NotFound => {
            FaultReason::Missing
        }
        ImageFault::Unreadable(_) => FaultReason::Unreadable,
        ImageFault::Empty | ImageFault::Damaged { .. } => FaultReason::Truncated,
        ImageFault::UnknownFormat => FaultReason::NotAPicture,
        ImageFault::TooManyPixels { .. } | ImageFault::TooManyBytes { .. } => FaultReason::TooLarge,
        _ => FaultReason::Unsupported,
    }
}

/// The folder and the file: enough to find it, few bytes to send.
fn short_path(name: &str) -> String {
    let path = Path::new(name);
    let part =
        |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    match (
        part(path.parent().and_then(Path::file_name)),
        part(path.file_name()),
    ) {
        (Some(folder), Some(file)) => format!("{folder}/{file}"),
        (None, Some(file)) => file,
        _ => name.to_owned(),
    }
}
