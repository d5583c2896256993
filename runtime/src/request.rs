//! What is asked about a pair.

use deltavlm_bundle::Turn;
use deltavlm_messages::Instruction;

/// The question itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Prompt {
    Fixed(Instruction),
    Question { text: String, history: Vec<Turn> },
    Raw(String),
}

/// How tokens are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Decoding {
    /// Within the instruction's answer grammar, so that the answer always parses.
    /// Questions without a grammar are decoded freely.
    #[default]
    Constrained,
    /// As published: greedy or beam search with a repetition penalty.
    Free,
}

impl Decoding {
    /// `constrained` or `free`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Constrained => "constrained",
            Self::Free => "free",
        }
    }
}

/// One question to be answered about a pair.
///
/// ```
/// use deltavlm_runtime::{Instruction, Request};
///
/// let request = Request::fixed(Instruction::Count);
/// let open = Request::question("Are there any changes in roads or lanes?").max_tokens(20);
/// # let _ = (request, open);
/// ```
#[derive(Debug, Clone)]
pub struct Request {
    pub(crate) prompt: Prompt,
    pub(crate) decoding: Decoding,
    pub(crate) beams: usize,
    pub(crate) max_tokens: Option<usize>,
}

impl Request {
    fn new(prompt: Prompt) -> Self {
        Self {
            prompt,
            decoding: Decoding::default(),
            beams: 1,
            max_tokens: None,
        }
    }

    /// A fixed instruction.
    pub fn fixed(instruction: Instruction) -> Self {
        Self::new(Prompt::Fixed(instruction))
    }

    /// An open question, processed as in training.
    pub fn question(text: impl Into<String>) -> Self {
        Self::new(Prompt::Question {
            text: text.into(),
            history: Vec::new(),
        })
    }

    /// A question that follows earlier turns. When all of it is more than the
    /// model takes, the oldest turns are left out and the answer says how many.
    pub fn follow_up(history: Vec<Turn>, text: impl Into<String>) -> Self {
        Self::new(Prompt::Question {
            text: text.into(),
            history,
        })
    }

    /// A text that goes to both tokenizers untouched.
    pub fn raw(text: impl Into<String>) -> Self {
        Self::new(Prompt::Raw(text.into()))
    }

    /// The fixed instruction, where it is one.
    pub(crate) fn instruction(&self) -> Option<Instruction> {
        match self.prompt {
            Prompt::Fixed(instruction) => Some(instruction),
            _ => None,
        }
    }

    /// Chooses how tokens are chosen.
    #[must_use]
    pub fn decoding(mut self, decoding: Decoding) -> Self {
        self.decoding = decoding;
        self
    }

    /// Searches with this many beams; more than one needs [`Decoding::Free`].
    #[must_use]
    pub fn beams(mut self, beams: usize) -> Self {
        self.beams = beams;
        self
    }

    /// Generates at most this many tokens instead of the bundle's default.
    #[must_use]
    pub fn max_tokens(mut self, tokens: usize) -> Self {
        self.max_tokens = Some(tokens);
        self
    }
}
