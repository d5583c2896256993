//! `dvlm-export verify`, as the program: a sound bundle passes, any damage is named.

#![cfg(feature = "verify")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{Model, quick};
use deltavlm_bundle::{MANIFEST_FILE, Precision};

fn verify(bundle: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dvlm-export"))
        .arg("verify")
        .arg(bundle)
        .args(more)
        .output()
        .unwrap()
}

fn texts(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// A bundle, and what it was made from.
fn bundle(precision: Precision) -> (Model, PathBuf) {
    let model = Model::tiny();
    let out = model.out();
    quick(model.paths.clone(), precision, &out).unwrap();
    (model, out)
}

fn assert_doubted(bundle: &Path, expected: &str) {
    let output = verify(bundle, &[]);
    assert!(!output.status.success(), "{expected}: accepted");
    let text = texts(&output);
    assert!(text.contains(expected), "{expected} is not named: {text}");
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn a_sound_bundle_passes_in_every_engine_present() {
    let (model, out) = bundle(Precision::Int8);
    let output = verify(&out, &["--json"]);
    assert!(output.status.success(), "{}", texts(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["doubts"], serde_json::json!([]));
    let engines: std::collections::BTreeSet<&str> = report["segments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["engine"].as_str().unwrap().split(' ').next().unwrap())
        .collect();
    assert!(engines.contains("tract"));
    // Where the variable names a library, it is used without being asked for.
    assert!(engines.contains("ort") || std::env::var_os("ORT_DYLIB_PATH").is_none());

    let exact = model.directory.path().join("exact");
    quick(model.paths.clone(), Precision::F32, &exact).unwrap();
    let output = verify(&out, &["--against", exact.to_str().unwrap()]);
    let text = texts(&output);
    assert!(
        output.status.success() && text.contains("deltavlm-f32-"),
        "{text}"
    );
    // The other way round something coarser than rounding is at work.
    let output = verify(&exact, &["--against", out.to_str().unwrap()]);
    assert!(!output.status.success(), "{}", texts(&output));
}

#[test]
fn a_library_that_is_named_and_absent_is_a_doubt() {
    let (_model, out) = bundle(Precision::Int8);
    let output = verify(&out, &["--ort-library", "/no/such/library.so"]);
    assert!(!output.status.success());
    assert!(texts(&output).contains("/no/such/library.so"));
}

#[test]
fn a_flipped_byte_in_any_file_is_named() {
    let (_model, out) = bundle(Precision::Int4);
    let mut names: Vec<String> = std::fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.len() > 10);
    for name in names {
        let path = out.join(&name);
        let whole = std::fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_doubted(&out, &name);
        std::fs::write(&path, whole).unwrap();
    }
    assert!(verify(&out, &[]).status.success());
}

#[test]
fn a_missing_a_cut_and_an_additional_file_are_named() {
    let (_model, out) = bundle(Precision::Int4);
    let path = out.join("decoder.weights");
    let whole = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_doubted(&out, "decoder.weights");
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert_doubted(&out, "decoder.weights");
    std::fs::write(&path, &whole).unwrap();
    std::fs::write(out.join("notes.txt"), b"mine").unwrap();
    assert_doubted(&out, "notes.txt");
}

#[test]
fn an_altered_manifest_is_named() {
    let (_model, out) = bundle(Precision::Int4);
    let path = out.join(MANIFEST_FILE);
    let text = std::fs::read_to_string(&path).unwrap();
    for (from, to) in [
        ("\"repetition_penalty\": 1.5", "\"repetition_penalty\": 1.4"),
        ("Please judge whether", "Please tell whether"),
        ("\"max_words\": 50", "\"max_words\": 51"),
        ("\"heads\": 4", "\"heads\": 2"),
        ("deltavlm-int4-", "deltavlm-int5-"),
    ] {
        assert!(text.contains(from), "{from}");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        assert_doubted(&out, MANIFEST_FILE);
    }
    std::fs::write(&path, &text[..text.len() / 2]).unwrap();
    assert_doubted(&out, MANIFEST_FILE);
}
