//! The language model's tokenizer: SentencePiece BPE with byte fallback (LLaMA).
//!
//! Reads a `tokenizer.model` and computes what the SentencePiece library computes
//! for it. Only the identity normaliser is accepted, which is LLaMA's; another one
//! is refused instead of being half followed. Special tokens are never recognised
//! inside a text: `</s>` in a question is four characters.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::path::Path;

use crate::Error;
use crate::protobuf::{Field, fields};

/// SentencePiece's visible space.
const SPACE: char = '\u{2581}';

/// What a piece is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte(u8),
}

#[derive(Debug, Clone)]
struct Piece {
    text: String,
    score: f32,
    kind: Kind,
}

/// A SentencePiece BPE model.
#[derive(Debug, Clone)]
pub struct SentencePiece {
    pieces: Vec<Piece>,
    ids: HashMap<String, u32>,
    bytes: Vec<Option<u32>>,
    unknown: u32,
    dummy_prefix: bool,
    longest_user_defined: usize,
}

impl SentencePiece {
    /// Reads a `tokenizer.model` file.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::Tokenizer`] when it is not a
    /// BPE model with the identity normaliser.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let content = std::fs::read(path).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&content).map_err(|problem| Error::Tokenizer {
            path: path.to_owned(),
            problem: format!("{problem}; use the tokenizer.model of a LLaMA model"),
        })
    }

    fn parse(content: &[u8]) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut dummy_prefix = true;
        let mut is_bpe = false;
        // SentencePiece's own default is to remove extra white space.
        let mut removes_whitespace = true;
        for field in fields(content) {
            match field? {
                (1, Field::Bytes(message)) => pieces.push(piece(message)?),
                (2, Field::Bytes(message)) => {
                    for field in fields(message) {
                        match field? {
                            (3, Field::Varint(kind)) => is_bpe = kind == 2,
                            (24, Field::Varint(1)) => {
                                return Err("white space as suffix".to_owned());
                            }
                            _ => {}
                        }
                    }
                }
                (3, Field::Bytes(message)) => {
                    for field in fields(message) {
                        match field? {
                            (2, Field::Bytes(map)) if !map.is_empty() => {
                                return Err("its normaliser is not the identity".to_owned());
                            }
                            (3, Field::Varint(value)) => dummy_prefix = value != 0,
                            (4, Field::Varint(value)) => removes_whitespace = value != 0,
                            (5, Field::Varint(0)) => {
                                return Err("does not escape white space".to_owned());
                            }
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        if !is_bpe {
            return Err("not a SentencePiece BPE model".to_owned());
        }
        if removes_whitespace {
            return Err("its normaliser removes white space".to_owned());
        }
        Self::index(pieces, dummy_prefix)
    }

    fn index(pieces: Vec<Piece>, dummy_prefix: bool) -> Result<Self, String> {
        let mut ids = HashMap::new();
        let mut bytes = vec![None; 256];
        let mut unknown = None;
        let mut longest_user_defined = 0;
        for (id, piece) in pieces.iter().enumerate() {
            let id = u32::try_from(id).map_err(|_| "more than 2^32 pieces".to_owned())?;
            match piece.kind {
                Kind::Unknown => unknown = Some(id),
                Kind::Byte(byte) => bytes[usize::from(byte)] = Some(id),
                Kind::Control => {}
                Kind::Normal | Kind::Unused | Kind::UserDefined => {
                    if piece.kind == Kind::UserDefined {
                        longest_user_defined = longest_user_defined.max(piece.text.len());
                    }
                    if ids.insert(piece.text.clone(), id).is_some() {
                        return Err(format!("piece `{}` occurs twice", piece.text));
                    }
                }
            }
        }
        Ok(Self {
            ids,
            bytes,
            unknown: unknown.ok_or("no unknown piece")?,
            pieces,
            dummy_prefix,
            longest_user_defined,
        })
    }

    /// Number of pieces. A language model may know more ids than this: padding
    /// that was added later has no piece.
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether the model has no pieces; never true of one that was read.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The ids of `text`, without any special token.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        if text.is_empty() {
            return Vec::new();
        }
        let mut normal = String::with_capacity(text.len() + 3);
        if self.dummy_prefix {
            normal.push(SPACE);
        }
        normal.extend(text.chars().map(|c| if c == ' ' { SPACE } else { c }));
        self.encode_normalised(&normal)
    }

    fn encode_normalised(&self, text: &str) -> Vec<u32> {
        let mut symbols = self.symbols(text);
        let mut agenda = BinaryHeap::new();
        for left in 1..symbols.len() {
            self.propose(text, &symbols, left - 1, left, &mut agenda);
        }
        while let Some(best) = agenda.pop() {
            let (left, right) = (best.left, best.right);
            let stale = symbols[left].end == symbols[left].start
                || symbols[right].end == symbols[right].start
                || symbols[right].end - symbols[left].start != best.bytes;
            if stale {
                continue;
            }
            symbols[left].end = symbols[right].end;
            symbols[left].next = symbols[right].next;
            symbols[right].end = symbols[right].start;
            if let Some(next) = symbols[left].next {
                symbols[next].previous = Some(left);
                self.propose(text, &symbols, left, next, &mut agenda);
            }
            if let Some(previous) = symbols[left].previous {
                self.propose(text, &symbols, previous, left, &mut agenda);
            }
        }

        let mut ids = Vec::new();
        let mut at = (!symbols.is_empty()).then_some(0);
        while let Some(index) = at {
            self.emit(&text[symbols[index].start..symbols[index].end], &mut ids);
            at = symbols[index].next;
        }
        ids
    }

    /// Single characters, and user-defined pieces as they stand.
    fn symbols(&self, text: &str) -> Vec<Symbol> {
        let mut symbols: Vec<Symbol> = Vec::with_capacity(text.len());
        let mut start = 0;
        while start < text.len() {
            let user_defined = self.user_defined_at(&text[start..]);
            let bytes = user_defined
                .unwrap_or_else(|| text[start..].chars().next().map_or(1, char::len_utf8));
            let index = symbols.len();
            if let Some(last) = symbols.last_mut() {
                last.next = Some(index);
            }
            symbols.push(Symbol {
                start,
                end: start + bytes,
                previous: index.checked_sub(1),
                next: None,
                frozen: user_defined.is_some(),
            });
            start += bytes;
        }
        symbols
    }

    fn user_defined_at(&self, text: &str) -> Option<usize> {
        let longest = self.longest_user_defined.min(text.len());
        (1..=longest).rev().find(|&bytes| {
            text.get(..bytes)
                .and_then(|head| self.ids.get(head))
                .is_some_and(|&id| self.pieces[id as usize].kind == Kind::UserDefined)
        })
    }

    fn propose(
        &self,
        text: &str,
        symbols: &[Symbol],
        left: usize,
        right: usize,
        agenda: &mut BinaryHeap<Merge>,
    ) {
        if symbols[left].frozen || symbols[right].frozen {
            return;
        }
        let (start, end) = (symbols[left].start, symbols[right].end);
        if let Some(&id) = self.ids.get(&text[start..end]) {
            agenda.push(Merge {
                score: self.pieces[id as usize].score,
                left,
                right,
                bytes: end - start,
            });
        }
    }

    /// The id of a symbol; one outside the vocabulary becomes its bytes.
    fn emit(&self, symbol: &str, ids: &mut Vec<u32>) {
        if let Some(&id) = self.ids.get(symbol) {
            ids.push(id);
            return;
        }
        let bytes: Option<Vec<u32>> = symbol
            .bytes()
            .map(|byte| self.bytes[usize::from(byte)])
            .collect();
        match bytes {
            Some(bytes) => ids.extend(bytes),
            // Neighbouring unknowns are one unknown.
            None if ids.last() == Some(&self.unknown) => {}
            None => ids.push(self.unknown),
        }
    }

    /// The text of `ids`. Control pieces and ids without a piece (padding added
    /// later) say nothing; invalid UTF-8 becomes replacement characters.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut bytes = Vec::new();
        for &id in ids {
            if let Some(piece) = self.pieces.get(id as usize) {
                match piece.kind {
                    Kind::Unknown => bytes.extend_from_slice(" \u{2047} ".as_bytes()),
                    _ => self.surface_of(piece, &mut bytes),
                }
            }
        }
        let text = lossy(&bytes);
        match text.strip_prefix(' ') {
            Some(rest) if self.dummy_prefix => rest.to_owned(),
            _ => text,
        }
    }

    /// The bytes that a token adds to a text, its leading space included; `None`
    /// when it adds none (control, unknown, and ids without a piece).
    pub fn surface(&self, id: u32) -> Option<Vec<u8>> {
        let piece = self.pieces.get(id as usize)?;
        if matches!(piece.kind, Kind::Control | Kind::Unknown | Kind::Unused) {
            return None;
        }
        let mut bytes = Vec::new();
        self.surface_of(piece, &mut bytes);
        (!bytes.is_empty()).then_some(bytes)
    }

    /// Whether the text of these pieces, no prefix added, is encoded to just them.
    pub fn is_canonical(&self, ids: &[u32]) -> bool {
        let mut text = String::new();
        for &id in ids {
            match self.pieces.get(id as usize) {
                Some(piece) => match piece.kind {
                    Kind::Normal | Kind::UserDefined => text += &piece.text,
                    // A character outside the vocabulary; of several bytes only all
                    // together would have a text.
                    Kind::Byte(b' ') => text.push(SPACE),
                    Kind::Byte(byte) if byte.is_ascii() => text.push(char::from(byte)),
                    _ => return false,
                },
                None => return false,
            }
        }
        self.encode_normalised(&text) == ids
    }

    /// Whether a text starts with a space that [`SentencePiece::decode`] takes off again.
    pub fn has_dummy_prefix(&self) -> bool {
        self.dummy_prefix
    }

    fn surface_of(&self, piece: &Piece, bytes: &mut Vec<u8>) {
        match piece.kind {
            Kind::Byte(byte) => bytes.push(byte),
            Kind::Control => {}
            _ => bytes.extend_from_slice(piece.text.replace(SPACE, " ").as_bytes()),
        }
    }
}

/// A stretch of the text that is one token so far; emptied when it is merged away.
#[derive(Debug)]
struct Symbol {
    start: usize,
    end: usize,
    previous: Option<usize>,
    next: Option<usize>,
    frozen: bool,
}

/// Two neighbours that may become one: best score first, then leftmost.
#[derive(Debug, PartialEq)]
struct Merge {
    score: f32,
    left: usize,
    right: usize,
    bytes: usize,
}

impl Eq for Merge {}

impl Ord for Merge {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score
            .total_cmp(&other.score)
            .then_with(|| other.left.cmp(&self.left))
    }
}

impl PartialOrd for Merge {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn piece(message: &[u8]) -> Result<Piece, String> {
    let (mut text, mut score, mut kind) = (String::new(), 0.0, 1);
    for field in fields(message) {
        match field? {
            (1, Field::Bytes(bytes)) => {
                text = String::from_utf8(bytes.to_vec())
                    .map_err(|_| "a piece is not UTF-8".to_owned())?;
            }
            (2, Field::Fixed32(bits)) => score = f32::from_bits(bits),
            (3, Field::Varint(value)) => kind = value,
            _ => {}
        }
    }
    let kind = match kind {
        1 => Kind::Normal,
        2 => Kind::Unknown,
        3 => Kind::Control,
        4 => Kind::UserDefined,
        5 => Kind::Unused,
        6 => Kind::Byte(byte_of(&text).ok_or_else(|| format!("`{text}` is not a byte piece"))?),
        other => return Err(format!("piece `{text}` is of unknown type {other}")),
    };
    Ok(Piece { text, score, kind })
}

/// `<0x0A>` is 10.
fn byte_of(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok()
}

/// UTF-8 with one replacement character for every byte that belongs to no character.
fn lossy(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        match std::str::from_utf8(rest) {
            Ok(valid) => {
                text.push_str(valid);
                break;
            }
            Err(error) => {
                let (valid, invalid) = rest.split_at(error.valid_up_to());
                text.push_str(std::str::from_utf8(valid).unwrap_or_default());
                text.push(char::REPLACEMENT_CHARACTER);
                rest = &invalid[1..];
            }
        }
    }
    text
}
