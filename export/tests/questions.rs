//! A question is text from outside: whatever it says, it is answered or refused, and
//! never ends the program.
#![cfg(feature = "verify")]

mod common;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use common::{Golden, Model as Published, golden_directory, quick};
use deltavlm_bundle::{FileRecord, MANIFEST_FILE, Manifest, Precision};
use deltavlm_runtime::{Decoding, EngineChoice, Model, Options, Pair, Request};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

fn open(bundle: &Path) -> Result<Model, deltavlm_runtime::Error> {
    let options = Options {
        engine: EngineChoice::Tract,
        ..Options::default()
    };
    Model::open(bundle, &options)
}

fn pair(model: &mut Model) -> Pair {
    let picture = |name: &str| golden_directory().join(name);
    let (before, after) = (picture("before.png"), picture("after.png"));
    model.pair(before.as_path(), after.as_path()).unwrap()
}

/// Failure story: `--bert-vocab` with more lines than the checkpoint has word
/// embeddings was accepted, and the first question with such a word, `zebra zebra`,
/// made the engine look outside its table and panic: one radio message stopped the
/// board's worker.
#[test]
fn zebra_zebra_is_refused_when_building_and_when_opening() {
    let model = Published::tiny();
    let vocabulary = std::fs::read_to_string(&model.paths.bert_vocab).unwrap();
    let longer = format!("{vocabulary}{}zebra\n", "[unused]\n".repeat(10));
    let bundle = model.out();
    quick(model.paths.clone(), Precision::F32, &bundle).unwrap();

    // A bundle whose records are right and whose vocabulary is another model's.
    let mut manifest = Manifest::read(&bundle).unwrap();
    let name = manifest.tokenizers.qformer.clone();
    std::fs::write(bundle.join(&name), &longer).unwrap();
    for file in manifest.files.iter_mut().filter(|file| file.path == name) {
        *file = FileRecord::measure(&bundle, &name).unwrap();
    }
    std::fs::write(bundle.join(MANIFEST_FILE), manifest.to_json()).unwrap();
    let error = open(&bundle).unwrap_err().to_string();
    assert!(
        error.contains(&name) && error.contains("411") && error.contains("401"),
        "{error}"
    );

    std::fs::remove_dir_all(&bundle).unwrap();
    std::fs::write(&model.paths.bert_vocab, &longer).unwrap();
    let error = model.error();
    assert!(
        error.contains("vocab.txt") && error.contains("411") && error.contains("401"),
        "{error}"
    );
}

/// A bundle of the tiny model with another legal WordPiece vocabulary.
fn with_vocabulary(model: &Published, name: &str, lines: &str) -> PathBuf {
    let mut paths = model.paths.clone();
    paths.bert_vocab = model.directory.path().join(format!("{name}.txt"));
    std::fs::write(&paths.bert_vocab, lines).unwrap();
    let out = model.directory.path().join(name);
    quick(paths, Precision::F32, &out).unwrap();
    out
}

/// Text as a radio may bring it: any characters, words of the vocabularies, control
/// pieces by name, and very long runs.
fn questions() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        any::<char>().prop_map(String::from),
        "[ -~]{0,12}",
        Just("zebra".to_owned()),
        Just("</s>".to_owned()),
        Just("[PAD]".to_owned()),
        Just("[SEP]".to_owned()),
        Just("<0x00>".to_owned()),
        Just("\u{0}".to_owned()),
        Just("a".repeat(300)),
    ];
    proptest::collection::vec(word, 0..40).prop_map(|words| words.join(" "))
}

#[test]
fn arbitrary_questions_are_answered_or_refused_on_every_legal_vocabulary() {
    let model = Published::tiny();
    let whole = std::fs::read_to_string(&model.paths.bert_vocab).unwrap();
    let special = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
    let mut bundles = vec![
        // As many lines as the checkpoint has rows: the last one is a word.
        with_vocabulary(&model, "full", &format!("{whole}zebra\n")),
        // Nothing but special tokens: every word is unknown.
        with_vocabulary(&model, "special", special),
        // Repeated, empty and blank lines.
        with_vocabulary(
            &model,
            "blank",
            &format!("{special}a\na\n\n \n##b\nzebra\n"),
        ),
    ];
    let golden = model.directory.path().join("golden");
    quick(Golden::paths("llm"), Precision::Int8, &golden).unwrap();
    bundles.push(golden);
    for bundle in bundles {
        let mut model = open(&bundle).unwrap();
        let pair = pair(&mut model);
        let model = RefCell::new(model);
        let config = Config {
            cases: 24,
            failure_persistence: None,
            ..Config::default()
        };
        let strategy = (questions(), any::<bool>(), 1usize..3);
        TestRunner::new(config)
            .run(&strategy, |(text, raw, beams)| {
                let request = if raw {
                    Request::raw(&text)
                } else {
                    Request::question(&text)
                };
                let request = request.decoding(Decoding::Free).beams(beams).max_tokens(4);
                match model.borrow_mut().ask(&pair, &request) {
                    Ok(answer) => prop_assert!(answer.ids.len() <= 4),
                    // Too long or empty: said to whoever asked.
                    Err(error) => prop_assert_eq!(error.fault(), deltavlm_runtime::Fault::Caller),
                }
                Ok(())
            })
            .unwrap();
    }
}
