//! The shipped nano bundle: it is what the export command makes of the shipped
//! weights, and its answers do not depend on how they are decoded.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use deltavlm_bundle::{Precision, Target};
use deltavlm_export::build::{Measure, Options, build};
use deltavlm_export::source::SourcePaths;
use deltavlm_runtime::{AnswerContent, Decoding, Instruction, Model, Request};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn names(directory: &Path) -> BTreeSet<String> {
    std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn the_shipped_bundle_is_what_the_command_makes_of_the_shipped_weights() {
    let weights = root().join("models/nano/weights");
    let shipped = root().join("models/nano/bundle");
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("bundle");
    build(&Options {
        paths: SourcePaths {
            vit: weights.join("eva_vit_g.pth"),
            instructblip: None,
            checkpoint: weights.join("checkpoint_best.pth"),
            llm: weights.join("llm"),
            bert_vocab: weights.join("bert/vocab.txt"),
            config: Some(weights.join("deltavlm.json")),
            skip: Vec::new(),
        },
        precision: Precision::Int8,
        segment_precision: BTreeMap::new(),
        target: Target::Cpu,
        out: out.clone(),
        calibrate: None,
        measure: Measure::Always,
        threads: 2,
        show_progress: false,
    })
    .unwrap();

    assert_eq!(names(&out), names(&shipped));
    for name in names(&out) {
        let (made, kept) = (out.join(&name), shipped.join(&name));
        assert!(
            std::fs::read(made).unwrap() == std::fs::read(kept).unwrap(),
            "{name} differs; run the `dvlm-export build` command of models/nano/reproduce.sh"
        );
    }
}

/// Once the choice between cells was made from what the model expects after the
/// prompt instead of after `roads [`: the grammar gave other cells than the model.
#[test]
fn an_answer_that_parses_is_the_same_within_its_grammar() {
    let mut model = Model::open(root().join("models/nano/bundle"), &Default::default()).unwrap();
    let pairs = root().join("demo/pairs");
    let mut compared = 0;
    for name in names(&pairs.join("A")) {
        let (before, after) = (pairs.join("A").join(&name), pairs.join("B").join(&name));
        let pair = model.pair(&before, &after).unwrap();
        for instruction in [
            Instruction::Classify,
            Instruction::Count,
            Instruction::Localize,
        ] {
            let request = Request::fixed(instruction);
            let free = request.clone().decoding(Decoding::Free);
            let free = model.ask(&pair, &free).unwrap();
            if matches!(free.content, AnswerContent::Unparsed { .. }) {
                continue;
            }
            let constrained = model.ask(&pair, &request).unwrap();
            assert_eq!(constrained.text, free.text, "{name}, {instruction:?}");
            compared += 1;
        }
    }
    assert!(compared > 12, "only {compared} free answers could be read");
}
