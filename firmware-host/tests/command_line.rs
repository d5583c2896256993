//! `dvlm-host` as a user meets it: exit codes, messages, and JSON on standard output alone.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Output, Stdio},
};

fn host(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dvlm-host"))
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_wrong_configuration_ends_run_and_check_with_2_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("host.toml");
    std::fs::write(&path, "[model]\nbundle = \"x\"\ncolour = 1\n").unwrap();
    let path = path.to_str().unwrap();
    for command in ["run", "check"] {
        let output = host(&[command, "--config", path]);
        assert_eq!(output.status.code(), Some(2), "{command}");
        let said = text(&output.stderr);
        assert!(said.contains("model.colour: unknown key"), "{said}");
        assert!(said.contains("spool.dir: is missing"), "{said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn json_is_one_document_on_standard_output() {
    let output = host(&["check", "--json", "--config", "/nowhere/host.toml"]);
    assert_eq!(output.status.code(), Some(2));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["ok"], false);
    assert_eq!(document["problems"][0]["severity"], "error");
    assert!(
        document["problems"][0]["place"]
            .as_str()
            .unwrap()
            .contains("host.toml")
    );
}

#[test]
fn help_shows_a_configuration_that_works() {
    let said = text(&host(&["--help"]).stdout);
    for line in ["bundle = ", "before = ", "address = ", "dir = "] {
        assert!(said.contains(line), "{said}");
    }
}

/// `journalctl -p err` once found nothing: no line had a priority.
#[test]
fn d26_under_systemd_each_line_of_the_log_has_its_priority() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("host.toml");
    let text = "[model]\nbundle = \"none\"\n[watch]\nbefore = \"b\"\nafter = \"a\"\n\
                [link]\naddress = \"serial:/nowhere/tty:9600\"\n[spool]\ndir = \"spool\"\n";
    std::fs::write(&path, text).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_dvlm-host"))
        .args(["run", "--config", path.to_str().unwrap()])
        .env("JOURNAL_STREAM", "8:1")
        .env_remove("RUST_LOG")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    // The folders are not there: an error about each, and one about the bundle.
    let first: Vec<String> = lines.take(3).map(Result::unwrap).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    for line in &first {
        assert!(
            line.starts_with('<') && line[2..].starts_with('>'),
            "{line}"
        );
    }
    assert!(
        first.iter().any(|line| line.starts_with("<3>")),
        "{first:?}"
    );
}
