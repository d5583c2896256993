//! `dvlm align`: its JSON, its text, its pictures, its exit codes, and what it refuses.

use std::path::Path;
use std::process::{Command, Output};

use deltavlm_imaging::register::{Homography, warp};
use deltavlm_imaging::{DecodeOptions, Image, write_png};
use serde_json::{Value, json};

use super::text;

const SIDE: u32 = 400;

/// Roofs on fields; other seeds are other places.
fn scene(seed: u64) -> Image {
    let mut state = seed.wrapping_mul(7919).wrapping_add(17);
    let mut next = move || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as f64 / (1u64 << 31) as f64
    };
    let mut values = vec![100.0f64; (SIDE * SIDE) as usize];
    for index in 0..90 {
        let [x, y, turn, shade] = [next() * 400.0, next() * 400.0, next() * 3.1, next()];
        let (long, wide) = if index < 10 {
            (90.0, 50.0)
        } else {
            (7.0 + 6.0 * shade, 6.0)
        };
        let (sin, cos) = turn.sin_cos();
        for (at, value) in values.iter_mut().enumerate() {
            let (dx, dy) = (
                f64::from(at as u32 % SIDE) - x,
                f64::from(at as u32 / SIDE) - y,
            );
            if (cos * dx + sin * dy).abs() < long && (cos * dy - sin * dx).abs() < wide {
                *value = 50.0 + 180.0 * shade;
            }
        }
    }
    let rgb = values
        .iter()
        .flat_map(|value| [(value + 8.0 * next()) as u8; 3])
        .collect();
    Image::from_rgb("scene", SIDE, SIDE, rgb).unwrap()
}

/// Frame pixel to reference pixel of the frames below.
fn truth() -> Homography {
    Homography::translation(210.0, 190.0)
        .after(&Homography::similarity(1.04, 0.12, [0.0, 0.0]))
        .after(&Homography::translation(-200.0, -200.0))
}

fn write_pair(directory: &Path, frame_of: u64) -> (String, String) {
    let (reference, frame) = (directory.join("reference.png"), directory.join("frame.png"));
    write_png(&reference, &scene(1)).unwrap();
    let seen = warp(&scene(frame_of), &truth().inverse().unwrap(), (SIDE, SIDE)).unwrap();
    write_png(&frame, &seen.image).unwrap();
    (text(&reference), text(&frame))
}

fn align(reference: &str, frame: &str, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dvlm"))
        .args(["align", "--reference", reference, "--frame", frame])
        .args(more)
        .output()
        .unwrap()
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn a_frame_of_the_same_place_is_aligned_and_shown() {
    let directory = tempfile::tempdir().unwrap();
    let (reference, frame) = write_pair(directory.path(), 1);
    let out = directory.path().join("shown");
    let output = align(&reference, &frame, &["--json", "--out", &text(&out)]);
    let said = document(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(said["verdict"], "aligned");
    assert_eq!(
        (&said["reason"], &said["place"]),
        (&Value::Null, &Value::Null)
    );
    assert!(said["agreeing"].as_f64().unwrap() > 0.8, "{said}");
    for number in [
        "residual_px",
        "coverage",
        "peak_ratio",
        "ms",
        "peak_rss_mib",
    ] {
        assert!(said[number].as_f64().unwrap() > 0.0, "{number}: {said}");
    }
    let found: Vec<f64> = serde_json::from_value(said["homography"].clone()).unwrap();
    let found = Homography(found.try_into().unwrap());
    for corner in [[0.0, 0.0], [399.0, 0.0], [399.0, 399.0], [0.0, 399.0]] {
        let (a, b) = (found.apply(corner), truth().apply(corner));
        assert!(
            (a[0] - b[0]).hypot(a[1] - b[1]) < 0.3,
            "{corner:?}: {a:?}, not {b:?}"
        );
    }
    // The frame on the reference's grid differs from it by what resampling costs.
    let read = |name: &str| Image::open(&out.join(name), &DecodeOptions::default()).unwrap();
    let difference = read("difference.png");
    let mean = difference
        .rgb()
        .iter()
        .map(|&value| f64::from(value))
        .sum::<f64>();
    let mean = mean / difference.rgb().len() as f64;
    assert!(mean < 8.0, "mean difference {mean}");
    for name in ["before.png", "after.png", "checkerboard.png"] {
        assert_eq!(read(name).size(), (SIDE, SIDE), "{name}");
    }
    assert_eq!(read("before.png").rgb(), scene(1).rgb());
}

#[test]
fn another_place_is_refused_with_its_numbers_and_exit_code_three() {
    let directory = tempfile::tempdir().unwrap();
    let (reference, frame) = write_pair(directory.path(), 2);
    let output = align(&reference, &frame, &["--json"]);
    let said = document(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert_eq!(
        (&said["verdict"], &said["reason"]),
        (&json!("refused"), &json!("unaligned"))
    );
    assert!(said["agreeing"].as_f64().unwrap() < 0.33, "{said}");
    let output = align(&reference, &frame, &[]);
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("refused (unaligned)") && said.contains("windows"),
        "{said}"
    );
}

#[test]
fn pose_and_map_start_the_search_and_the_answer_has_a_place() {
    let directory = tempfile::tempdir().unwrap();
    let (reference, frame) = write_pair(directory.path(), 1);
    // A map of 0.2 m a pixel in UTM 32, and a camera over it, 3 m off and 2 degrees wrong.
    let beside =
        |name: &str, content: &str| std::fs::write(directory.path().join(name), content).unwrap();
    beside("reference.pgw", "0.2\n0\n0\n-0.2\n500000\n5150000\n");
    beside("reference.prj", "EPSG:32632");
    let utm = deltavlm_imaging::geo::Crs::from_epsg(32632).unwrap();
    let centre = truth().apply([199.5, 199.5]);
    let of_pixel = |[x, y]: [f64; 2]| {
        utm.to_wgs84(500_000.0 + 0.2 * x, 5_150_000.0 - 0.2 * y)
            .unwrap()
    };
    let (there, camera) = (of_pixel(centre), of_pixel(centre).offset(2.0, -2.2));
    // 0.12 radians from the frame's x axis towards its y axis: clockwise.
    let yaw = 0.12f64.to_degrees() + 2.0;
    let pose = json!({"lat": camera.lat, "lon": camera.lon, "height_above_ground_m": 104.0,
        "yaw_deg": yaw, "pitch_deg": -90.0, "roll_deg": 0.0, "focal_px": 500.0});
    beside("frame.json", &pose.to_string());
    let output = align(&reference, &frame, &["--json"]);
    let said = document(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(said["searched_from_pose"], true, "{said}");
    let place = |name: &str| said["place"][name].as_f64().unwrap();
    let found = deltavlm_imaging::geo::GeoPoint::new(place("lat"), place("lon")).unwrap();
    assert!(found.distance_m(there) < 0.2, "{said}");
    assert!(place("accuracy_m") < 0.2, "{said}");
    // A pose that leads outside of the map is a refusal, whatever the pictures show.
    let away = of_pixel([9000.0, 9000.0]);
    let pose = json!({"lat": away.lat, "lon": away.lon, "height_above_ground_m": 104.0,
        "yaw_deg": yaw, "pitch_deg": -90.0, "roll_deg": 0.0, "focal_px": 500.0});
    beside("frame.json", &pose.to_string());
    let output = align(&reference, &frame, &["--json"]);
    assert_eq!(output.status.code(), Some(3), "{}", document(&output));
    let output = align(&reference, &frame, &["--json", "--ignore-pose"]);
    assert_eq!(output.status.code(), Some(0), "{}", document(&output));
}

#[test]
fn what_cannot_be_read_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let (reference, _) = write_pair(directory.path(), 1);
    let half = directory.path().join("half.png");
    let whole = std::fs::read(&reference).unwrap();
    std::fs::write(&half, &whole[..whole.len() / 2]).unwrap();
    super::refused(&align(&reference, &text(&half), &[]), "half.png");
    super::refused(&align(&text(&half), &reference, &[]), "half.png");
    super::refused(
        &align(&reference, &reference, &["--max-pixels", "1000"]),
        "--max-pixels",
    );
    let output = align(&reference, &reference, &["--bands", "0,1,2"]);
    assert_eq!(output.status.code(), Some(2));
}
