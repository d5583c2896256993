//! The mask branch against PyTorch (`golden/make_extra.py`), in every engine, and
//! what is refused.

mod common;

use common::{Golden, Model, golden_directory, options, patch_pickle, relative_error};
use deltavlm_bundle::{Precision, Segment, Target};
use deltavlm_export::array::Array;
use deltavlm_export::build::build;
use deltavlm_export::config::Config;
use deltavlm_export::interpret::{Interpreter, Weights};
use deltavlm_export::network::Network;
use deltavlm_export::source::{CheckpointOverlay, SourcePaths};
use deltavlm_export::synth::{Shapes, Size};

/// The golden model with a mask branch laid over it; `extra` goes into its config.
fn golden_paths(
    directory: &std::path::Path,
    branch: &str,
    extra: serde_json::Value,
) -> SourcePaths {
    let mut paths = Golden::paths("llm");
    let text = std::fs::read_to_string(paths.config.unwrap()).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (key, value) in extra.as_object().unwrap() {
        config[key] = value.clone();
    }
    let path = directory.join("deltavlm.json");
    std::fs::write(&path, config.to_string()).unwrap();
    paths.config = Some(path);
    paths.instructblip = Some(golden_directory().join(format!("{branch}.pth")));
    paths
}

fn extra() -> serde_json::Value {
    let text = std::fs::read_to_string(golden_directory().join("extra.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn floats(value: &serde_json::Value) -> Vec<f32> {
    let values = value.as_array().unwrap().iter();
    values.map(|value| value.as_f64().unwrap() as f32).collect()
}

fn largest_difference(found: &[f32], right: &[f32]) -> f32 {
    assert_eq!(found.len(), right.len());
    let off = found.iter().zip(right).map(|(a, b)| (a - b).abs());
    off.fold(0.0, f32::max)
}

/// With attention and without, groups of channels viewed crosswise, padded windows,
/// a resized map: all that the published variants have.
#[test]
fn the_mask_equals_that_of_pytorch_in_the_interpreter() {
    let directory = tempfile::tempdir().unwrap();
    let (right, golden) = (extra(), Golden::open());
    for branch in ["mask", "mask_light"] {
        let size = serde_json::json!({"mask": {"size": right[branch]["size"]}});
        let paths = golden_paths(directory.path(), branch, size);
        let network = network(&paths);
        for target in [Target::Cpu, Target::Tensorrt] {
            let graph = deltavlm_export::graph::mask(&network, Precision::F32, target).unwrap();
            let date = |name: &str| {
                let (shape, values) = golden.vector(name);
                Array::f32(&shape, values)
            };
            let inputs = vec![
                ("before", date("features.before")),
                ("after", date("features.after")),
            ];
            let found = Interpreter::new(&graph, 2)
                .run(inputs, Weights::Exact, None)
                .unwrap();
            let off =
                largest_difference(found["change"].floats(), &floats(&right[branch]["change"]));
            assert!(off <= 1e-5, "{branch} {target:?}: {off:.1e}");
        }
    }
}

fn network(paths: &SourcePaths) -> Network {
    let config = Config::read(paths.config.as_deref()).unwrap();
    let pieces = deltavlm_bundle::SentencePiece::open(&paths.llm.join("tokenizer.model")).unwrap();
    Network::new(
        CheckpointOverlay::open(paths).unwrap(),
        &config,
        pieces.len(),
    )
    .unwrap()
}

#[cfg(feature = "verify")]
#[test]
fn the_mask_equals_that_of_pytorch_in_every_engine() {
    use deltavlm_runtime::engine::Input;
    use deltavlm_runtime::{EngineChoice, Options};

    let directory = tempfile::tempdir().unwrap();
    let (right, golden) = (extra(), Golden::open());
    let (shape, before) = golden.vector("features.before");
    let (_, after) = golden.vector("features.after");
    for (branch, target, precision, tolerance) in [
        ("mask", Target::Cpu, Precision::F32, 1e-4),
        ("mask", Target::Tensorrt, Precision::F32, 1e-4),
        ("mask_light", Target::Cpu, Precision::F32, 1e-4),
        ("mask", Target::Cpu, Precision::Int8, 3e-2),
    ] {
        let size = serde_json::json!({"mask": {"size": right[branch]["size"]}});
        let paths = golden_paths(directory.path(), branch, size);
        let out = directory.path().join("bundle");
        let mut options = options(paths, precision, &out);
        options.target = target;
        build(&options).unwrap();
        let mut engines = 0;
        for engine in [EngineChoice::Tract, EngineChoice::Ort] {
            let options = Options {
                engine,
                ..Options::default()
            };
            let Ok(mut model) = deltavlm_runtime::Model::open(&out, &options) else {
                continue;
            };
            let inputs = [
                Input::f32("before", &shape, &before),
                Input::f32("after", &shape, &after),
            ];
            let found = model.engine_mut().run(Segment::Mask, &inputs).unwrap();
            let off = largest_difference(&found, &floats(&right[branch]["change"]));
            assert!(
                off <= tolerance,
                "{branch} {engine:?} {precision:?} {target:?}: {off:.1e}"
            );
            engines += 1;
        }
        assert!(engines > 0, "{target:?}");
    }
}

#[test]
fn fidelity_and_manifest_tell_of_the_mask() {
    let model = Model::of(&Shapes {
        mask: true,
        ..Shapes::of(Size::Tiny)
    });
    let mut options = options(model.paths.clone(), Precision::Int8, &model.out());
    options.measure = deltavlm_export::build::Measure::Always;
    let manifest = build(&options).unwrap();
    assert!(manifest.segments.contains_key(&Segment::Mask));
    assert!(manifest.fidelity["mask"].cosine > 0.9999);
    // Probabilities, not constants: the other weights have a say in them.
    assert!(manifest.fidelity["mask"].relative_error > 0.0);
}

#[test]
fn layers_of_another_form_are_refused_by_name() {
    let with_mask = || {
        Model::of(&Shapes {
            mask: true,
            ..Shapes::of(Size::Tiny)
        })
    };
    // A tensor that the published layout does not have.
    let model = with_mask();
    patch_pickle(
        &model.paths.checkpoint,
        b"",
        b"mask_decoder.head.3.bias",
        b"mask_decoder.head.9.bias",
    );
    let error = model.error();
    assert!(error.contains("mask_decoder.head.3.bias"), "{error}");
    let model = with_mask();
    // Channels that do not fit name both shapes.
    patch_pickle(
        &model.paths.checkpoint,
        b"mask_decoder.head.3.weight",
        b"J\x01\0\0\0J\x20\0\0\0J\x01\0\0\0J\x01\0\0\0t",
        b"J\x01\0\0\0J\x10\0\0\0J\x01\0\0\0J\x01\0\0\0t",
    );
    let error = model.error();
    assert!(
        error.contains("[1, 16, 1, 1]") && error.contains("[1, 32, 3, 3]"),
        "{error}"
    );
}

/// A layer too many is told, not passed over.
#[test]
fn a_tensor_that_the_layout_has_not_is_named() {
    let model = Model::of(&Shapes {
        mask: true,
        ..Shapes::of(Size::Tiny)
    });
    // The image projection, which nothing reads, under a name of the mask branch.
    patch_pickle(
        &model.paths.checkpoint,
        b"",
        b"vision_proj.weight",
        b"mask_decoder.extra",
    );
    let error = model.error();
    assert!(
        error.contains("`mask_decoder.extra`") && error.contains("bundle-format.md"),
        "{error}"
    );
}

#[test]
fn position_embeddings_are_resized_as_pytorch_does() {
    let directory = tempfile::tempdir().unwrap();
    let right = extra();
    for (grid, values) in right["positions"].as_object().unwrap() {
        let grid: usize = grid.parse().unwrap();
        let paths = golden_paths(directory.path(), "mask", serde_json::json!({}));
        let text = std::fs::read_to_string(paths.config.as_deref().unwrap()).unwrap();
        let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
        let patch = 14;
        config["vision"]["image_size"] = (grid * patch).into();
        std::fs::write(paths.config.as_deref().unwrap(), config.to_string()).unwrap();
        let config = Config::read(paths.config.as_deref()).unwrap();
        let pieces =
            deltavlm_bundle::SentencePiece::open(&paths.llm.join("tokenizer.model")).unwrap();
        let network = Network::new(
            CheckpointOverlay::open(&paths).unwrap(),
            &config,
            pieces.len(),
        )
        .unwrap();
        let rows = network.vision_positions().unwrap().read_all().unwrap();
        let width = network.model.vision.width;
        let found: Vec<f32> = rows
            .chunks_exact(width)
            .flat_map(|row| &row[..3])
            .copied()
            .collect();
        let error = relative_error(&found, &floats(values));
        assert!(error < 1e-6, "grid {grid}: {error:.1e}");
    }
}
