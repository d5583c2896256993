//! The model as an [`Analyzer`]: questions to the runtime, its answers to message bodies.

use crate::{
    analyzer::{AnalysisError, AnalyzedAnswer, Analyzer, Detection},
    config::ModelConfig,
    pair_files::{PairFiles, PairVersion},
    pair_images::PairImages,
};
use deltavlm_imaging::DecodeOptions;
use deltavlm_messages::{Alert, AnswerBody, CellSet, Confidence, FaultReason, Prompt, Text};
use deltavlm_runtime::{
    Answer, AnswerContent, Budget, Count, Error, Instruction, Model, Options, Pair, Request, Trust,
    Turn,
};
use std::time::Duration;

/// Encoded pairs kept for further questions about them.
const MAX_CACHED_PAIRS: usize = 4;

/// The model, opened, with the pairs that were asked about last.
pub struct ModelAnalyzer {
    model: Model,
    id: String,
    deadline: Duration,
    decode: DecodeOptions,
    /// Encoded pairs, the one used last at the end.
    cache: Vec<EncodedPair>,
}

/// A pair that was read and encoded.
#[derive(Clone)]
struct EncodedPair {
    name: String,
    version: PairVersion,
    /// As [`PairImages::hash`] names it.
    hash: u16,
    pair: Pair,
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
            decode: config.decode_options(),
            cache: Vec::new(),
        })
    }

    /// The time that one pair or one question has.
    fn budget(&self) -> Budget {
        Budget::within(self.deadline)
    }

    /// Reads and encodes the pair, or finds it among those kept.
    fn encode(&mut self, files: &PairFiles, budget: &Budget) -> Result<EncodedPair, AnalysisError> {
        let is_same =
            |entry: &EncodedPair| entry.name == files.name && entry.version == files.version;
        let entry = match self.cache.iter().position(is_same) {
            Some(place) => self.cache.remove(place),
            None => {
                let images = PairImages::read(files, &self.decode)?;
                let pair = self
                    .model
                    .pair_within(&images.before, &images.after, budget)
                    .map_err(|error| analysis_error(&error, files))?;
                EncodedPair {
                    name: files.name.clone(),
                    version: files.version,
                    hash: images.hash,
                    pair,
                }
            }
        };
        self.cache.push(entry.clone());
        if self.cache.len() > MAX_CACHED_PAIRS {
            self.cache.remove(0);
        }
        Ok(entry)
    }

    fn answers(
        &mut self,
        files: &PairFiles,
        pair: &EncodedPair,
        requests: &[Request],
        budget: &Budget,
    ) -> Result<Vec<Answer>, AnalysisError> {
        let given = self
            .model
            .ask_within(&pair.pair, requests, budget)
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
        let pair = self.encode(files, &budget)?;
        // Together, so that the judgement is the finding that a survey would give; the
        // caption only where the finding needs it.
        let fusion = self.model.manifest().fusion.unwrap_or_default();
        let asked: Vec<Request> = Instruction::SINGLE
            .into_iter()
            .filter(|&instruction| {
                instruction != Instruction::Caption || fusion.needed().any(|n| n == instruction)
            })
            .map(Request::fixed)
            .collect();
        let answers = self.answers(files, &pair, &asked, &budget)?;
        let (changed, confidence) = classification(&answers)?;
        if !changed {
            if let Some(trust) = pair.pair.trust().filter(|trust| trust.is_low) {
                return Err(doubted(&trust, files));
            }
            let change = None;
            return Ok(Detection { confidence, change });
        }
        let (roads, buildings) = counts(&answers)?;
        let (roads_grid, buildings_grid, _) = location(&answers)?;
        let change = Some(Alert {
            tile: files.tile(),
            time: files.time(),
            confidence: Confidence::from_fraction(confidence),
            roads: u8::try_from(roads).unwrap_or(u8::MAX),
            buildings: u8::try_from(buildings).unwrap_or(u8::MAX),
            roads_grid,
            buildings_grid,
            pair: pair.hash,
        });
        Ok(Detection { confidence, change })
    }

    fn ask(
        &mut self,
        files: &PairFiles,
        prompt: &Prompt,
        history: &[Turn],
    ) -> Result<AnalyzedAnswer, AnalysisError> {
        let budget = self.budget();
        let pair = self.encode(files, &budget)?;
        let (body, question, answers) = match prompt {
            Prompt::Fixed(instruction) => {
                let parts = instruction.parts().iter().copied();
                let requests: Vec<Request> = parts.map(Request::fixed).collect();
                let answers = self.answers(files, &pair, &requests, &budget)?;
                let body = answer_body(*instruction, &answers)?;
                (body, instruction.prompt().to_owned(), answers)
            }
            Prompt::Open(text) | Prompt::FollowUp { text, .. } => {
                let question = text.as_str().to_owned();
                let request = match history {
                    [] => Request::question(&question),
                    _ => Request::follow_up(history.to_vec(), &question),
                };
                let answers = self.answers(files, &pair, &[request], &budget)?;
                let (text, confidence) = sentence(&answers);
                (AnswerBody::Text { text, confidence }, question, answers)
            }
            _ => return Err(unsupported(files)),
        };
        let texts: Vec<&str> = answers.iter().map(|answer| answer.text.as_str()).collect();
        Ok(AnalyzedAnswer {
            body,
            pair: pair.hash,
            turn: Turn {
                question,
                answer: texts.join("; "),
            },
        })
    }
}

/// What travels of the answers to an instruction.
fn answer_body(instruction: Instruction, answers: &[Answer]) -> Result<AnswerBody, AnalysisError> {
    Ok(match instruction {
        Instruction::Classify => {
            let (changed, confidence) = classification(answers)?;
            AnswerBody::Classify {
                changed,
                confidence: Confidence::from_fraction(confidence),
            }
        }
        Instruction::Count => {
            let (roads, buildings) = counts(answers)?;
            AnswerBody::Count {
                roads,
                buildings,
                confidence: sentence(answers).1,
            }
        }
        Instruction::Localize => {
            let (roads, buildings, expected) = location(answers)?;
            AnswerBody::Localize {
                roads,
                buildings,
                confidence: Confidence::from_fraction(expected),
            }
        }
        Instruction::Caption => {
            let (text, confidence) = sentence(answers);
            AnswerBody::Caption { text, confidence }
        }
        Instruction::Survey => {
            let (changed, confidence) = classification(answers)?;
            let (roads, buildings) = counts(answers)?;
            let (roads_grid, buildings_grid, _) = location(answers)?;
            AnswerBody::Survey {
                changed,
                confidence: Confidence::from_fraction(confidence),
                roads,
                buildings,
                roads_grid,
                buildings_grid,
                text: sentence(answers).0,
            }
        }
    })
}

/// The text of the last answer, and how sure the model was of it.
fn sentence(answers: &[Answer]) -> (Text, Confidence) {
    let (text, confidence) = answers.last().map_or(("", 0.0), |answer| {
        (answer.text.as_str(), answer.confidence)
    });
    (Text::truncated(text), Confidence::from_fraction(confidence))
}

fn classification(answers: &[Answer]) -> Result<(bool, f32), AnalysisError> {
    find_body(answers, |answer| match answer.content {
        AnswerContent::Classify { changed } => Some((changed, answer.confidence)),
        _ => None,
    })
}

/// Roads and buildings.
fn counts(answers: &[Answer]) -> Result<(u16, u16), AnalysisError> {
    let clamp = |count: Count| u16::try_from(count.number).unwrap_or(u16::MAX);
    find_body(answers, |answer| match answer.content {
        AnswerContent::Count { roads, buildings } => Some((clamp(roads), clamp(buildings))),
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

fn unsupported(files: &PairFiles) -> AnalysisError {
    AnalysisError {
        reason: FaultReason::Unsupported,
        detail: files.name.clone(),
        message: format!(
            "{}: no question of this kind is known; update this program",
            files.name
        ),
    }
}

/// "Not changed" that is not to be believed: the ground hears of it instead.
fn doubted(trust: &Trust, files: &PairFiles) -> AnalysisError {
    let why = match trust.doubt() {
        Some("place") => "not one place?",
        _ => "unlike the training",
    };
    AnalysisError {
        reason: FaultReason::Unsupported,
        detail: format!("{}: trust {:.2}, {why}", files.name, trust.score),
        message: format!(
            "{}: called unchanged with trust {:.2} ({why}): too dark, hazy, grey, clouded, or two places; look at both pictures",
            files.name, trust.score
        ),
    }
}

/// Sorts the runtime's error into what the ground is told.
fn analysis_error(error: &Error, files: &PairFiles) -> AnalysisError {
    let (reason, detail) = match error {
        Error::Image(error) => return AnalysisError::from(error),
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
