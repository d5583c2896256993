//! The shipped nano bundle: it is what the export command makes of the shipped
//! weights, and its answers do not depend on how they are decoded.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use deltavlm_bundle::{Precision, Target};
use deltavlm_export::build::{Measure, Options, build};
use deltavlm_export::source::SourcePaths;
use deltavlm_runtime::{AnswerContent, Decoding, Image, Instruction, Model, Request};

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

/// Twelve bits read as sixteen, and grey pictures, once were "not changed" as surely as
/// any other.
#[test]
fn pictures_unlike_the_training_are_doubted_and_the_samples_are_not() {
    let mut model = Model::open(root().join("models/nano/bundle"), &Default::default()).unwrap();
    let pairs = root().join("demo/pairs");
    let limits = Default::default();
    let read = |date: &str, name: &str| Image::open(&pairs.join(date).join(name), &limits).unwrap();
    let varied = |image: &Image, vary: fn([u8; 3]) -> [u8; 3]| {
        let (width, height) = image.size();
        let pixels = image.rgb().chunks_exact(3);
        let rgb = pixels.flat_map(|p| vary([p[0], p[1], p[2]])).collect();
        Image::from_rgb("varied", width, height, rgb).unwrap()
    };
    let dark = |pixel: [u8; 3]| pixel.map(|value| value / 16);
    let names: Vec<String> = names(&pairs.join("A")).into_iter().collect();
    let (mut doubted, mut apart) = (0, 0);
    for (index, name) in names.iter().enumerate() {
        let (before, after) = (read("A", name), read("B", name));
        let plain = model.pair(&before, &after).unwrap().trust().unwrap();
        // A scene that is wholly rebuilt may look like another place.
        let is_known = matches!(plain.doubt(), None | Some("place"));
        assert!(is_known && plain.pictures > 0.5, "{name}: {plain:?}");
        let dim = [&before, &after].map(|image| varied(image, dark));
        let trust = model.pair(&dim[0], &dim[1]).unwrap().trust().unwrap();
        assert!(trust.pictures < 0.3, "{name}: {trust:?}");
        doubted += usize::from(trust.doubt() == Some("pictures"));
        let elsewhere = read("B", &names[(index + 3) % names.len()]);
        let trust = model.pair(&before, &elsewhere).unwrap().trust().unwrap();
        apart += usize::from(trust.doubt() == Some("place"));
    }
    assert!(
        doubted >= 5 && apart >= 6,
        "{doubted} and {apart} of {}",
        names.len()
    );
}
