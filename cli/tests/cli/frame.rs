//! `dvlm frame`: one frame on its reference, to changes with a place.

use serde_json::Value;

use super::{dvlm, here, text};

/// The demonstration's pairs: their cameras differ by a pixel or two, season and light.
fn frame(reference: &str, frame: &str, more: &[&str]) -> (Option<i32>, String) {
    let bundle = text(&here("../models/nano/bundle"));
    let pair = |date: &str, name: &str| text(&here(&format!("../demo/pairs/{date}/{name}.jpg")));
    let (reference, frame) = (pair("A", reference), pair("B", frame));
    let mut arguments = vec!["frame", "--bundle", &bundle, "--reference", &reference];
    arguments.extend(["--frame", &frame]);
    arguments.extend(more);
    let output = dvlm(&arguments);
    let said = String::from_utf8(output.stdout).unwrap();
    let wrong = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said + &wrong)
}

fn document(reference: &str, of: &str, more: &[&str]) -> (Option<i32>, Value) {
    let (code, said) = frame(reference, of, &[more, &["--json"]].concat());
    let document = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
    (code, document)
}

#[test]
fn what_was_built_is_found_where_it_is_and_another_season_is_no_change() {
    let (code, said) = document("tile_04", "tile_04", &[]);
    assert_eq!((code, &said["verdict"]), (Some(0), &Value::from("aligned")));
    assert_eq!(said["tiles"]["asked"], 1, "{said}");
    let changes = said["changes"].as_array().unwrap();
    assert!(!changes.is_empty(), "{said}");
    for change in changes {
        let bounds: Vec<f64> = serde_json::from_value(change["bbox"].clone()).unwrap();
        assert!(
            bounds[0] >= 0.0 && bounds[0] + bounds[2] <= 256.0,
            "{change}"
        );
        assert!(change["confidence"].as_f64().unwrap() > 0.5, "{change}");
        assert!(change["lat"].is_null() && !change["text"].as_str().unwrap().is_empty());
    }
    let (code, said) = document("tile_02", "tile_02", &[]);
    assert_eq!(
        (code, said["changes"].as_array().unwrap().len()),
        (Some(0), 0),
        "{said}"
    );
}

#[test]
fn another_place_is_refused_and_the_model_not_asked() {
    let (code, said) = document("tile_02", "tile_03", &[]);
    assert_eq!(code, Some(3), "{said}");
    assert_eq!(
        (&said["verdict"], &said["reason"]),
        (&"refused".into(), &"unaligned".into())
    );
    assert!(said["changes"].is_null());
}

#[test]
fn what_a_budget_leaves_out_is_counted() {
    let (_, said) = document("tile_02", "tile_02", &["--tile", "128", "--max-tiles", "1"]);
    assert_eq!(said["tiles"]["asked"], 1, "{said}");
    let counts = ["masked", "asked", "left"].map(|name| said["tiles"][name].as_u64().unwrap());
    assert_eq!(
        counts.iter().sum::<u64>(),
        said["tiles"]["all"].as_u64().unwrap()
    );
    assert!(counts[2] > 0, "{said}");
}

#[test]
fn geojson_needs_a_map() {
    let (code, said) = frame("tile_02", "tile_02", &["--geojson"]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("georeference") && said.contains("tile_02.jpg"),
        "{said}"
    );
}
