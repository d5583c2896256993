//! `dvlm-ground` as a user meets it: exit codes, messages, and JSON on standard output alone.

use std::{
    path::Path,
    process::{Command, Output},
};

fn ground(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dvlm-ground"))
        .current_dir(dir)
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_key_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let draw = || ground(dir.path(), &["keygen", "--out", "link.key"]);
    assert!(draw().status.success());
    let key = std::fs::read(dir.path().join("link.key")).unwrap();
    let second = draw();
    assert_eq!(second.status.code(), Some(2));
    assert!(text(&second.stderr).contains("exists already"));
    assert_eq!(std::fs::read(dir.path().join("link.key")).unwrap(), key);
}

#[test]
fn no_answer_is_4_and_the_question_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    // A device that is not there: nothing is ever heard.
    let link = ["--link", "serial:/nowhere/tty:9600", "--state", "state"];
    let ask = [
        "ask",
        "--tile",
        "17",
        "--instruction",
        "count",
        "--timeout",
        "0.5",
        "--json",
    ];
    let output = ground(dir.path(), &[&ask[..], &link[..]].concat());
    assert_eq!(output.status.code(), Some(4));
    let said = text(&output.stderr);
    assert!(
        said.contains("the line is not open") && said.contains("nothing at all was heard"),
        "{said}"
    );
    assert!(output.stdout.is_empty());
    let status = ground(
        dir.path(),
        &[&["status", "--timeout", "0.2"], &link[..]].concat(),
    );
    assert_eq!(status.status.code(), Some(4));
    assert!(text(&status.stderr).contains("#0 is not answered yet: tile 17, count"));
}

#[test]
fn a_wrong_command_line_says_what_to_write() {
    let dir = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (&["listen", "--link", "usb:1"][..], "serial:PATH:BAUD"),
        (
            &["ask", "--link", "tcp:a:1", "--tile", "1"],
            "--instruction",
        ),
        (
            &[
                "listen", "--link", "tcp:a:1", "--key", "none.key", "--state", "s",
            ],
            "keygen",
        ),
        (
            &[
                "listen",
                "--link",
                "tcp:a:1",
                "--tiles",
                "none.json",
                "--state",
                "s",
            ],
            "none.json",
        ),
    ] {
        let output = ground(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}
