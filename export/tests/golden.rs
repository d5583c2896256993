//! Segments, tokens and texts against independent implementations
//! (`golden/make_golden.py`).

mod common;

use std::collections::BTreeMap;

use common::{Golden, golden_directory, ids, quick, relative_error};
use deltavlm_bundle::{Precision, PromptTemplate, SentencePiece, Target, WordPiece};
use deltavlm_export::array::Array;
use deltavlm_export::config::Config;
use deltavlm_export::graph::{self, SegmentGraph};
use deltavlm_export::interpret::{Interpreter, Weights};
use deltavlm_export::network::Network;
use deltavlm_export::source::CheckpointOverlay;
use deltavlm_messages::Instruction;

/// What f32 may differ by, whatever the order of its sums.
const TOLERANCE: f64 = 1e-5;

fn network(llm: &str) -> Network {
    let paths = Golden::paths(llm);
    let config = Config::read(paths.config.as_deref()).unwrap();
    let pieces = SentencePiece::open(&paths.llm.join("tokenizer.model")).unwrap();
    Network::new(
        CheckpointOverlay::open(&paths).unwrap(),
        &config,
        pieces.len(),
    )
    .unwrap()
}

fn run(segment: &SegmentGraph, inputs: Vec<(&str, Array)>) -> BTreeMap<String, Array> {
    Interpreter::new(segment, 2)
        .run(inputs, Weights::Exact, None)
        .unwrap()
}

fn array(golden: &Golden, name: &str) -> Array {
    let (shape, values) = golden.vector(name);
    Array::f32(&shape, values)
}

fn assert_close(found: &Array, golden: &Golden, name: &str) {
    let (shape, right) = golden.vector(name);
    assert_eq!(found.shape, shape, "{name}");
    let error = relative_error(found.floats(), &right);
    assert!(error <= TOLERANCE, "{name}: relative error {error:.2e}");
}

fn token_arrays(golden: &Golden) -> (Array, Array) {
    let rows = |name: &str| -> Vec<Vec<u32>> {
        golden.json["qformer"][name]
            .as_array()
            .unwrap()
            .iter()
            .map(ids)
            .collect()
    };
    let matrix = |rows: Vec<Vec<u32>>| {
        let shape = [rows.len(), rows[0].len()];
        Array::i64(&shape, rows.concat().into_iter().map(i64::from).collect())
    };
    (matrix(rows("ids")), matrix(rows("mask")))
}

/// Embeddings of a prompt with an empty cache.
fn decoder_inputs(golden: &Golden, name: &str, kv_heads: usize) -> Vec<(String, Array)> {
    let embeddings = array(golden, &format!("{name}.embeddings"));
    let n = embeddings.shape[1];
    let bias = (0..n * n)
        .map(|at| if at % n > at / n { -1e9 } else { 0.0 })
        .collect();
    let mut inputs = vec![
        ("embeddings".to_owned(), embeddings),
        (
            "positions".to_owned(),
            Array::i64(&[1, n], (0..n as i64).collect()),
        ),
        ("attention_bias".to_owned(), Array::f32(&[1, 1, n, n], bias)),
    ];
    for i in 0..3 {
        for kind in ["key", "value"] {
            inputs.push((
                format!("past.{i}.{kind}"),
                Array::f32(&[1, kv_heads, 0, 16], Vec::new()),
            ));
        }
    }
    inputs
}

#[test]
fn segments_equal_the_independent_implementations() {
    let golden = Golden::open();
    let main = network("llm");
    for target in [Target::Cpu, Target::Tensorrt] {
        let vision = graph::vision(&main, Precision::F32, target).unwrap();
        for date in ["before", "after"] {
            let outputs = run(
                &vision,
                vec![("image", array(&golden, &format!("image.{date}")))],
            );
            assert_close(&outputs["features"], &golden, &format!("features.{date}"));
        }
        let difference = graph::difference(&main, Precision::F32, target).unwrap();
        let inputs = vec![
            ("before", array(&golden, "features.before")),
            ("after", array(&golden, "features.after")),
        ];
        assert_close(
            &run(&difference, inputs)["difference"],
            &golden,
            "difference",
        );

        let qformer = graph::qformer(&main, Precision::F32, target).unwrap();
        let (token_ids, token_mask) = token_arrays(&golden);
        let inputs = vec![
            ("difference", array(&golden, "difference")),
            ("token_ids", token_ids),
            ("token_mask", token_mask),
        ];
        assert_close(&run(&qformer, inputs)["queries"], &golden, "queries");

        for (name, llm, kv_heads) in [("decoder", "llm", 4), ("decoder_grouped", "llm_grouped", 2)]
        {
            let decoder = graph::decoder(&network(llm), Precision::F32, target).unwrap();
            let inputs = decoder_inputs(&golden, name, kv_heads);
            let inputs = inputs
                .iter()
                .map(|(name, array)| (name.as_str(), array.clone()))
                .collect();
            let outputs = run(&decoder, inputs);
            assert_close(&outputs["logits"], &golden, &format!("{name}.logits"));
            assert_close(
                &outputs["present.0.key"],
                &golden,
                &format!("{name}.present.0.key"),
            );
            assert_close(
                &outputs["present.0.value"],
                &golden,
                &format!("{name}.present.0.value"),
            );
        }
    }
}

#[test]
fn tokens_and_texts_are_the_published_ones() {
    let golden = Golden::open();
    let model = golden_directory().join("model");
    let words = WordPiece::open(&model.join("bert/vocab.txt")).unwrap();
    for case in golden.json["wordpiece"].as_array().unwrap() {
        let (text, max) = (
            case["text"].as_str().unwrap(),
            case["max"].as_u64().unwrap() as usize,
        );
        assert_eq!(
            words.encode(text, max),
            ids(&case["ids"]),
            "{text:?} in {max} tokens"
        );
    }
    let pieces = SentencePiece::open(&model.join("llm/tokenizer.model")).unwrap();
    for case in golden.json["sentencepiece"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        assert_eq!(pieces.encode(text), ids(&case["ids"]), "{text:?}");
    }
    // The start token is id 2: the published code re-assigned it.
    for case in golden.json["llama_tokenizer"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        assert_eq!(
            [vec![2], pieces.encode(text)].concat(),
            ids(&case["ids"]),
            "{text:?}"
        );
    }
    let rules = PromptTemplate {
        question_prefix: "q: ".to_owned(),
        answer_prefix: "a: ".to_owned(),
        max_words: 50,
    };
    for case in golden.json["text_processor"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        assert_eq!(
            rules.process(text),
            case["processed"].as_str().unwrap(),
            "{text:?}"
        );
    }
}

#[test]
fn a_manifest_carries_the_published_special_tokens_and_prompts() {
    let directory = tempfile::tempdir().unwrap();
    let manifest = quick(
        Golden::paths("llm"),
        Precision::F32,
        &directory.path().join("bundle"),
    )
    .unwrap();
    let generation = &manifest.generation;
    assert_eq!(
        (generation.bos_id, generation.eos_id, generation.pad_id),
        (2, 2, 384)
    );
    assert_eq!((generation.start_id, generation.max_new_tokens), (1, 255));
    assert_eq!(generation.stop_ids, [2, 0]);
    assert_eq!(generation.repetition_penalty, 1.5);
    assert_eq!(manifest.model.qformer.max_text_tokens, 128);
    assert_eq!(manifest.model.llm.vocab_size, 385);
    let classify = manifest.instruction(Instruction::Classify).unwrap();
    assert_eq!(
        classify.prompt,
        "Please judge whether these two images have changed. Please answer yes or no."
    );
    assert_eq!(classify.llm_ids[0], 2);
    let pieces =
        SentencePiece::open(&golden_directory().join("model/llm/tokenizer.model")).unwrap();
    let text = "q please judge whether these two images have changed please answer yes or no";
    assert_eq!(classify.llm_ids[1..], pieces.encode(text));
}

#[cfg(feature = "verify")]
mod engines {
    use super::*;
    use deltavlm_runtime::engine::{DecoderStep, Input};
    use deltavlm_runtime::{Decoding, EngineChoice, Model, Options, Request};

    /// The engines that are present; tract always is.
    fn open(directory: &std::path::Path) -> Vec<Model> {
        let open = |engine| {
            Model::open(
                directory,
                &Options {
                    engine,
                    ..Options::default()
                },
            )
        };
        let mut models = vec![open(EngineChoice::Tract).unwrap()];
        models.extend(open(EngineChoice::Ort));
        models
    }

    #[test]
    fn every_engine_equals_the_independent_implementations() {
        let golden = Golden::open();
        for (name, llm) in [("decoder", "llm"), ("decoder_grouped", "llm_grouped")] {
            let directory = tempfile::tempdir().unwrap();
            let bundle = directory.path().join("bundle");
            quick(Golden::paths(llm), Precision::F32, &bundle).unwrap();
            for mut model in open(&bundle) {
                let engine = model.engine_mut();
                let check = |found: &[f32], name: &str| {
                    let error = relative_error(found, &golden.vector(name).1);
                    assert!(error <= TOLERANCE, "{name}: relative error {error:.2e}");
                };
                let (shape, image) = golden.vector("image.before");
                check(
                    &engine
                        .run(
                            deltavlm_bundle::Segment::Vision,
                            &[Input::f32("image", &shape, &image)],
                        )
                        .unwrap(),
                    "features.before",
                );
                let (shape, before) = golden.vector("features.before");
                let (_, after) = golden.vector("features.after");
                let inputs = [
                    Input::f32("before", &shape, &before),
                    Input::f32("after", &shape, &after),
                ];
                check(
                    &engine
                        .run(deltavlm_bundle::Segment::Difference, &inputs)
                        .unwrap(),
                    "difference",
                );
                let (shape, difference) = golden.vector("difference");
                let (token_ids, token_mask) = token_arrays(&golden);
                let inputs = [
                    Input::f32("difference", &shape, &difference),
                    Input::i64("token_ids", &token_ids.shape, token_ids.integers()),
                    Input::i64("token_mask", &token_mask.shape, token_mask.integers()),
                ];
                check(
                    &engine
                        .run(deltavlm_bundle::Segment::Qformer, &inputs)
                        .unwrap(),
                    "queries",
                );

                let (shape, embeddings) = golden.vector(&format!("{name}.embeddings"));
                let (total, width) = (shape[1], shape[2]);
                let mut decoder = engine.start(1).unwrap();
                let mut logits = Vec::new();
                // All but two positions at once, then one by one from the cache.
                for (past, new) in [(0, total - 2), (total - 2, 1), (total - 1, 1)] {
                    let positions: Vec<i64> = (past as i64..(past + new) as i64).collect();
                    let seen = past + new;
                    let bias: Vec<f32> = (0..new * seen)
                        .map(|at| {
                            if at % seen > past + at / seen {
                                -1e9
                            } else {
                                0.0
                            }
                        })
                        .collect();
                    let embeddings = &embeddings[past * width..seen * width];
                    logits = decoder
                        .forward(&DecoderStep {
                            rows: 1,
                            new,
                            past,
                            embeddings,
                            positions: &positions,
                            bias: &bias,
                        })
                        .unwrap();
                }
                check(&logits, &format!("{name}.logits"));
            }
        }
    }

    #[test]
    fn free_decoding_gives_the_published_texts() {
        let golden = Golden::open();
        let directory = tempfile::tempdir().unwrap();
        let bundle = directory.path().join("bundle");
        quick(Golden::paths("llm"), Precision::F32, &bundle).unwrap();
        for mut model in open(&bundle) {
            let pair = model
                .pair(
                    golden_directory().join("before.png").as_path(),
                    golden_directory().join("after.png").as_path(),
                )
                .unwrap();
            let (mut all, mut different) = (0, Vec::new());
            for case in golden.json["free"].as_array().unwrap() {
                for (name, beams) in [("greedy", 1), ("beams5", 5)] {
                    let prompt = case["text"].as_str().unwrap();
                    let request = Request::raw(prompt)
                        .decoding(Decoding::Free)
                        .beams(beams)
                        .max_tokens(24);
                    let text = model.ask(&pair, &request).unwrap().text;
                    let right = case[format!("{name}_text")].as_str().unwrap();
                    // The separators U+001C..U+001F, which Python strips and Rust does not, are no matter here.
                    let bare = |text: &str| {
                        text.trim_matches(|c: char| c.is_whitespace() || c.is_control())
                            .to_owned()
                    };
                    all += 1;
                    if bare(&text) != bare(right) {
                        different.push(format!("{name}: {prompt}: {text:?} for {right:?}"));
                    }
                }
            }
            let engine = model.engine().name;
            eprintln!("{engine}: {} of {all} texts equal", all - different.len());
            assert!(different.is_empty(), "{engine}: {}", different.join("\n"));
        }
    }
}
