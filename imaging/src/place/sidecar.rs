//! A JSON file beside a picture, for makers of their own payloads: `IMG.tif.json` or
//! `IMG.json`.
//!
//! Every field may be left out; it wins over what the picture says of itself:
//! `lat`, `lon` (degrees), `altitude_m`, `relative_altitude_m`, `height_above_ground_m`,
//! `yaw_deg`, `pitch_deg` (-90 straight down), `roll_deg` (of a gimbal), `time_utc`
//! (RFC 3339), `focal_px`, `accuracy_m`, `epsg` and `transform` (GDAL's six numbers).

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::geo::{Crs, CrsError, GeoPoint, Georeference, GeoreferenceError};
use crate::place::small_file::{self, SmallFileError};
use crate::place::time;

/// Why it cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SidecarError {
    #[error(transparent)]
    File(#[from] SmallFileError),
    #[error("{name}: {source}")]
    Json {
        name: String,
        source: serde_json::Error,
    },
    #[error("{name}: {field} {problem}")]
    Field {
        name: String,
        field: &'static str,
        problem: &'static str,
    },
    #[error("{name}: {source}")]
    Crs { name: String, source: CrsError },
    #[error("{name}: {source}")]
    Transform {
        name: String,
        source: GeoreferenceError,
    },
}

#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default)]
struct Fields {
    lat: Option<f64>,
    lon: Option<f64>,
    altitude_m: Option<f64>,
    relative_altitude_m: Option<f64>,
    height_above_ground_m: Option<f64>,
    yaw_deg: Option<f64>,
    pitch_deg: Option<f64>,
    roll_deg: Option<f64>,
    time_utc: Option<String>,
    focal_px: Option<f64>,
    accuracy_m: Option<f64>,
    epsg: Option<u32>,
    transform: Option<[f64; 6]>,
}

/// What the file says, checked.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Sidecar {
    pub(crate) point: Option<GeoPoint>,
    pub(crate) altitude_m: Option<f64>,
    pub(crate) relative_altitude_m: Option<f64>,
    pub(crate) height_above_ground_m: Option<f64>,
    pub(crate) yaw_deg: Option<f64>,
    pub(crate) pitch_deg: Option<f64>,
    pub(crate) roll_deg: Option<f64>,
    pub(crate) time_utc: Option<String>,
    pub(crate) focal_px: Option<f64>,
    pub(crate) accuracy_m: Option<f64>,
    pub(crate) georeference: Option<Georeference>,
}

/// The sidecar of a picture, and its name.
pub(crate) fn read(picture: &Path) -> Result<Option<(Sidecar, String)>, SidecarError> {
    let mut longer = picture.as_os_str().to_owned();
    longer.push(".json");
    let candidates = [PathBuf::from(longer), picture.with_extension("json")];
    let Some(path) = candidates.into_iter().find(|path| path.is_file()) else {
        return Ok(None);
    };
    let name = path.display().to_string();
    let sidecar = parse(&small_file::read(&path)?, &name)?;
    Ok(Some((sidecar, name)))
}

pub(crate) fn parse(text: &str, name: &str) -> Result<Sidecar, SidecarError> {
    let fields: Fields = serde_json::from_str(text).map_err(|source| SidecarError::Json {
        name: name.to_owned(),
        source,
    })?;
    let fault = |field, problem| SidecarError::Field {
        name: name.to_owned(),
        field,
        problem,
    };
    let within = |field: &'static str, value: Option<f64>, low: f64, high: f64| match value {
        Some(value) if !(low..=high).contains(&value) => Err(fault(field, "is out of range")),
        value => Ok(value),
    };
    let point = match (fields.lat, fields.lon) {
        (None, None) => None,
        (Some(lat), Some(lon)) => {
            Some(GeoPoint::new(lat, lon).ok_or_else(|| fault("lat, lon", "are off the globe"))?)
        }
        _ => return Err(fault("lat, lon", "belong together")),
    };
    let time_utc = match fields.time_utc {
        None => None,
        Some(text) => Some(
            time::from_local(&text, None)
                .ok_or_else(|| fault("time_utc", "is no RFC 3339 time"))?,
        ),
    };
    let georeference = match (fields.epsg, fields.transform) {
        (None, None) => None,
        (Some(epsg), Some(transform)) => {
            let crs = Crs::from_epsg(epsg).map_err(|source| SidecarError::Crs {
                name: name.to_owned(),
                source,
            })?;
            let geo = Georeference::new(transform, crs);
            Some(geo.map_err(|source| SidecarError::Transform {
                name: name.to_owned(),
                source,
            })?)
        }
        _ => return Err(fault("epsg, transform", "belong together")),
    };
    Ok(Sidecar {
        point,
        altitude_m: within("altitude_m", fields.altitude_m, -12_000.0, 1e8)?,
        relative_altitude_m: within(
            "relative_altitude_m",
            fields.relative_altitude_m,
            -12_000.0,
            1e8,
        )?,
        height_above_ground_m: within(
            "height_above_ground_m",
            fields.height_above_ground_m,
            0.0,
            1e8,
        )?,
        yaw_deg: within("yaw_deg", fields.yaw_deg, -360.0, 360.0)?,
        pitch_deg: within("pitch_deg", fields.pitch_deg, -180.0, 180.0)?,
        roll_deg: within("roll_deg", fields.roll_deg, -360.0, 360.0)?,
        time_utc,
        focal_px: within("focal_px", fields.focal_px, 1.0, 1e9)?,
        accuracy_m: within("accuracy_m", fields.accuracy_m, 0.0, 1e7)?,
        georeference,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_checked_and_unknown_ones_ignored() {
        let sidecar = parse(
            r#"{"lat": 48.1, "lon": 11.5, "yaw_deg": -12, "other": [1]}"#,
            "x",
        )
        .unwrap();
        assert_eq!(sidecar.point, GeoPoint::new(48.1, 11.5));
        assert_eq!(sidecar.yaw_deg, Some(-12.0));
        for (text, word) in [
            (r#"{"lat": 48.1}"#, "lat, lon"),
            (r#"{"lat": 98.1, "lon": 0}"#, "globe"),
            (r#"{"focal_px": 0}"#, "focal_px"),
            (r#"{"time_utc": "2020-01-01T00:00:00"}"#, "time_utc"),
            (
                r#"{"epsg": 2154, "transform": [0,1,0,0,0,-1]}"#,
                "EPSG:2154",
            ),
            (r#"{"epsg": 32632}"#, "transform"),
            ("[", "EOF"),
        ] {
            let error = parse(text, "x").unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,100}") {
            let _ = parse(&text, "x");
        }
    }
}
