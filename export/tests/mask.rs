//! The mask branch against PyTorch (`golden/make_extra.py`), in every engine, and
//! what is refused.

mod common;

use common::{Golden, Model, golden_directory, options, patch_pickle, relative_error};
use deltavlm_bundle::{Precision, Segment, Target};
use deltavlm_export::build::build;
use deltavlm_export::config::Config;
use deltavlm_export::network::Network;
use deltavlm_export::source::{CheckpointOverlay, SourcePaths};
use deltavlm_export::synth::{Shapes, Size};

/// The golden model with the mask branch laid over it; `extra` goes into its config.
fn golden_paths(directory: &std::path::Path, extra: serde_json::Value) -> SourcePaths {
    let mut paths = Golden::paths("llm");
    let text = std::fs::read_to_string(paths.config.unwrap()).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (key, value) in extra.as_object().unwrap() {
        config[key] = value.clone();
    }
    let path = directory.join("deltavlm.json");
    std::fs::write(&path, config.to_string()).unwrap();
    paths.config = Some(path);
    paths.instructblip = Some(golden_directory().join("mask.pth"));
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

#[cfg(feature = "verify")]
#[test]
fn the_mask_equals_that_of_pytorch_in_every_engine() {
    use deltavlm_runtime::engine::Input;
    use deltavlm_runtime::{EngineChoice, Options};

    let directory = tempfile::tempdir().unwrap();
    let right = extra();
    let size = serde_json::json!({"mask": {"size": right["mask"]["size"]}});
    let (shape, difference) = Golden::open().vector("difference");
    for (target, precision, tolerance) in [
        (Target::Cpu, Precision::F32, 1e-5),
        (Target::Tensorrt, Precision::F32, 1e-5),
        (Target::Cpu, Precision::Int8, 2e-3),
    ] {
        let paths = golden_paths(directory.path(), size.clone());
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
            let input = Input::f32("difference", &shape, &difference);
            let found = model.engine_mut().run(Segment::Mask, &[input]).unwrap();
            let error = relative_error(&found, &floats(&right["mask"]["change"]));
            assert!(
                error <= tolerance,
                "{engine:?} {precision:?} {target:?}: {error:.1e}"
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
    // A norm without statistics may be of any kind.
    let model = with_mask();
    patch_pickle(
        &model.paths.checkpoint,
        b"",
        b"mask_decoder.1.running_var",
        b"mask_decoder.1.running_xyz",
    );
    let error = model.error();
    assert!(
        error.contains("mask_decoder.1.running_xyz") && error.contains("bundle-format.md"),
        "{error}"
    );
    // Names that are no numbers tell no order.
    let model = with_mask();
    patch_pickle(
        &model.paths.checkpoint,
        b"",
        b"mask_decoder.0.weight",
        b"mask_decoder.x.weight",
    );
    let error = model.error();
    assert!(error.contains("mask_decoder.x.weight"), "{error}");
    // Channels that do not fit name both shapes.
    let model = with_mask();
    patch_pickle(
        &model.paths.checkpoint,
        b"mask_decoder.8.weight",
        b"J\x02\0\0\0J\x01\0\0\0J\x01\0\0\0t",
        b"J\x01\0\0\0J\x01\0\0\0J\x01\0\0\0t",
    );
    let error = model.error();
    assert!(
        error.contains("[1, 1, 1, 1]") && error.contains("[1, 2, 1, 1]"),
        "{error}"
    );
}

#[test]
fn position_embeddings_are_resized_as_pytorch_does() {
    let directory = tempfile::tempdir().unwrap();
    let right = extra();
    for (grid, values) in right["positions"].as_object().unwrap() {
        let grid: usize = grid.parse().unwrap();
        let paths = golden_paths(directory.path(), serde_json::json!({}));
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
