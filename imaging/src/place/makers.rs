//! What each maker's XMP says of place and attitude, in one form.

use crate::geo::GeoPoint;
use crate::place::attitude::{Attitude, Convention};
use crate::place::sourced::Sourced;
use crate::place::xmp::Xmp;

/// Prefixes under which DJI's field names are used: by DJI, by Autel (two spellings) and
/// by Skydio.
const DRONE_PREFIXES: [&str; 5] = [
    "drone-dji",
    "drone",
    "drone-autel",
    "drone-skydio",
    "drone-parrot",
];

/// At Pix4D's pitch 0 looks straight down. Below this value it can only be the other
/// convention, in which -90 looks down: some Autel cameras write that under Pix4D's name.
const MIN_PIX4D_PITCH: f64 = -45.0;

/// A position, and what one unit of its last digit is worth.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct XmpPosition {
    pub(crate) point: Sourced<GeoPoint>,
    pub(crate) resolution_m: f64,
}

/// Latitude and longitude. DJI's older firmware spells it `GpsLongtitude`.
pub(crate) fn position(xmp: &Xmp) -> Option<XmpPosition> {
    const NAMES: [(&str, &str); 4] = [
        ("GpsLatitude", "GpsLongtitude"),
        ("GpsLatitude", "GpsLongitude"),
        ("GPSLatitude", "GPSLongitude"),
        ("Latitude", "Longitude"),
    ];
    for prefix in DRONE_PREFIXES {
        for (lat, lon) in NAMES {
            let (lat, lon) = (format!("{prefix}:{lat}"), format!("{prefix}:{lon}"));
            let (Some(lat_text), Some(lon_text)) = (xmp.get(&lat), xmp.get(&lon)) else {
                continue;
            };
            let point = xmp.number(&lat).zip(xmp.number(&lon));
            let point = point.and_then(|(lat, lon)| GeoPoint::new(lat, lon));
            // Both zero: there was no fix.
            let Some(point) = point.filter(|p| p.lat != 0.0 || p.lon != 0.0) else {
                continue;
            };
            return Some(XmpPosition {
                point: Sourced::new(point, format!("XMP {lat}, {lon}")),
                resolution_m: resolution_m(lat_text).max(resolution_m(lon_text)),
            });
        }
    }
    None
}

/// Metres that the last digit of a number of degrees is worth.
fn resolution_m(text: &str) -> f64 {
    let digits = text
        .split_once('.')
        .map_or(0, |(_, digits)| digits.trim().len());
    111_000.0 / 10f64.powi(digits.min(15) as i32)
}

/// Altitude over the sea or the ellipsoid, negative below.
pub(crate) fn altitude_m(xmp: &Xmp) -> Option<Sourced<f64>> {
    of_drone(xmp, &["AbsoluteAltitude"])
}

/// Height over the place of take-off.
pub(crate) fn relative_altitude_m(xmp: &Xmp) -> Option<Sourced<f64>> {
    of_drone(xmp, &["RelativeAltitude"])
}

/// Height over the ground, where a maker states it.
pub(crate) fn above_ground_m(xmp: &Xmp) -> Option<Sourced<f64>> {
    named(xmp, "Camera:AboveGroundAltitude").or_else(|| of_drone(xmp, &["AboveGroundAltitude"]))
}

/// Accuracy of the position in metres: that of RTK, else what the camera states.
pub(crate) fn accuracy_m(xmp: &Xmp) -> Option<Sourced<f64>> {
    let rtk = xmp
        .number("drone-dji:RtkStdLat")
        .zip(xmp.number("drone-dji:RtkStdLon"));
    rtk.filter(|(lat, lon)| *lat > 0.0 && *lon > 0.0)
        .map(|(lat, lon)| Sourced::new(lat.max(lon), "XMP drone-dji:RtkStdLat, RtkStdLon"))
        .or_else(|| named(xmp, "Camera:GPSXYAccuracy"))
        .or_else(|| named(xmp, "drone-skydio:GpsHorizontalAccuracy"))
        .filter(|accuracy| accuracy.value > 0.0)
}

/// Where the camera looked. Never the aircraft's own attitude: a gimbal is there to
/// differ from it.
pub(crate) fn attitude(xmp: &Xmp) -> Attitude {
    const GIMBAL: [&str; 3] = ["GimbalYawDegree", "GimbalPitchDegree", "GimbalRollDegree"];
    const CAMERA: [&str; 3] = ["CameraYawDegree", "CameraPitchDegree", "CameraRollDegree"];
    let forms = [
        (Convention::Gimbal, "drone-dji", GIMBAL),
        (Convention::Gimbal, "drone", GIMBAL),
        (Convention::Gimbal, "drone-autel", GIMBAL),
        (Convention::Gimbal, "drone-parrot", CAMERA),
        (Convention::Gimbal, "drone-parrot", GIMBAL),
        (
            Convention::Gimbal,
            "drone-skydio:CameraOrientationNED/drone-skydio",
            ["Yaw", "Pitch", "Roll"],
        ),
        (Convention::Gimbal, "drone-skydio", GIMBAL),
        (
            Convention::Gimbal,
            "Camera",
            ["GimbalYaw", "GimbalPitch", "GimbalRoll"],
        ),
        (Convention::Nadir, "Camera", ["Yaw", "Pitch", "Roll"]),
    ];
    for (convention, prefix, names) in forms {
        let [yaw, pitch, roll] = names.map(|name| {
            named(xmp, &format!("{prefix}:{name}")).filter(|angle| angle.value.abs() <= 360.0)
        });
        if yaw.is_none() && pitch.is_none() {
            continue;
        }
        let mut attitude = Attitude {
            convention,
            yaw,
            pitch,
            roll,
        };
        if attitude.convention == Convention::Nadir {
            match &mut attitude.pitch {
                Some(pitch) if pitch.value < MIN_PIX4D_PITCH => {
                    attitude.convention = Convention::Gimbal;
                }
                Some(pitch) => pitch.value -= 90.0,
                None => {}
            }
        }
        return attitude.normalised();
    }
    Attitude::default()
}

/// Focal length in pixels of the stored picture.
pub(crate) fn focal_px(xmp: &Xmp) -> Option<Sourced<f64>> {
    named(xmp, "drone-dji:CalibratedFocalLength")
        .or_else(|| named(xmp, "drone:CalibratedFocalLength"))
        .or_else(|| named(xmp, "drone-skydio:CalibratedFocalLength/drone-skydio:X"))
        // In pixels it is never this short; some firmware writes 0 or millimetres.
        .filter(|focal| focal.value >= 100.0)
}

/// Focal length in millimetres.
pub(crate) fn focal_mm(xmp: &Xmp) -> Option<Sourced<f64>> {
    named(xmp, "Camera:PerspectiveFocalLength").filter(|focal| focal.value > 0.0)
}

fn named(xmp: &Xmp, name: &str) -> Option<Sourced<f64>> {
    xmp.number(name)
        .map(|value| Sourced::new(value, format!("XMP {name}")))
}

fn of_drone(xmp: &Xmp, names: &[&str]) -> Option<Sourced<f64>> {
    DRONE_PREFIXES
        .iter()
        .flat_map(|prefix| names.iter().map(move |name| format!("{prefix}:{name}")))
        .find_map(|name| named(xmp, &name))
}
