//! How answers are made.

use std::fmt;

use deltavlm_runtime::Decoding;

/// How answers are made.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// How tokens are chosen.
    pub decoding: Decoding,
    /// Beams in free decoding; 0 and 1 are greedy.
    pub beams: usize,
    /// Generated tokens at most.
    pub max_tokens: Option<usize>,
}

/// In words, e.g. `free, 5 beams, at most 20 tokens`.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.decoding.name())?;
        if self.beams > 1 {
            write!(f, ", {} beams", self.beams)?;
        }
        match self.max_tokens {
            Some(tokens) => write!(f, ", at most {tokens} tokens"),
            None => Ok(()),
        }
    }
}
