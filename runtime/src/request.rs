//! What is asked about a pair.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use deltavlm_bundle::Turn;
use deltavlm_messages::Instruction;

use crate::Error;

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
    pub(crate) guard: Guard,
}

impl Request {
    fn new(prompt: Prompt) -> Self {
        Self {
            prompt,
            decoding: Decoding::default(),
            beams: 1,
            max_tokens: None,
            guard: Guard::default(),
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

    /// Gives up, between two steps, when `guard` says so.
    #[must_use]
    pub fn within(mut self, guard: &Guard) -> Self {
        self.guard = guard.clone();
        self
    }

    /// Gives up, between two steps, when this instant has passed.
    #[must_use]
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.guard.deadline = Some(deadline);
        self
    }

    /// Gives up, between two steps, when this flag is raised.
    #[must_use]
    pub fn cancelled_by(mut self, flag: Arc<AtomicBool>) -> Self {
        self.guard.cancel = Some(flag);
        self
    }
}

/// When to give up.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// The latest time to start another step.
    pub deadline: Option<Instant>,
    /// Raised by another thread to stop the work.
    pub cancel: Option<Arc<AtomicBool>>,
}

impl Guard {
    /// No deadline, no flag.
    pub const NONE: &'static Self = &Self {
        deadline: None,
        cancel: None,
    };

    /// Fails when it is time to give up. `during` names the step that would come next.
    pub(crate) fn check(&self, started: Instant, during: &'static str) -> Result<(), Error> {
        if self
            .cancel
            .as_ref()
            .is_some_and(|flag| flag.load(Ordering::Relaxed))
        {
            return Err(Error::Cancelled { during });
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Error::Deadline {
                after: Duration::from_nanos(
                    u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX),
                ),
                during,
            }),
            _ => Ok(()),
        }
    }
}
