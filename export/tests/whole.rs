//! Whole builds: deterministic, atomic, every layer and layout.

mod common;

use std::path::Path;

use common::{Golden, Model, options, quick};
use deltavlm_bundle::{MANIFEST_FILE, Precision, Segment, Target};
use deltavlm_export::build::{Measure, build};
use deltavlm_export::synth::{Shapes, Size, synth};
use half::f16;

fn content(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (
                entry.file_name().into_string().unwrap(),
                std::fs::read(entry.path()).unwrap(),
            )
        })
        .collect();
    files.sort();
    files
}

#[test]
fn the_same_input_gives_the_same_bytes_on_any_number_of_threads() {
    let model = Model::tiny();
    let mut bundles = Vec::new();
    for threads in [1, 2, 5] {
        let out = model.directory.path().join(format!("bundle-{threads}"));
        let mut options = options(model.paths.clone(), Precision::Int4, &out);
        options.threads = threads;
        options.measure = Measure::Always;
        let manifest = build(&options).unwrap();
        assert!(manifest.fidelity["end_to_end"].cosine > 0.9);
        bundles.push(content(&out));
    }
    assert_eq!(bundles[0], bundles[1]);
    assert_eq!(bundles[0], bundles[2]);

    let again = model.directory.path().join("again");
    synth(&Shapes::of(Size::Tiny), 1, &again, 1, false).unwrap();
    assert_eq!(content(&again.join("llm")), content(&model.paths.llm));
}

#[test]
fn an_older_bundle_is_replaced_and_anything_else_is_not() {
    let model = Model::tiny();
    quick(model.paths.clone(), Precision::Int4, &model.out()).unwrap();
    let manifest = quick(model.paths.clone(), Precision::F16, &model.out()).unwrap();
    assert_eq!(
        manifest.segments[&Segment::Vision].precision,
        Precision::F16
    );
    assert!(model.out().join(MANIFEST_FILE).exists());

    let other = model.directory.path().join("photos");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("cat.png"), b"cat").unwrap();
    let error = quick(model.paths.clone(), Precision::F16, &other)
        .unwrap_err()
        .to_string();
    assert!(error.contains("will not be overwritten"), "{error}");
    assert_eq!(content(&other).len(), 1);
}

#[test]
fn what_a_killed_build_left_behind_is_removed() {
    let model = Model::tiny();
    // No process has the highest number that a process can have.
    let left = model.directory.path().join(".bundle.partial-4194304");
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join("vision.weights"), b"half").unwrap();
    quick(model.paths.clone(), Precision::F16, &model.out()).unwrap();
    assert!(!left.exists());
}

#[test]
fn later_layers_win() {
    // The golden ViT file holds zeros for its last block, the checkpoint its weights.
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("bundle");
    quick(Golden::paths("llm"), Precision::F32, &out).unwrap();
    let weights = std::fs::read(out.join("vision.weights")).unwrap();
    let zeros = weights
        .as_chunks::<4>()
        .0
        .iter()
        .filter(|raw| **raw == [0; 4])
        .count();
    // Keys have no bias; 64 zeros per block and nothing like a block of zeros.
    assert!(zeros < 1000, "{zeros} zeros");
}

#[test]
fn a_padding_row_is_added_and_is_the_mean() {
    let model = Model::tiny();
    let manifest = quick(model.paths.clone(), Precision::F16, &model.out()).unwrap();
    assert_eq!(
        (manifest.model.llm.vocab_size, manifest.generation.pad_id),
        (601, 600)
    );
    let table = std::fs::read(model.out().join(&manifest.embedding.file)).unwrap();
    let rows: Vec<f32> = table
        .as_chunks::<2>()
        .0
        .iter()
        .map(|raw| f16::from_le_bytes(*raw).to_f32())
        .collect();
    let mean: f32 = rows
        .chunks_exact(64)
        .take(600)
        .map(|row| row[5])
        .sum::<f32>()
        / 600.0;
    assert!((rows[600 * 64 + 5] - mean).abs() < 1e-3);
}

#[test]
fn precisions_differ_by_segment_and_sizes_follow() {
    let model = Model::tiny();
    let mut options = options(model.paths.clone(), Precision::Int4, &model.out());
    options
        .segment_precision
        .insert(Segment::Vision, Precision::Int8);
    let manifest = build(&options).unwrap();
    assert_eq!(
        manifest.segments[&Segment::Vision].precision,
        Precision::Int8
    );
    assert_eq!(
        manifest.segments[&Segment::Decoder].precision,
        Precision::Int4
    );
    assert!(manifest.id.starts_with("deltavlm-int4-"));

    options.target = Target::Tensorrt;
    assert!(
        build(&options)
            .unwrap_err()
            .to_string()
            .contains("tensorrt")
    );
}
