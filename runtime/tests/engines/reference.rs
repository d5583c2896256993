//! Against what independent implementations computed.

use std::path::Path;

use deltavlm_bundle::Segment;
use deltavlm_runtime::engine::{DecoderStep, Input};
use deltavlm_runtime::{EngineChoice, Model};
use serde_json::Value;

use crate::fixture::{Golden, bundle, free, open, options, pair};

fn assert_near(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let worst = found
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(worst < 2e-4, "{what}: differs by {worst}");
}

pub(crate) fn segments_equal_the_reference(engine: EngineChoice) {
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
        .forward(&DecoderStep {
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
    // The other prompt forms are compared where the bundle is made, in the export's tests.
    free.iter()
        .filter(|entry| entry["form"] == "raw")
        .map(|entry| {
            let mut ids: Vec<u32> = serde_json::from_value(entry[key].clone()).unwrap();
            // `generate` puts the id that it was seeded with in front of what it generated.
            assert_eq!(ids.remove(0), 1, "the language model's bos_token_id");
            if ids.last() == Some(&2) {
                ids.pop();
            }
            let text = |key: &str| entry[key].as_str().unwrap().to_owned();
            (text("prompt"), ids, text(&format!("{key}_text")))
        })
        .collect()
}

pub(crate) fn free_decoding_equals_the_reference(engine: EngineChoice) {
    let mut model = open(engine, "f32");
    let pair = pair(&mut model);
    for (prompt, ids, text) in golden_answers("greedy") {
        let answer = model.ask(&pair, &free(&prompt)).unwrap();
        assert_eq!((answer.ids, answer.text), (ids, text), "{prompt}");
    }
}

/// As published: id 0 is left out of the text and ends nothing. Here it is an id
/// that the model does generate.
pub(crate) fn an_id_without_text_ends_nothing(engine: EngineChoice) {
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

pub(crate) fn beam_search_equals_the_reference(engine: EngineChoice) {
    let mut model = open(engine, "f32");
    let pair = pair(&mut model);
    for (prompt, ids, text) in golden_answers("beams5") {
        let answer = model.ask(&pair, &free(&prompt).beams(5)).unwrap();
        assert_eq!((answer.ids, answer.text), (ids, text), "{prompt}");
    }
}

pub(crate) fn a_forced_run_is_its_tokens_one_by_one(engine: EngineChoice) {
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
            .forward(&DecoderStep {
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
