//! `dvlm-demo` with input that it cannot use.

use image::RgbImage;
use std::{path::Path, process::Command};

fn problem(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_dvlm-demo"))
        .args(arguments)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn picture(path: &Path, width: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::new(width, 32).save(path).unwrap();
}

#[test]
fn two_sizes_are_an_error_that_names_both_files() {
    let dir = tempfile::tempdir().unwrap();
    picture(&dir.path().join("A/x.png"), 32);
    picture(&dir.path().join("B/x.png"), 48);
    let said = problem(&["--pairs", dir.path().to_str().unwrap()]);
    assert!(
        said.contains("A/x.png is 32x32") && said.contains("B/x.png is 48x32"),
        "{said}"
    );
    assert!(said.contains("must have the same size"), "{said}");
}

#[test]
fn a_missing_bundle_says_where_one_comes_from() {
    let said = problem(&["--bundle", "/nowhere"]);
    assert!(
        said.contains("/nowhere: no model bundle") && said.contains("dvlm-export build"),
        "{said}"
    );
}

#[test]
fn folders_without_pairs_say_how_to_lay_them_out() {
    let dir = tempfile::tempdir().unwrap();
    let said = problem(&["--pairs", dir.path().to_str().unwrap()]);
    assert!(said.contains("put the earlier pictures into A/"), "{said}");
}
