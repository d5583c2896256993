//! Tokenizer files of any size that read every text: letters first, then all
//! short runs of them.

use prost::Message;

/// `ModelProto` of SentencePiece, the fields that a reader needs.
#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<Trainer>,
    #[prost(message, optional, tag = "3")]
    normalizer: Option<Normalizer>,
}

#[derive(Clone, PartialEq, Message)]
struct Piece {
    #[prost(string, optional, tag = "1")]
    piece: Option<String>,
    #[prost(float, optional, tag = "2")]
    score: Option<f32>,
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct Trainer {
    #[prost(int32, optional, tag = "3")]
    model_type: Option<i32>,
    #[prost(int32, optional, tag = "4")]
    vocab_size: Option<i32>,
    #[prost(bool, optional, tag = "35")]
    byte_fallback: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
struct Normalizer {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(bool, optional, tag = "3")]
    add_dummy_prefix: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    remove_extra_whitespaces: Option<bool>,
    #[prost(bool, optional, tag = "5")]
    escape_whitespaces: Option<bool>,
}

const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const BYTE: i32 = 6;
const BPE: i32 = 2;

/// A LLaMA-like SentencePiece model of `size` pieces.
pub(super) fn sentencepiece(size: usize) -> Vec<u8> {
    let piece = |text: String, score: f32, kind: i32| Piece {
        piece: Some(text),
        score: Some(score),
        kind: Some(kind),
    };
    let mut pieces = vec![
        piece("<unk>".to_owned(), 0.0, UNKNOWN),
        piece("<s>".to_owned(), 0.0, CONTROL),
        piece("</s>".to_owned(), 0.0, CONTROL),
    ];
    pieces.extend((0..256).map(|byte| piece(format!("<0x{byte:02X}>"), 0.0, BYTE)));
    let characters: Vec<String> = ('a'..='z')
        .chain('0'..='9')
        .chain("?,'-[]/ ".chars())
        .map(String::from)
        .collect();
    let singles = characters.iter().map(|c| {
        if c == " " {
            "\u{2581}".to_owned()
        } else {
            c.clone()
        }
    });
    let room = size - pieces.len();
    let texts: Vec<String> = singles.clone().take(room).collect();
    let merged: Vec<String> = runs()
        .map(|run| run.replace(' ', "\u{2581}"))
        .take(room - texts.len())
        .collect();
    for (rank, text) in merged.into_iter().enumerate() {
        pieces.push(piece(text, -(rank as f32), NORMAL));
    }
    let least = -(pieces.len() as f32);
    pieces.extend(texts.into_iter().map(|text| piece(text, least, NORMAL)));
    let model = Model {
        trainer: Some(Trainer {
            model_type: Some(BPE),
            vocab_size: Some(size as i32),
            byte_fallback: Some(true),
        }),
        normalizer: Some(Normalizer {
            name: Some("identity".to_owned()),
            add_dummy_prefix: Some(true),
            remove_extra_whitespaces: Some(false),
            escape_whitespaces: Some(true),
        }),
        pieces,
    };
    model.encode_to_vec()
}

/// A BERT-like vocabulary of `size` lines, special tokens at the published places
/// where there is room.
pub(super) fn wordpiece(size: usize) -> String {
    let mut lines = vec!["[PAD]".to_owned()];
    let unused = if size > 1000 { 99 } else { 0 };
    lines.extend((0..unused).map(|n| format!("[unused{n}]")));
    lines.extend(["[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(String::from));
    let characters: Vec<String> = ('a'..='z')
        .chain('0'..='9')
        .chain("?,'-[]/".chars())
        .map(String::from)
        .collect();
    lines.extend(characters.iter().cloned());
    lines.extend(characters.iter().map(|c| format!("##{c}")));
    let room = size - lines.len();
    lines.extend(runs().filter(|run| !run.contains(' ')).take(room));
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

/// Runs of two to four letters, a space before them or not, shortest first.
fn runs() -> impl Iterator<Item = String> {
    let letters = || "etaoinshrdlucmfwypvbgkjqxz".chars();
    let two = move || letters().flat_map(move |a| letters().map(move |b| format!("{a}{b}")));
    let one = letters().map(|a| format!(" {a}"));
    let three = move || two().flat_map(move |ab| letters().map(move |c| format!("{ab}{c}")));
    let four = three().flat_map(move |abc| letters().map(move |d| format!("{abc}{d}")));
    one.chain(two().flat_map(|run| [run.clone(), format!(" {run}")]))
        .chain(three().flat_map(|run| [run.clone(), format!(" {run}")]))
        .chain(four)
}
