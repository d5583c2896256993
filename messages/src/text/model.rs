//! The model: a word's class follows from the class before it, the word from its class.

use super::{
    range::{Decoder, Encoder, Share},
    words::{CAPITAL, CLASSES, COUNT, END, MARKS, SENTENCES, SPELLED, WHOLE},
};

/// `TRANSITIONS[before * COUNT + class]` is the root of the share of `class` after `before`, in
/// 255ths; see the test that makes the table.
const TRANSITIONS: &[u8; COUNT * COUNT] = include_bytes!("transitions.bin");

/// Letters by how often they are expected in a word that is spelled out; then all other bytes.
const LETTERS: &[u8] = b"etaoinsrhldcumfpgwybvkxjqz0123456789-'_/.,()ABCDEFGHIJKLMNOPQRSTUVWXYZ";
/// Shares of: the end of the word, a letter at place 0 to 11, 12 to 35, further back, other bytes.
const SPELLING: [u32; 5] = [600, 220, 60, 16, 3];

/// Something that is coded as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// The text is over.
    End,
    /// A word of the vocabulary, by class and place.
    Word { class: usize, place: usize },
    /// The next word is capitalised.
    Capital,
    /// A word that the vocabulary does not have.
    Spelled(&'a [u8]),
}

impl Token<'_> {
    fn class(&self) -> usize {
        match self {
            Self::End => END,
            Self::Word { class, .. } => *class,
            Self::Capital => CAPITAL,
            Self::Spelled(_) => SPELLED,
        }
    }
}

/// Words of a class with their shares.
fn words(class: usize) -> impl Iterator<Item = (&'static str, u32)> {
    let listed = CLASSES[class].split_ascii_whitespace().map(|entry| {
        let (word, digit) = entry.split_at(entry.len() - 1);
        (word, 1 << (digit.as_bytes()[0] - b'0'))
    });
    let whole = if class == SENTENCES { &WHOLE[..] } else { &[] };
    listed.chain(whole.iter().map(|sentence| (*sentence, 1)))
}

/// The class and place of a word.
pub(super) fn find(word: &str) -> Option<(usize, usize)> {
    (MARKS + 1..COUNT)
        .filter(|&class| class != SENTENCES)
        .find_map(|class| {
            words(class)
                .position(|(listed, _)| listed == word)
                .map(|place| (class, place))
        })
}

/// The place of a mark among [`MARKS`].
pub(super) fn find_mark(mark: char) -> Option<usize> {
    words(MARKS).position(|(listed, _)| listed.starts_with(mark))
}

/// The place of a whole sentence.
pub(super) fn find_sentence(text: &str) -> Option<usize> {
    WHOLE.iter().position(|sentence| *sentence == text)
}

/// The word at a place.
pub(super) fn word(class: usize, place: usize) -> Option<&'static str> {
    words(class).nth(place).map(|(word, _)| word)
}

fn class_shares(before: usize) -> impl Iterator<Item = u32> {
    let row = &TRANSITIONS[before * COUNT..(before + 1) * COUNT];
    row.iter()
        .map(|&root| u32::from(root) * u32::from(root) + 1)
}

fn spelling_shares() -> impl Iterator<Item = u32> {
    let letter = |symbol: usize| match symbol {
        0 => SPELLING[0],
        _ => match LETTERS
            .iter()
            .position(|&letter| usize::from(letter) == symbol)
        {
            Some(0..12) => SPELLING[1],
            Some(12..36) => SPELLING[2],
            Some(_) => SPELLING[3],
            None => SPELLING[4],
        },
    };
    (0..256).map(letter)
}

fn share(mut shares: impl Iterator<Item = u32>, symbol: usize) -> Share {
    let from: u32 = shares.by_ref().take(symbol).sum();
    let to = from + shares.next().unwrap_or(0);
    Share {
        from,
        to,
        total: to + shares.sum::<u32>(),
    }
}

fn symbol(shares: impl Iterator<Item = u32> + Clone, decoder: &mut Decoder<'_>) -> Option<usize> {
    let total = shares.clone().sum();
    let at = decoder.peek(total);
    let mut from = 0;
    for (symbol, width) in shares.enumerate() {
        if at < from + width {
            decoder.skip(Share {
                from,
                to: from + width,
                total,
            });
            return Some(symbol);
        }
        from += width;
    }
    None
}

/// Codes a token that follows one of class `before`, and returns its class.
pub(super) fn put(encoder: &mut Encoder<'_>, before: usize, token: Token<'_>) -> usize {
    let class = token.class();
    encoder.put(share(class_shares(before), class));
    match token {
        Token::Word { place, .. } => {
            encoder.put(share(words(class).map(|(_, share)| share), place))
        }
        // A zero byte never occurs in a word that is spelled out: it ends it.
        Token::Spelled(bytes) => {
            bytes
                .iter()
                .chain(&[0])
                .for_each(|&byte| encoder.put(share(spelling_shares(), usize::from(byte))));
        }
        Token::End | Token::Capital => {}
    }
    class
}

/// What follows a token of class `before`: its class, and for a word its place. The bytes of a word
/// that is spelled out go to `spelled`, which returns false when there are too many.
pub(super) fn get(
    decoder: &mut Decoder<'_>,
    before: usize,
    mut spelled: impl FnMut(u8) -> bool,
) -> Option<(usize, usize)> {
    let row: [u32; COUNT] = {
        let mut row = [0; COUNT];
        row.iter_mut()
            .zip(class_shares(before))
            .for_each(|(place, share)| *place = share);
        row
    };
    let class = symbol(row.iter().copied(), decoder)?;
    let place = match class {
        END | CAPITAL => 0,
        SPELLED => {
            let mut shares = [0; 256];
            shares
                .iter_mut()
                .zip(spelling_shares())
                .for_each(|(place, share)| *place = share);
            loop {
                match symbol(shares.iter().copied(), decoder)? {
                    0 => break 0,
                    byte if spelled(byte as u8) => {}
                    _ => return None,
                }
            }
        }
        _ => {
            let total = words(class).map(|(_, share)| share).sum();
            let at = decoder.peek(total);
            let mut from = 0;
            let (place, share) =
                words(class)
                    .map(|(_, share)| share)
                    .enumerate()
                    .find(|(_, share)| {
                        let found = at < from + share;
                        from += if found { 0 } else { *share };
                        found
                    })?;
            decoder.skip(Share {
                from,
                to: from + share,
                total,
            });
            place
        }
    };
    Some((class, place))
}
