//! The program as a user meets it: its JSON, and what bad input gets.

mod align;
mod frame;
mod place;
mod refusals;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn dvlm(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dvlm"))
        .args(arguments)
        .args(["--engine", "tract"])
        .output()
        .unwrap()
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

struct Scene {
    bundle: String,
    before: String,
    after: String,
}

fn scene() -> Scene {
    Scene {
        bundle: text(&here("../runtime/tests/bundles/int8")),
        before: text(&here("../export/tests/golden/before.png")),
        after: text(&here("../export/tests/golden/after.png")),
    }
}

fn ask(scene: &Scene, more: &[&str]) -> Output {
    let mut arguments = vec![
        "ask",
        "--bundle",
        &scene.bundle,
        "--before",
        &scene.before,
        "--after",
        &scene.after,
    ];
    arguments.extend(more);
    dvlm(&arguments)
}

/// A failure that names what it should and never panics.
fn refused(output: &Output, named: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.starts_with("error: "), "{error}");
    assert!(error.contains(named), "`{named}` is not in: {error}");
    assert!(!error.contains("panicked"), "{error}");
    assert!(output.stdout.is_empty());
}

/// What a command that succeeds says.
fn said(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_survey_prints_the_documented_json() {
    let output = ask(
        &scene(),
        &[
            "--instruction",
            "survey",
            "--question",
            "what is new?",
            "--max-tokens",
            "5",
            "--json",
        ],
    );
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["model"]["engine"], "tract");
    assert_eq!(document["model"]["precision"], "int8");
    assert!(document["model"]["id"].is_string());
    assert!(document["peak_rss_mib"].as_f64().unwrap() > 1.0);
    for step in [
        "load",
        "preprocess",
        "vision",
        "difference",
        "qformer",
        "prefill",
        "decode",
    ] {
        assert!(document["timing_ms"][step].is_number(), "{step}");
    }
    let answers = document["answers"].as_array().unwrap();
    let names: Vec<&str> = answers
        .iter()
        .map(|answer| answer["instruction"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["classify", "count", "localize", "caption", "question"]
    );
    assert!(answers[0]["changed"].is_boolean() && answers[0]["confidence"].is_number());
    assert!(answers[1]["roads"].is_u64() && answers[1]["buildings"].is_u64());
    assert!(answers[2]["roads"].is_array() && answers[2]["buildings"].is_array());
    assert_eq!(answers[4]["question"], "what is new?");
    assert!(
        answers
            .iter()
            .all(|answer| answer["text"].is_string() && answer["ms"].is_number())
    );
}

#[test]
fn a_frame_is_tiled_and_merged() {
    let frame = ["--instruction", "survey", "--max-tokens", "3"];
    let frame = [&frame[..], &["--tile", "20", "--overlap", "4"]].concat();
    let json = said(&ask(&scene(), &[&frame[..], &["--json"]].concat()));
    let document: Value = serde_json::from_str(&json).unwrap();
    assert!(document["tiles"].as_array().unwrap().len() > 1);
    assert!(document["answers"][2]["roads_boxes"].is_array());

    let text = said(&ask(&scene(), &frame));
    assert!(text.starts_with("classify: "), "{text}");
    assert!(text.contains("\ncaption: 20x20 at 0,0: "), "{text}");
    assert!(!text.contains('{'), "{text}");
}

#[test]
fn the_text_says_what_really_ran() {
    let bundle = scene().bundle;
    for output in [
        ask(&scene(), &["--instruction", "classify"]),
        ask(&scene(), &["--instruction", "classify", "--tile", "20"]),
        dvlm(&["info", "--bundle", &bundle]),
        dvlm(&["bench", "--bundle", &bundle, "--runs", "1"]),
        dvlm(&["prepare", "--bundle", &bundle]),
    ] {
        let text = said(&output);
        assert!(text.contains(" on tract 0."), "{text}");
        assert!(text.contains("(cpu "), "{text}");
        assert!(text.contains(": asked for\n"), "{text}");
    }
}

/// What is said to be needed is enough for everything, and not much more.
#[test]
fn the_memory_estimate_holds() {
    for bundle in [
        "../runtime/tests/bundles/f32",
        "../runtime/tests/bundles/int8",
        "../models/nano/bundle",
    ] {
        let scene = Scene {
            bundle: text(&here(bundle)),
            ..scene()
        };
        let output = dvlm(&["info", "--bundle", &scene.bundle, "--json"]);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let needed = document["memory_mib"]["needed"].as_f64().unwrap();
        let output = ask(
            &scene,
            &["--instruction", "survey", "--question", "What?", "--json"],
        );
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let taken = document["peak_rss_mib"].as_f64().unwrap();
        assert!(
            taken <= needed && needed < 1.8 * taken,
            "{bundle}: {needed} needed, {taken} taken"
        );
    }
}

#[test]
fn what_the_model_does_not_read_is_said() {
    let long = ["why"; 60].join(" ");
    let questions = ["--question", &long, "--question", "and now?"];
    let output = ask(&scene(), &[&questions[..], &["--max-tokens", "3"]].concat());
    let warnings = String::from_utf8_lossy(&output.stderr).into_owned();
    said(&output);
    assert!(warnings.contains("61 words"), "{warnings}");
    assert!(warnings.contains("1 of its 1 turns"), "{warnings}");
}

#[test]
fn evaluation_resumes_where_it_was_broken_off() {
    let directory = tempfile::tempdir().unwrap();
    let images = directory.path().join("images");
    std::fs::create_dir_all(&images).unwrap();
    std::fs::copy(scene().before, images.join("a.png")).unwrap();
    std::fs::copy(scene().after, images.join("b.png")).unwrap();
    let entry = |id: &str, answer: &str| {
        format!(
            r#"{{"id":"{id}","image":["a.png","b.png"],"changeflag":1,"conversations":[
            {{"from":"human","value":"q"}},{{"from":"gpt","value":"{answer}"}}]}}"#
        )
    };
    let mut files = Vec::new();
    for (name, answer) in [
        ("x_binary.json", "yes"),
        ("x_count.json", "2 new roads and 1 new building"),
        ("x_loc.json", "roads [top-left] buildings []"),
        ("x_test.json", "a road appears"),
        ("x_dialog.json", "yes"),
    ] {
        let path = directory.path().join(name);
        std::fs::write(&path, format!("[{}]", entry("1", answer))).unwrap();
        files.push(text(&path));
    }
    let answers = directory.path().join("answers.jsonl");
    let evaluate = || {
        let mut arguments = vec![
            "eval".to_owned(),
            "--bundle".to_owned(),
            scene().bundle,
            "--annotations".to_owned(),
        ];
        arguments.extend(files.clone());
        arguments.extend([
            "--images".to_owned(),
            text(&images),
            "--answers".to_owned(),
            text(&answers),
        ]);
        arguments.extend([
            "--max-tokens".to_owned(),
            "6".to_owned(),
            "--json".to_owned(),
        ]);
        dvlm(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let run = || serde_json::from_str::<Value>(&said(&evaluate())).unwrap();
    let first = run();
    assert_eq!((&first["n"], &first["unparsed"]), (&5.into(), &0.into()));
    assert!(first["classify"]["accuracy"].is_number() && first["classify"]["ece"].is_number());
    assert!(first["count"]["roads"]["mae"].is_number());
    assert!(first["localize"]["buildings"]["subset_accuracy"].is_number());
    assert!(first["caption"]["bleu4"].is_number() && first["dialog"]["cider_d"].is_number());
    assert!(first.get("question").is_none());

    // Broken off in the middle of a line.
    let whole = std::fs::read(&answers).unwrap();
    std::fs::write(&answers, &whole[..whole.len() - 20]).unwrap();
    let second = run();
    assert_eq!(second["n"], first["n"]);
    assert_eq!(second["classify"], first["classify"]);
    assert_eq!(
        std::fs::read_to_string(&answers).unwrap().lines().count(),
        5
    );

    // Answers that were made in another way are not taken for these.
    let whole = std::fs::read_to_string(&answers).unwrap();
    for (other, named) in [
        (whole.replace("constrained", "free"), "answered by"),
        ("[1, 2, 3]".to_owned(), "not a line of answers"),
    ] {
        std::fs::write(&answers, &other).unwrap();
        let output = evaluate();
        refused(&output, "name another `--answers` file");
        refused(&output, named);
        assert_eq!(std::fs::read_to_string(&answers).unwrap(), other);
    }
}

#[test]
fn bench_and_info_print_their_json() {
    let bundle = scene().bundle;
    let output = dvlm(&[
        "bench", "--bundle", &bundle, "--runs", "1", "--ops", "--json",
    ]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    for segment in ["vision", "difference", "qformer", "prefill", "decode"] {
        assert!(
            document["segments"][segment]["ms"].as_f64().unwrap() > 0.0,
            "{segment}"
        );
    }
    assert!(document["end_to_end"]["survey_ms"].is_number());
    assert!(
        document["ops"]
            .as_array()
            .unwrap()
            .iter()
            .any(|op| op["op"] == "Linear int8")
    );

    let output = dvlm(&["info", "--bundle", &bundle, "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(document["memory_mib"]["needed"].as_f64().unwrap() > 0.0);
    assert_eq!(document["segments"].as_array().unwrap().len(), 4);
}
