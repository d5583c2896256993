//! What is asked of a pair, what comes back, and the seam behind which the model sits.

use crate::pair_files::PairFiles;
use deltavlm_messages::{Alert, AnswerBody, FaultReason, Prompt};
use deltavlm_runtime::Turn;

/// Says what has changed in a pair. The model is one; tests use another.
pub trait Analyzer: Send {
    /// Names the model in every answer.
    fn model(&self) -> &str;

    /// Looks at a new pair.
    ///
    /// # Errors
    /// The pair or the model cannot be used.
    fn detect(&mut self, pair: &PairFiles) -> Result<Detection, AnalysisError>;

    /// Answers a question about a pair; `history` are the turns before it, oldest first.
    ///
    /// # Errors
    /// The pair or the model cannot be used, or there are no such questions yet.
    fn ask(
        &mut self,
        pair: &PairFiles,
        prompt: &Prompt,
        history: &[Turn],
    ) -> Result<AnalyzedAnswer, AnalysisError>;
}

/// What the model sees in a new pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// How sure the model is of its judgement.
    pub confidence: f32,
    /// What has changed, as the ground is to read it; `None` when nothing has.
    pub change: Option<Alert>,
}

/// An answer, for the air and for the dialogue that may follow.
#[derive(Debug, Clone, PartialEq)]
pub struct AnalyzedAnswer {
    /// What travels.
    pub body: AnswerBody,
    /// The pair, as [`PairImages::hash`](crate::PairImages::hash) names it.
    pub pair: u16,
    /// The question as the model read it, and the answer in the model's words.
    pub turn: Turn,
}

/// Why a pair has no detection and a question no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AnalysisError {
    /// What the ground is told.
    pub reason: FaultReason,
    /// A few words for the ground: a file, a size.
    pub detail: String,
    /// Everything, for the log: file, fault and remedy.
    pub message: String,
}

impl AnalysisError {
    /// The model's code panicked, which is a defect of it or of this program.
    pub(crate) fn panicked() -> Self {
        Self {
            reason: FaultReason::Inference,
            detail: "the model panicked".to_owned(),
            message: "the model panicked, see above; it is opened anew".to_owned(),
        }
    }
}
