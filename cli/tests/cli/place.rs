//! `dvlm place`: its JSON, its text, and what it does not guess.

use std::process::{Command, Output};

use serde_json::Value;

use super::{here, text};

fn place(name: &str, more: &[&str]) -> Output {
    let image = text(&here("../imaging/tests/golden").join(name));
    Command::new(env!("CARGO_BIN_EXE_dvlm"))
        .args(["place", &image])
        .args(more)
        .output()
        .unwrap()
}

fn json(name: &str, more: &[&str]) -> Value {
    let output = place(name, &[more, &["--json"]].concat());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn each_number_of_a_drone_picture_says_where_it_was_read() {
    let found = json("cameras/dji.jpg", &[]);
    assert!((found["lat"].as_f64().unwrap() - 46.842_864_6).abs() < 1e-9);
    assert_eq!(found["yaw_deg"], 220.0);
    assert_eq!(found["source"]["yaw_deg"], "XMP drone-dji:GimbalYawDegree");
    assert_eq!(found["time_utc"], "2024-06-01T10:20:30.500Z");
    assert_eq!(found["footprint"].as_array().unwrap().len(), 4);
    assert_eq!(found["crs"], Value::Null);
    assert!(found["source"].get("crs").is_none());
    let higher = json("cameras/dji.jpg", &["--take-off-height", "39.9"]);
    let ratio =
        higher["ground_m_per_px"].as_f64().unwrap() / found["ground_m_per_px"].as_f64().unwrap();
    assert!((ratio - 2.0).abs() < 1e-6, "{ratio}");
}

#[test]
fn a_map_says_its_system_and_footprint() {
    let found = json("geotiffs/plain_classic_little.tif", &[]);
    assert_eq!(found["crs"], "EPSG:32632");
    assert_eq!(found["yaw_deg"], Value::Null);
    assert!((found["ground_m_per_px"].as_f64().unwrap() - 0.3).abs() < 1e-3);
    let other = json("geotiffs/lambert93.tif", &[]);
    assert!(other["problems"][0].as_str().unwrap().contains("EPSG:2154"));
}

#[test]
fn the_text_names_sources_and_problems() {
    let output = place("cameras/trap_exif_against_xmp.jpg", &[]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains("problem:") && said.contains("apart"),
        "{said}"
    );
    let output = place("cameras/none.jpg", &[]);
    assert!(!output.status.success());
}
