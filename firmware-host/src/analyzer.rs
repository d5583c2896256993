//! What is asked of a pair, what comes back, and the seam behind which the model sits.

use crate::pair_files::PairFiles;
use deltavlm_messages::{AnswerBody, CellSet, FaultReason, Instruction};
use sha2::{Digest, Sha256};
use std::{fs::File, io, path::Path};

/// Says what has changed in a pair. The model is one; tests use another.
pub trait Analyzer: Send {
    /// Names the model in every answer.
    fn model(&self) -> &str;

    /// Looks at a new pair.
    ///
    /// # Errors
    /// The pair or the model cannot be used.
    fn detect(&mut self, pair: &PairFiles) -> Result<Detection, AnalysisError>;

    /// Answers a question about a pair.
    ///
    /// # Errors
    /// The pair or the model cannot be used.
    fn ask(
        &mut self,
        pair: &PairFiles,
        question: &Question,
    ) -> Result<AnalyzedAnswer, AnalysisError>;
}

/// What the model sees in a new pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// Whether there is a change.
    pub changed: bool,
    /// How sure the model is of that.
    pub confidence: f32,
    /// Changed roads; 0 where there is no change.
    pub roads: u32,
    /// Changed buildings; 0 where there is no change.
    pub buildings: u32,
    /// Cells in which roads changed.
    pub roads_grid: CellSet,
    /// Cells in which buildings changed.
    pub buildings_grid: CellSet,
}

impl Detection {
    /// No change, with that confidence.
    #[must_use]
    pub fn unchanged(confidence: f32) -> Self {
        Self {
            changed: false,
            confidence,
            roads: 0,
            buildings: 0,
            roads_grid: CellSet::EMPTY,
            buildings_grid: CellSet::EMPTY,
        }
    }
}

/// A question about a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// A fixed instruction.
    Fixed(Instruction),
    /// Free words, after earlier turns.
    Text {
        /// Questions and answers so far, oldest first.
        history: Vec<(String, String)>,
        /// The question.
        text: String,
    },
}

/// An answer, for the air and for the dialogue that may follow.
#[derive(Debug, Clone, PartialEq)]
pub struct AnalyzedAnswer {
    /// What travels.
    pub body: AnswerBody,
    /// The question as the model read it.
    pub prompt: String,
    /// The answer in the model's words.
    pub text: String,
}

/// Why there is no finding and no answer.
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

/// The pair's short name in messages: the first two bytes, as a little-endian number, of the
/// CRC-32C of the SHA-256 of the before-file followed by that of the after-file.
///
/// A file that cannot be read counts as empty, so that a fault has a name as well.
#[must_use]
pub fn pair_hash(pair: &PairFiles) -> u16 {
    let digest = |path: Option<&Path>| path.and_then(|path| sha256(path).ok()).unwrap_or_default();
    let before = digest(pair.before.as_deref());
    let after = digest(Some(&pair.after));
    deltavlm_messages::short_hash(&[before, after].concat())
}

fn sha256(path: &Path) -> io::Result<Vec<u8>> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match io::Read::read(&mut file, &mut buffer)? {
            0 => return Ok(hasher.finalize().to_vec()),
            n => hasher.update(&buffer[..n]),
        }
    }
}
