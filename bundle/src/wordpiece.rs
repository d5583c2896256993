//! BERT's uncased WordPiece tokenizer, which the Q-Former reads instructions with.
//!
//! Special tokens are never recognised inside a text: `[SEP]` in a question is
//! five characters and letters, so nothing that a user types can end a sequence.

use std::collections::HashMap;
use std::path::Path;

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

use crate::Error;

/// Words longer than this are unknown, as published.
const MAX_CHARACTERS_OF_A_WORD: usize = 100;

/// A WordPiece vocabulary and the rules that go with it.
#[derive(Debug, Clone)]
pub struct WordPiece {
    pieces: HashMap<String, u32>,
    size: usize,
    unknown: u32,
    start: u32,
    end: u32,
}

impl WordPiece {
    /// Reads a vocabulary file: one piece a line, the line number is the id.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::Tokenizer`] when it lacks a
    /// special token.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        let mut pieces = HashMap::new();
        let size = text.lines().count();
        for (id, line) in text.lines().enumerate() {
            let id = u32::try_from(id).map_err(|_| problem(path, "more than 2^32 lines"))?;
            pieces.insert(line.trim_end_matches('\r').to_owned(), id);
        }
        let special = |token: &str| {
            pieces.get(token).copied().ok_or_else(|| {
                problem(
                    path,
                    &format!("`{token}` is missing; use the vocab.txt of bert-base-uncased"),
                )
            })
        };
        let (unknown, start, end) = (special("[UNK]")?, special("[CLS]")?, special("[SEP]")?);
        Ok(Self {
            pieces,
            size,
            unknown,
            start,
            end,
        })
    }

    /// Number of lines: one more than the largest id that [`WordPiece::encode`] gives.
    pub fn len(&self) -> usize {
        self.size
    }

    /// Never: the special tokens are there.
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// The ids of `text` between `[CLS]` and `[SEP]`, at most `max_tokens` in all;
    /// what is too much is cut from the left.
    pub fn encode(&self, text: &str, max_tokens: usize) -> Vec<u32> {
        let mut body = Vec::new();
        for word in words(text) {
            self.split(&word, &mut body);
        }
        let room = max_tokens.saturating_sub(2);
        let mut ids = vec![self.start];
        ids.extend_from_slice(&body[body.len().saturating_sub(room)..]);
        ids.push(self.end);
        ids
    }

    /// The number of tokens of `text` without special tokens and without a limit.
    pub fn count(&self, text: &str) -> usize {
        let mut body = Vec::new();
        for word in words(text) {
            self.split(&word, &mut body);
        }
        body.len()
    }

    /// Longest piece first; a word with any part outside the vocabulary is unknown as a whole.
    fn split(&self, word: &str, ids: &mut Vec<u32>) {
        let ends: Vec<usize> = word
            .char_indices()
            .map(|(at, _)| at)
            .skip(1)
            .chain([word.len()])
            .collect();
        if ends.len() > MAX_CHARACTERS_OF_A_WORD {
            ids.push(self.unknown);
            return;
        }
        let before = ids.len();
        let mut start = 0;
        while start < word.len() {
            let found = ends
                .iter()
                .rev()
                .take_while(|&&end| end > start)
                .find_map(|&end| {
                    let id = if start == 0 {
                        self.pieces.get(&word[..end])
                    } else {
                        self.pieces.get(&format!("##{}", &word[start..end]))
                    };
                    id.map(|&id| (end, id))
                });
            let Some((end, id)) = found else {
                ids.truncate(before);
                ids.push(self.unknown);
                return;
            };
            ids.push(id);
            start = end;
        }
    }
}

/// Cleans, spaces out ideographs, lower-cases, strips accents, splits at punctuation.
fn words(text: &str) -> Vec<String> {
    let mut spaced = String::with_capacity(text.len());
    for character in text.chars() {
        if is_dropped(character) {
            continue;
        }
        if is_ideograph(character) {
            spaced.extend([' ', character, ' ']);
        } else {
            spaced.push(if is_space(character) { ' ' } else { character });
        }
    }

    let mut words = Vec::new();
    for token in spaced.nfc().collect::<String>().split_whitespace() {
        let mut word = String::new();
        let bare = token.to_lowercase();
        for character in bare
            .nfd()
            .filter(|c| c.general_category() != GeneralCategory::NonspacingMark)
        {
            if is_punctuation(character) {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                words.push(character.to_string());
            } else {
                word.push(character);
            }
        }
        if !word.is_empty() {
            words.push(word);
        }
    }
    words
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r')
        || character.general_category() == GeneralCategory::SpaceSeparator
}

/// Control characters other than white space, and the replacement character.
fn is_dropped(character: char) -> bool {
    character == '\u{fffd}'
        || (!matches!(character, '\t' | '\n' | '\r')
            && character.general_category_group() == GeneralCategoryGroup::Other)
}

fn is_punctuation(character: char) -> bool {
    character.is_ascii_punctuation()
        || character.general_category_group() == GeneralCategoryGroup::Punctuation
}

/// The CJK blocks that BERT spaces out.
fn is_ideograph(character: char) -> bool {
    matches!(
        u32::from(character),
        0x4E00..=0x9FFF
            | 0x3400..=0x4DBF
            | 0x20000..=0x2A6DF
            | 0x2A700..=0x2B73F
            | 0x2B740..=0x2B81F
            | 0x2B820..=0x2CEAF
            | 0xF900..=0xFAFF
            | 0x2F800..=0x2FA1F
    )
}

fn problem(path: &Path, problem: &str) -> Error {
    Error::Tokenizer {
        path: path.to_owned(),
        problem: problem.to_owned(),
    }
}
