//! The annotated sample configuration stays true to the program.

use deltavlm_host::Config;
use std::path::Path;

const SAMPLE: &str = include_str!("../../examples/host.toml");

/// The sample with its commented keys switched on: `# ` stands before a default,
/// `#! ` before a key without one.
fn with_every_key() -> String {
    let switch_on = |line: &str| {
        let key = line.strip_prefix("#! ").or_else(|| line.strip_prefix("# "));
        match key {
            Some(text) if text.split_once(" = ").is_some_and(|(key, _)| is_key(key)) => {
                text.to_owned()
            }
            _ => line.to_owned(),
        }
    };
    SAMPLE.lines().map(switch_on).collect::<Vec<_>>().join("\n")
}

fn is_key(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// The same, without the keys that have no default.
fn with_every_default() -> String {
    let without_default: Vec<&str> = SAMPLE
        .lines()
        .filter_map(|line| line.strip_prefix("#! "))
        .collect();
    let every_key = with_every_key();
    let has_default = |line: &&str| !without_default.contains(line);
    every_key
        .lines()
        .filter(has_default)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_sample_is_a_valid_configuration() {
    Config::parse(SAMPLE, Path::new("/etc/deltavlm")).expect("the sample as it is");
}

#[test]
fn every_key_of_the_sample_exists() {
    let text = with_every_key();
    assert!(text.contains("\nort_library = ") && text.contains("\nprobe_s = "));
    // A configuration with a contact schedule is read with it.
    let directory = tempfile::tempdir().unwrap();
    let window = "2026-11-24T10:00:00Z 2026-11-24T10:07:30Z\n";
    std::fs::write(directory.path().join("contacts.txt"), window).unwrap();
    Config::parse(&text, directory.path()).expect("the sample with every key");
}

#[test]
fn the_defaults_that_the_sample_names_are_the_defaults() {
    let parse = |text: &str| {
        let config = Config::parse(text, Path::new("/etc/deltavlm")).expect("a valid sample");
        format!("{config:?}")
    };
    assert_eq!(parse(SAMPLE), parse(&with_every_default()));
}
