//! What bad input gets: an error that names it, and never a panic or a wait.

use std::process::Command;

use crate::{Scene, ask, here, refused, scene, text};

#[test]
fn bad_pictures_are_named_with_the_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let whole = std::fs::read(scene().before).unwrap();
    let cases: [(&str, &[u8], &str); 4] = [
        ("empty.png", b"", "is empty"),
        (
            "text.png",
            b"hello, this is no picture",
            "not a PNG, JPEG, TIFF",
        ),
        ("cut.png", &whole[..whole.len() / 2], "fetch it again"),
        ("cut.jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF", "fetch it again"),
    ];
    for (name, content, remedy) in cases {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        let scene = Scene {
            after: text(&path),
            ..scene()
        };
        let output = ask(&scene, &["--instruction", "classify"]);
        refused(&output, name);
        refused(&output, remedy);
    }
    let scene = Scene {
        before: text(&directory.path().join("absent.png")),
        ..scene()
    };
    refused(&ask(&scene, &["--instruction", "classify"]), "absent.png");
}

/// Opening a pipe waits for a writer, reading a device never ends.
#[cfg(target_os = "linux")]
#[test]
fn what_is_no_ordinary_file_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = text(&directory.path().join("pipe.png"));
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    for (path, problem) in [
        (pipe, "not an ordinary file"),
        ("/dev/zero".to_owned(), "not an ordinary file"),
        (text(directory.path()), "is a directory"),
    ] {
        let scene = Scene {
            before: path.clone(),
            ..scene()
        };
        let output = ask(&scene, &["--instruction", "classify"]);
        refused(&output, &path);
        refused(&output, problem);
    }
}

#[test]
fn pictures_of_different_size_are_refused_with_both_sizes() {
    let scene = Scene {
        after: text(&here("../imaging/tests/golden/pictures/rgb_odd.png")),
        ..scene()
    };
    refused(
        &ask(&scene, &["--instruction", "classify"]),
        "after is 47x61",
    );
}

#[test]
fn a_damaged_bundle_names_its_file() {
    let source = here("../runtime/tests/bundles/int8");
    for name in [
        "vision.onnx",
        "decoder.weights",
        "embedding.table",
        "llm-tokenizer.model",
        "bundle.json",
    ] {
        let directory = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(&source).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, directory.path().join(path.file_name().unwrap())).unwrap();
        }
        let scene = Scene {
            bundle: text(directory.path()),
            ..scene()
        };
        let path = directory.path().join(name);
        let mut content = std::fs::read(&path).unwrap();
        let middle = content.len() / 2;
        content[middle] = content[middle].wrapping_add(128);
        std::fs::write(&path, &content).unwrap();
        refused(&ask(&scene, &["--instruction", "classify"]), name);
        std::fs::remove_file(&path).unwrap();
        refused(&ask(&scene, &["--instruction", "classify"]), name);
    }
}

/// A bundle for TensorRT without a library that has it.
#[test]
fn a_bundle_that_no_engine_takes_names_them_all() {
    let directory = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(here("../runtime/tests/bundles/f32")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, directory.path().join(path.file_name().unwrap())).unwrap();
    }
    let path = directory.path().join("bundle.json");
    let manifest = std::fs::read_to_string(&path).unwrap();
    let manifest = manifest
        .replace(r#""target": "cpu""#, r#""target": "tensorrt""#)
        .replace(r#""precision": "f32""#, r#""precision": "f16""#);
    std::fs::write(&path, manifest).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_dvlm"))
        .args(["info", "--ort-library", "/nowhere.so", "--bundle"])
        .arg(directory.path())
        .output()
        .unwrap();
    refused(&output, "exported for tensorrt");
    refused(&output, "not on ort: the options name /nowhere.so");
}

/// A library whose first instruction waits for ever.
#[cfg(target_os = "linux")]
#[test]
fn a_library_that_hangs_is_told_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("hang.c");
    std::fs::write(
        &source,
        "#include <unistd.h>\n__attribute__((constructor)) static void hang(void) { for (;;) pause(); }\n",
    )
    .unwrap();
    let library = directory.path().join("libonnxruntime.so");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status()
        .unwrap();
    assert!(compiled.success());
    let scene = scene();
    let started = std::time::Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_dvlm"))
        .args([
            "ask",
            "--engine",
            "ort",
            "--instruction",
            "classify",
            "--bundle",
            &scene.bundle,
        ])
        .args([
            "--before",
            &scene.before,
            "--after",
            &scene.after,
            "--ort-library",
        ])
        .arg(&library)
        .output()
        .unwrap();
    refused(&output, "hangs while it is loaded");
    // The program's own start is in this, and other tests run beside it.
    assert!(
        started.elapsed().as_secs_f64() < 2.5,
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn impossible_requests_are_refused() {
    refused(
        &ask(&scene(), &["--instruction", "classify", "--beams", "3"]),
        "free decoding",
    );
    refused(&ask(&scene(), &["--question", " "]), "empty");
    refused(
        &ask(
            &scene(),
            &["--instruction", "classify", "--tile", "8", "--overlap", "8"],
        ),
        "overlap",
    );
    refused(
        &ask(&scene(), &["--instruction", "classify", "--deadline", "0"]),
        "deadline",
    );
    // Loading is part of it.
    refused(
        &ask(&scene(), &["--instruction", "classify", "--deadline", "1"]),
        "while loading the bundle",
    );
    // Nothing asked, an unknown instruction: clap's own errors.
    assert_eq!(ask(&scene(), &[]).status.code(), Some(2));
    assert_eq!(
        ask(&scene(), &["--instruction", "dance"]).status.code(),
        Some(2)
    );
}
