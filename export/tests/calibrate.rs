//! `--calibrate`: scales that follow the user's pictures, where that helps.

#![cfg(feature = "verify")]

mod common;

use std::path::Path;

use common::{Model, golden_directory, options};
use deltavlm_bundle::{Precision, Segment};
use deltavlm_export::build::build;

/// Pairs of the golden pictures, in both orders.
fn pairs(directory: &Path, count: usize) {
    for (side, first, second) in [("A", "before", "after"), ("B", "after", "before")] {
        let folder = directory.join(side);
        std::fs::create_dir_all(&folder).unwrap();
        for i in 0..count {
            let name = if i % 2 == 0 { first } else { second };
            let from = golden_directory().join(format!("{name}.png"));
            std::fs::copy(from, folder.join(format!("{i}.png"))).unwrap();
        }
    }
}

#[test]
fn a_segment_follows_the_pictures_only_where_a_pair_held_aside_gains() {
    let model = Model::tiny();
    let folder = model.directory.path().join("pairs");
    pairs(&folder, 3);
    let plain = model.directory.path().join("plain");
    build(&options(model.paths.clone(), Precision::Int4, &plain)).unwrap();
    let mut options = options(model.paths.clone(), Precision::Int4, &model.out());
    options.calibrate = Some(folder);
    let manifest = build(&options).unwrap();

    let mut kept = 0;
    for (segment, record) in &manifest.segments {
        let calibration = record.calibration.as_ref().unwrap();
        assert_eq!(calibration.pairs, 2);
        assert_eq!(calibration.kept, calibration.gain > 0.0, "{segment:?}");
        let name = &record.weights;
        let same = std::fs::read(plain.join(name)).unwrap()
            == std::fs::read(model.out().join(name)).unwrap();
        assert_eq!(same, !calibration.kept, "{segment:?}");
        kept += usize::from(calibration.kept);
    }
    assert!(kept > 0, "calibration helped nowhere");
    // The table is measured with what is stored.
    assert!(manifest.fidelity["end_to_end"].cosine > 0.9);
}

#[test]
fn what_has_no_blocks_is_not_calibrated() {
    let model = Model::tiny();
    let folder = model.directory.path().join("pairs");
    pairs(&folder, 2);
    let mut options = options(model.paths.clone(), Precision::Int4, &model.out());
    options
        .segment_precision
        .insert(Segment::Vision, Precision::F16);
    options.calibrate = Some(folder);
    let manifest = build(&options).unwrap();
    assert_eq!(manifest.segments[&Segment::Vision].calibration, None);
    assert!(manifest.segments[&Segment::Decoder].calibration.is_some());
}

#[test]
fn one_pair_is_too_few() {
    let model = Model::tiny();
    let folder = model.directory.path().join("pairs");
    pairs(&folder, 1);
    let mut options = options(model.paths.clone(), Precision::Int4, &model.out());
    options.calibrate = Some(folder.clone());
    let error = build(&options).unwrap_err().to_string();
    assert!(error.contains("two pairs"), "{error}");
    assert!(!model.out().exists());

    std::fs::remove_file(folder.join("B/0.png")).unwrap();
    let error = build(&options).unwrap_err().to_string();
    assert!(error.contains("0.png"), "{error}");
}
