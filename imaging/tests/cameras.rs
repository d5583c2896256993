//! Pictures tagged as five makers tag theirs, and the traps that readers have fallen
//! into (`golden/make_cameras.py`, with exiftool).

use std::path::{Path, PathBuf};

use deltavlm_imaging::geo::GeoPoint;
use deltavlm_imaging::place::{GroundHeight, Place, PlaceOptions};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cameras")
}

fn open(name: &str) -> Place {
    Place::open(
        &folder().join(format!("{name}.jpg")),
        &PlaceOptions::default(),
    )
    .unwrap()
}

#[test]
fn every_maker_and_every_trap_is_read_right() {
    let text = std::fs::read_to_string(folder().join("index.json")).unwrap();
    let entries: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(entries.len() >= 26);
    for entry in &entries {
        let name = entry["name"].as_str().unwrap();
        let place = open(name);
        let check = |field: &str, found: Option<f64>, tolerance: f64| match entry.get(field) {
            None => {}
            Some(Value::Null) => assert_eq!(found, None, "{name}: {field}"),
            Some(expected) => {
                let (found, expected) = (found.unwrap_or(f64::NAN), expected.as_f64().unwrap());
                assert!(
                    (found - expected).abs() <= tolerance,
                    "{name}: {field} {found}, not {expected}"
                );
            }
        };
        let position = place.position.as_ref().map(|p| p.value);
        match (entry["lat"].as_f64(), entry["lon"].as_f64(), position) {
            (Some(lat), Some(lon), Some(found)) => {
                let distance = found.distance_m(GeoPoint { lat, lon });
                assert!(distance < 0.05, "{name}: {distance} m off");
            }
            (None, None, None) => {}
            (_, _, found) => panic!("{name}: {found:?}"),
        }
        let value = |sourced: &Option<deltavlm_imaging::place::Sourced<f64>>| {
            sourced.as_ref().map(|s| s.value)
        };
        check("altitude", value(&place.altitude_m), 1e-3);
        check("relative", value(&place.relative_altitude_m), 1e-9);
        check("yaw", value(&place.attitude.yaw), 1e-6);
        check("pitch", value(&place.attitude.pitch), 1e-6);
        check("roll", value(&place.attitude.roll), 1e-6);
        check("accuracy", value(&place.accuracy_m), 1e-9);
        check(
            "up",
            place
                .pose(GroundHeight::Unknown)
                .and_then(|pose| pose.heading_of_up()),
            1e-6,
        );
        if let Some(time) = entry.get("time") {
            assert_eq!(
                place.time_utc.map(|t| t.value).as_deref(),
                time.as_str(),
                "{name}"
            );
        }
        match entry.get("problem").and_then(Value::as_str) {
            Some(problem) => assert!(
                place.problems.iter().any(|p| p.contains(problem)),
                "{name}: {:?}",
                place.problems
            ),
            None => assert_eq!(place.problems, Vec::<String>::new(), "{name}"),
        }
    }
}

#[test]
fn flight_yaw_is_not_gimbal_yaw() {
    assert_eq!(
        open("dji").attitude.yaw.unwrap().source,
        "XMP drone-dji:GimbalYawDegree"
    );
    assert_eq!(open("trap_flight_yaw_only").attitude.yaw, None);
}

#[test]
fn relative_altitude_is_height_over_the_ground_only_with_the_height_of_take_off() {
    let place = open("dji");
    let height = |ground| place.height_above_ground(ground).unwrap();
    assert!((height(GroundHeight::TakeOffAbove(10.0)).value - 49.9).abs() < 1e-9);
    assert!((height(GroundHeight::Elevation(150.0)).value - 48.41).abs() < 1e-9);
    assert!(
        height(GroundHeight::Unknown)
            .source
            .contains("take-off taken as level")
    );
}

#[test]
fn altitude_below_sea_level_is_negative() {
    assert!(open("trap_below_sea_level").altitude_m.unwrap().value < 0.0);
}

#[test]
fn precise_xmp_is_taken_before_exif_of_whole_seconds() {
    let source = open("trap_truncated_exif").position.unwrap().source;
    assert!(source.starts_with("XMP"), "{source}");
}

#[test]
fn files_beside_a_picture_win_and_their_faults_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("a.jpg");
    std::fs::copy(self::folder().join("dji.jpg"), &picture).unwrap();
    let read = || Place::open(&picture, &PlaceOptions::default()).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();

    write("geo.txt", "EPSG:4326\na.jpg 11.5 48.1 520 10 1 0 0.5 1\n");
    let place = read();
    assert_eq!(
        place.position.as_ref().unwrap().value,
        GeoPoint {
            lat: 48.1,
            lon: 11.5
        }
    );
    assert!(place.position.unwrap().source.ends_with("geo.txt, line 2"));
    assert_eq!(place.attitude.pitch.unwrap().value, -89.0);

    write("a.json", r#"{"lat": 40, "lon": 10, "focal_px": 50}"#);
    let place = read();
    assert_eq!(place.position.unwrap().value.lat, 40.0);
    assert_eq!(place.focal_px.unwrap().value, 50.0);
    // What the sidecar leaves out comes from the next source.
    assert_eq!(place.altitude_m.unwrap().value, 520.0);

    write("a.json", r#"{"lat": 400, "lon": 10}"#);
    let place = read();
    assert!(place.problems[0].contains("a.json"), "{:?}", place.problems);

    write("a.jgw", "0.5\n0\n0\n-0.5\n691000.25\n5333999.75\n");
    assert!(read().problems.iter().any(|p| p.contains("no .prj")));
    write(
        "a.prj",
        r#"PROJCS["WGS_1984_UTM_Zone_32N",GEOGCS["GCS_WGS_1984"]]"#,
    );
    let georeference = read().georeference.unwrap();
    assert_eq!(
        georeference.value.transform(),
        [691_000.0, 0.5, 0.0, 5_334_000.0, 0.0, -0.5]
    );
    write("a.prj", r#"PROJCS["x",AUTHORITY["EPSG","2154"]]"#);
    assert!(read().problems.iter().any(|p| p.contains("EPSG:2154")));
}
