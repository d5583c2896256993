//! Text processing and both tokenizers against the customary Python ones.
//! `tests/golden/make_tokenizer_golden.py` wrote the expectations.

use std::path::PathBuf;

use deltavlm_bundle::{Error, PromptTemplate, SentencePiece, WordPiece};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
    decodings: Vec<Decoding>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    processed: String,
    llm_ids: Vec<u32>,
    llm_text: String,
    bert_ids: Vec<u32>,
}

#[derive(Deserialize)]
struct Decoding {
    ids: Vec<u32>,
    text: String,
}

fn directory() -> PathBuf {
    std::env::var_os("DELTAVLM_TOKENIZER_GOLDEN").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")),
        PathBuf::from,
    )
}

fn golden() -> Golden {
    let text = std::fs::read_to_string(directory().join("tokenizers.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn text_is_processed_as_published() {
    let rules = PromptTemplate {
        question_prefix: "q: ".to_owned(),
        answer_prefix: "a: ".to_owned(),
        max_words: 50,
    };
    for case in golden().cases {
        assert_eq!(rules.process(&case.text), case.processed, "{:?}", case.text);
    }
}

#[test]
fn sentencepiece_encodes_and_decodes_as_the_library() {
    let tokenizer = SentencePiece::open(&directory().join("tokenizer.model")).unwrap();
    let golden = golden();
    for case in golden.cases {
        assert_eq!(
            tokenizer.encode(&case.text),
            case.llm_ids,
            "{:?}",
            case.text
        );
        assert_eq!(
            tokenizer.decode(&case.llm_ids),
            case.llm_text,
            "{:?}",
            case.text
        );
    }
    for case in golden.decodings {
        assert_eq!(tokenizer.decode(&case.ids), case.text, "{:?}", case.ids);
    }
}

#[test]
fn wordpiece_encodes_as_transformers_with_truncation_from_the_left() {
    let tokenizer = WordPiece::open(&directory().join("vocab.txt")).unwrap();
    for case in golden().cases {
        assert_eq!(
            tokenizer.encode(&case.text, 128),
            case.bert_ids,
            "{:?}",
            case.text
        );
    }
}

#[test]
fn a_truncated_tokenizer_is_an_error_and_never_a_panic() {
    let whole = std::fs::read(directory().join("tokenizer.model")).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("tokenizer.model");
    for length in (0..whole.len()).step_by(97) {
        std::fs::write(&path, &whole[..length]).unwrap();
        // The trainer's and normaliser's parameters come last, so every cut loses one of them.
        let error = SentencePiece::open(&path).unwrap_err();
        assert!(
            matches!(error, Error::Tokenizer { .. }),
            "{length}: {error}"
        );
        assert!(error.to_string().contains("tokenizer.model"), "{error}");
    }
}
