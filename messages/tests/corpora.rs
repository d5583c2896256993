//! The fuzz target on a stable toolchain: every committed input, and any change of one of its bytes.

use std::{fs, path::PathBuf};

#[path = "../fuzz/targets.rs"]
mod targets;

#[test]
fn every_committed_body_and_every_one_with_a_byte_changed_comes_back_or_is_refused() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/messages");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 30, "{} inputs", files.len());
    for file in files {
        let input = fs::read(file).unwrap();
        targets::messages(&input);
        for place in 0..input.len() {
            targets::messages(&input[..place]);
            for value in 0..=u8::MAX {
                let mut changed = input.clone();
                changed[place] = value;
                targets::messages(&changed);
            }
        }
    }
}
