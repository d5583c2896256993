//! One suite for every engine: what an engine gives must not depend on which it is.
//!
//! The f32 bundle is compared with what independent implementations computed
//! (`export/tests/golden/make_golden.py`): every segment, and free decoding token
//! by token, greedy and with five beams. Tests of ONNX Runtime are ignored where
//! `ORT_DYLIB_PATH` and the usual places have no library.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use deltavlm_bundle::Segment;
use deltavlm_runtime::engine::{Input, Step};
use deltavlm_runtime::{
    Body, Check, Decoding, EngineChoice, Error, Fault, Instruction, Model, Options, Picture,
    Provider, Request,
};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

/// A check of one engine.
type Test = fn(EngineChoice);

fn main() {
    let arguments = Arguments::from_args();
    let has_library = Model::open(&bundle("f32"), &options(EngineChoice::Ort)).is_ok();
    if !has_library {
        eprintln!("no ONNX Runtime library: its tests are ignored; name one with ORT_DYLIB_PATH");
    }
    let checks: [(&str, Test); 13] = [
        ("segments_equal_the_reference", segments_equal_the_reference),
        (
            "free_decoding_equals_the_reference",
            free_decoding_equals_the_reference,
        ),
        (
            "beam_search_equals_the_reference",
            beam_search_equals_the_reference,
        ),
        (
            "an_id_without_text_ends_nothing",
            an_id_without_text_ends_nothing,
        ),
        ("constrained_answers_parse", constrained_answers_parse),
        ("a_survey_is_its_questions", a_survey_is_its_questions),
        (
            "rows_of_a_batch_do_not_disturb_each_other",
            rows_of_a_batch_do_not_disturb_each_other,
        ),
        (
            "a_forced_run_is_its_tokens_one_by_one",
            a_forced_run_is_its_tokens_one_by_one,
        ),
        ("the_cache_changes_nothing", the_cache_changes_nothing),
        (
            "deadlines_and_cancellation_stop_an_ask",
            deadlines_and_cancellation_stop_an_ask,
        ),
        ("int8_answers_like_f32", int8_answers_like_f32),
        (
            "a_long_dialogue_loses_its_oldest_turns",
            a_long_dialogue_loses_its_oldest_turns,
        ),
        ("memory_stays_flat", memory_stays_flat),
    ];
    let mut trials = Vec::new();
    for (engine, name, present) in [
        (EngineChoice::Tract, "tract", true),
        (EngineChoice::Ort, "ort", has_library),
    ] {
        for (check, function) in checks {
            let trial = Trial::test(format!("{name}::{check}"), move || {
                function(engine);
                Ok::<(), Failed>(())
            });
            trials.push(trial.with_ignored_flag(!present));
        }
    }
    let agree = Trial::test("both::answers_agree", || {
        answers_agree();
        Ok(())
    });
    trials.push(agree.with_ignored_flag(!has_library));
    libtest_mimic::run(&arguments, trials).exit();
}

fn bundle(precision: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/bundles")
        .join(precision)
}

fn golden_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../export/tests/golden")
        .join(name)
}

fn options(engine: EngineChoice) -> Options {
    let mut options = Options {
        engine,
        threads: 2,
        ort_providers: vec![Provider::Cpu],
        check: Check::Size,
        ..Options::default()
    };
    // Features in half precision would differ from the reference.
    options.cache.memory_bytes = 0;
    options
}

fn open(engine: EngineChoice, precision: &str) -> Model {
    Model::open(&bundle(precision), &options(engine)).unwrap()
}

fn pair(model: &mut Model) -> deltavlm_runtime::Pair {
    model
        .pair(&golden_file("before.png"), &golden_file("after.png"))
        .unwrap()
}

struct Golden {
    json: Value,
    vectors: Vec<u8>,
}

impl Golden {
    fn read() -> Self {
        let text = std::fs::read_to_string(golden_file("golden.json")).unwrap();
        Self {
            json: serde_json::from_str(&text).unwrap(),
            vectors: std::fs::read(golden_file("vectors.bin")).unwrap(),
        }
    }

    fn vector(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let place = &self.json["vectors"][name];
        let shape: Vec<usize> = serde_json::from_value(place["shape"].clone()).unwrap();
        let offset = place["offset"].as_u64().unwrap() as usize;
        let bytes = &self.vectors[offset..offset + 4 * shape.iter().product::<usize>()];
        let values = bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        (shape, values.collect())
    }
}

fn assert_near(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let worst = found
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(worst < 2e-4, "{what}: differs by {worst}");
}

fn segments_equal_the_reference(engine: EngineChoice) {
    let golden = Golden::read();
    let mut model = open(engine, "f32");
    let engine = model.engine_mut();
    for date in ["before", "after"] {
        let (shape, image) = golden.vector(&format!("image.{date}"));
        let features = engine
            .run(Segment::Vision, &[Input::f32("image", &shape, &image)])
            .unwrap();
        assert_near(
            &features,
            &golden.vector(&format!("features.{date}")).1,
            "vision",
        );
    }
    let (shape, before) = golden.vector("features.before");
    let after = golden.vector("features.after").1;
    let inputs = [
        Input::f32("before", &shape, &before),
        Input::f32("after", &shape, &after),
    ];
    let difference = engine.run(Segment::Difference, &inputs).unwrap();
    assert_near(&difference, &golden.vector("difference").1, "difference");

    let (shape, difference) = golden.vector("difference");
    let ids: Vec<Vec<i64>> = serde_json::from_value(golden.json["qformer"]["ids"].clone()).unwrap();
    let mask: Vec<Vec<i64>> =
        serde_json::from_value(golden.json["qformer"]["mask"].clone()).unwrap();
    let text = [ids.len(), ids[0].len()];
    let (ids, mask) = (ids.concat(), mask.concat());
    let inputs = [
        Input::f32("difference", &shape, &difference),
        Input::i64("token_ids", &text, &ids),
        Input::i64("token_mask", &text, &mask),
    ];
    let queries = engine.run(Segment::Qformer, &inputs).unwrap();
    assert_near(&queries, &golden.vector("queries").1, "qformer");

    let (shape, embeddings) = golden.vector("decoder.embeddings");
    let new = shape[1];
    let positions: Vec<i64> = (0..new as i64).collect();
    let mut sequence = engine.start(1).unwrap();
    let logits = sequence
        .step(&Step {
            rows: 1,
            new,
            past: 0,
            embeddings: &embeddings,
            positions: &positions,
            bias: &causal(new),
        })
        .unwrap();
    assert_near(&logits, &golden.vector("decoder.logits").1, "decoder");
}

fn causal(new: usize) -> Vec<f32> {
    (0..new * new)
        .map(|at| if at % new <= at / new { 0.0 } else { -1e9 })
        .collect()
}

/// Prompt, expected ids and expected text of the golden answers.
fn golden_answers(key: &str) -> Vec<(String, Vec<u32>, String)> {
    let golden = Golden::read();
    let free = golden.json["free"].as_array().unwrap().clone();
    free.iter()
        .map(|entry| {
            let mut ids: Vec<u32> = serde_json::from_value(entry[key].clone()).unwrap();
            if ids.last() == Some(&2) {
                ids.pop();
            }
            let text = |key: &str| entry[key].as_str().unwrap().to_owned();
            (text("prompt"), ids, text(&format!("{key}_text")))
        })
        .collect()
}

fn free(text: &str) -> Request {
    Request::raw(text).decoding(Decoding::Free).max_tokens(24)
}

fn free_decoding_equals_the_reference(engine: EngineChoice) {
    let mut model = open(engine, "f32");
    let pair = pair(&mut model);
    for (prompt, ids, text) in golden_answers("greedy") {
        let answer = model.ask(&pair, &free(&prompt)).unwrap();
        assert_eq!((answer.ids, answer.text), (ids, text), "{prompt}");
    }
}

/// As published: id 0 is left out of the text and ends nothing. Here it is an id
/// that the model does generate.
fn an_id_without_text_ends_nothing(engine: EngineChoice) {
    let (prompt, ids, _) = golden_answers("greedy").swap_remove(0);
    let hidden = ids[ids.len() / 2];
    let directory = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(bundle("f32")).unwrap() {
        let from = entry.unwrap().path();
        std::fs::copy(&from, directory.path().join(from.file_name().unwrap())).unwrap();
    }
    let path = directory.path().join("bundle.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    manifest["generation"]["stop_ids"] = serde_json::json!([2, hidden]);
    std::fs::write(&path, manifest.to_string()).unwrap();

    let ask = |directory: &Path, beams| {
        let mut model = Model::open(directory, &options(engine)).unwrap();
        let pair = pair(&mut model);
        model.ask(&pair, &free(&prompt).beams(beams)).unwrap()
    };
    for beams in [1, 5] {
        let (usual, without) = (ask(&bundle("f32"), beams), ask(directory.path(), beams));
        assert_eq!(without.ids, usual.ids);
        assert_eq!(without.text != usual.text, usual.ids.contains(&hidden));
    }
}

fn beam_search_equals_the_reference(engine: EngineChoice) {
    let mut model = open(engine, "f32");
    let pair = pair(&mut model);
    for (prompt, ids, text) in golden_answers("beams5") {
        let answer = model.ask(&pair, &free(&prompt).beams(5)).unwrap();
        assert_eq!((answer.ids, answer.text), (ids, text), "{prompt}");
    }
}

/// Pictures without any sense, of odd sizes: the answers still have a form.
fn noise(seed: u32, width: u32, height: u32) -> Picture {
    let bytes = (0..width * height * 3)
        .map(|i| (i.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 13) as u8);
    Picture::from_rgb("noise", width, height, bytes.collect()).unwrap()
}

fn constrained_answers_parse(engine: EngineChoice) {
    for precision in ["f32", "int8"] {
        let mut model = open(engine, precision);
        for seed in 0..12 {
            let (width, height) = (1 + seed * 37 % 300, 1 + seed * 91 % 200);
            let pair = model
                .pair(
                    &noise(seed, width, height),
                    &noise(seed + 1000, width, height),
                )
                .unwrap();
            let survey = model.survey(&pair).unwrap();
            let names: Vec<&str> = survey
                .answers
                .iter()
                .map(|answer| answer.body.instruction_name())
                .collect();
            assert_eq!(names, ["classify", "count", "localize", "caption"]);
            for answer in &survey.answers {
                assert!(
                    !matches!(answer.body, Body::Unparsed { .. }),
                    "{}",
                    answer.text
                );
                assert!(
                    (0.0..=1.0 + 1e-5).contains(&answer.confidence),
                    "{}",
                    answer.confidence
                );
                if let Body::Localize { roads, buildings } = answer.body {
                    for confidence in roads.confidence.iter().chain(&buildings.confidence) {
                        assert!((0.0..=1.0 + 1e-5).contains(confidence));
                    }
                }
            }
            assert!(survey.answers[..3].iter().all(|answer| answer.complete));
        }
    }
}

fn a_survey_is_its_questions(engine: EngineChoice) {
    let mut model = open(engine, "f32");
    let pair = pair(&mut model);
    let survey = model.survey(&pair).unwrap();
    for (instruction, answer) in Instruction::ALL.into_iter().zip(&survey.answers) {
        let alone = model.ask(&pair, &Request::fixed(instruction)).unwrap();
        assert_eq!(alone.ids, answer.ids, "{}", instruction.name());
        assert!((alone.confidence - answer.confidence).abs() < 1e-3);
    }
}

fn rows_of_a_batch_do_not_disturb_each_other(engine: EngineChoice) {
    let mut model = open(engine, "f32");
    let pair = pair(&mut model);
    let prompts = [
        "a",
        "Is there any new construction visible in the images?",
        "where are the roads",
    ];
    let requests: Vec<Request> = prompts.iter().map(|prompt| free(prompt)).collect();
    let (together, _) = model.ask_all(&pair, &requests).unwrap();
    for (request, answer) in requests.iter().zip(&together) {
        assert_eq!(model.ask(&pair, request).unwrap().ids, answer.ids);
    }
}

fn a_forced_run_is_its_tokens_one_by_one(engine: EngineChoice) {
    let golden = Golden::read();
    let mut model = open(engine, "f32");
    let width = model.manifest().model.llm.width;
    let engine = model.engine_mut();
    let (shape, embeddings) = golden.vector("decoder.embeddings");
    let total = shape[1];
    let mut sequence = engine.start(1).unwrap();
    let mut logits = Vec::new();
    for (at, embedding) in embeddings.chunks_exact(width).enumerate() {
        logits = sequence
            .step(&Step {
                rows: 1,
                new: 1,
                past: at,
                embeddings: embedding,
                positions: &[at as i64],
                bias: &vec![0.0; at + 1],
            })
            .unwrap();
    }
    assert_eq!(total * width, embeddings.len());
    assert_near(&logits, &golden.vector("decoder.logits").1, "one by one");
}

fn the_cache_changes_nothing(engine: EngineChoice) {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(engine);
    options.cache.memory_bytes = 1 << 20;
    options.cache.directory = Some(directory.path().to_owned());
    let mut first = Model::open(&bundle("f32"), &options).unwrap();
    let fresh = pair(&mut first);
    let cached = pair(&mut first);
    assert!(!fresh.before_was_cached() && cached.before_was_cached());
    assert!(cached.timing().vision < fresh.timing().vision);
    let mut second = Model::open(&bundle("f32"), &options).unwrap();
    let from_disk = pair(&mut second);
    assert!(from_disk.before_was_cached());
    let expected = first.survey(&fresh).unwrap();
    for (model, pair) in [(&mut first, &cached), (&mut second, &from_disk)] {
        let survey = model.survey(pair).unwrap();
        for (answer, expected) in survey.answers.iter().zip(&expected.answers) {
            assert_eq!(
                (&answer.ids, answer.confidence),
                (&expected.ids, expected.confidence)
            );
        }
    }
}

fn deadlines_and_cancellation_stop_an_ask(engine: EngineChoice) {
    let mut model = open(engine, "f32");
    let pair = pair(&mut model);
    let late = Request::fixed(Instruction::Caption).deadline(Instant::now());
    let error = model.ask(&pair, &late).unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
    assert_eq!(error.fault(), Fault::Machine);

    let flag = Arc::new(AtomicBool::new(true));
    let error = model
        .ask(&pair, &Request::question("why").cancelled_by(flag))
        .unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }), "{error}");

    // In the middle of a long answer.
    let soon = Instant::now() + Duration::from_millis(5);
    let long = free("a").max_tokens(200).deadline(soon);
    if let Err(error) = model.ask(&pair, &long) {
        assert!(matches!(error, Error::Deadline { .. }), "{error}");
        assert!(soon.elapsed() < Duration::from_secs(5));
    }
    model
        .ask(&pair, &Request::fixed(Instruction::Classify))
        .unwrap();
}

fn int8_answers_like_f32(engine: EngineChoice) {
    let (mut reference, mut quantised) = (open(engine, "f32"), open(engine, "int8"));
    let (one, other) = (pair(&mut reference), pair(&mut quantised));
    let ask = |model: &mut Model, pair| {
        model
            .ask(pair, &Request::fixed(Instruction::Classify))
            .unwrap()
    };
    let (one, other) = (ask(&mut reference, &one), ask(&mut quantised, &other));
    let probability = |answer: &deltavlm_runtime::Answer| match answer.body {
        Body::Classify { changed: true } => answer.confidence,
        _ => 1.0 - answer.confidence,
    };
    let difference = (probability(&one) - probability(&other)).abs();
    assert!(difference < 0.05, "{difference}");
}

fn a_long_dialogue_loses_its_oldest_turns(engine: EngineChoice) {
    let mut model = open(engine, "f32");
    let pair = pair(&mut model);
    let turn = |question: &str| deltavlm_runtime::Turn {
        question: question.to_owned(),
        answer: "there are no changes in roads or buildings".to_owned(),
    };
    let history: Vec<_> = (0..8)
        .map(|_| turn("are there any changes in roads or lanes?"))
        .collect();
    let request = Request::follow_up(history, "and now?").max_tokens(4);
    let answer = model.ask(&pair, &request).unwrap();
    // 50 words hold "q and now?" and two turns of 18 words.
    assert!(
        (5..8).contains(&answer.trimmed_turns),
        "{}",
        answer.trimmed_turns
    );
    let short = Request::follow_up(vec![turn("any?")], "and now?").max_tokens(4);
    assert_eq!(model.ask(&pair, &short).unwrap().trimmed_turns, 0);
}

fn memory_stays_flat(engine: EngineChoice) {
    let mut model = open(engine, "int8");
    let pair = pair(&mut model);
    let requests = [
        Request::fixed(Instruction::Classify),
        free("a").max_tokens(3),
    ];
    let mut ask = |times: usize| {
        for index in 0..times {
            model.ask(&pair, &requests[index % 2]).unwrap();
        }
        deltavlm_runtime::resident_bytes().unwrap_or(0)
    };
    let before = ask(300);
    let after = ask(1500);
    // Other tests of this process run beside this one, hence the margin; a leak of
    // one KV cache per ask would be tens of megabytes.
    assert!(
        after < before + (24 << 20),
        "{} MiB more",
        (after - before) >> 20
    );
}

fn answers_agree() {
    for precision in ["f32", "int8"] {
        let mut tract = open(EngineChoice::Tract, precision);
        let mut ort = open(EngineChoice::Ort, precision);
        for seed in 0..6 {
            let (before, after) = (noise(seed, 80, 60), noise(seed + 77, 80, 60));
            let (one, other) = (
                tract.pair(&before, &after).unwrap(),
                ort.pair(&before, &after).unwrap(),
            );
            let one = tract
                .ask(&one, &Request::fixed(Instruction::Classify))
                .unwrap();
            let other = ort
                .ask(&other, &Request::fixed(Instruction::Classify))
                .unwrap();
            let tolerance = if precision == "f32" { 1e-3 } else { 3e-2 };
            if one.body == other.body {
                assert!(
                    (one.confidence - other.confidence).abs() < tolerance,
                    "{precision}"
                );
            } else {
                assert!((one.confidence - 0.5).abs() < tolerance, "{precision}");
            }
        }
    }
}
