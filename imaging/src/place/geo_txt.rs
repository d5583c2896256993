//! OpenDroneMap's `geo.txt`: a coordinate system, then a line for each picture.
//!
//! `image geo_x geo_y [geo_z] [yaw pitch roll] [horizontal accuracy] [vertical accuracy]`;
//! angles are those of Pix4D: pitch 0 looks straight down.

use std::path::Path;

use crate::geo::{Crs, CrsError, GeoPoint};
use crate::place::small_file::{self, SmallFileError};

/// Why it cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum GeoTxtError {
    #[error(transparent)]
    File(#[from] SmallFileError),
    #[error("{name}: {source}")]
    Crs { name: String, source: CrsError },
    #[error("{name}, line {line}: {problem}")]
    Line {
        name: String,
        line: usize,
        problem: &'static str,
    },
}

/// What a line says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GeoTxtEntry {
    pub(crate) point: GeoPoint,
    pub(crate) altitude_m: Option<f64>,
    /// Yaw, pitch, roll, with pitch 0 straight down.
    pub(crate) angles: Option<[f64; 3]>,
    pub(crate) accuracy_m: Option<f64>,
}

/// The entry of a picture in the `geo.txt` of its folder or the one above it, and where
/// it stands.
pub(crate) fn read(picture: &Path) -> Result<Option<(GeoTxtEntry, String)>, GeoTxtError> {
    let Some(file_name) = picture.file_name().and_then(|name| name.to_str()) else {
        return Ok(None);
    };
    let folder = picture.parent().unwrap_or(Path::new(""));
    let path = folder.join("geo.txt");
    if !path.is_file() {
        return Ok(None);
    }
    let name = path.display().to_string();
    let entry = parse(&small_file::read(&path)?, file_name, &name)?;
    Ok(entry.map(|(entry, line)| (entry, format!("{name}, line {line}"))))
}

/// The entry of `file_name`, and its line.
pub(crate) fn parse(
    text: &str,
    file_name: &str,
    name: &str,
) -> Result<Option<(GeoTxtEntry, usize)>, GeoTxtError> {
    let mut lines = text
        .lines()
        .zip(1..)
        .filter(|(line, _)| !line.trim().is_empty());
    let Some((projection, _)) = lines.next() else {
        return Ok(None);
    };
    let Some((fields, line)) = lines.find_map(|(text, line)| {
        // A name may hold spaces, so it is compared before the line is split.
        let rest = text.trim_start().strip_prefix(file_name)?;
        rest.starts_with(char::is_whitespace)
            .then_some((rest, line))
    }) else {
        return Ok(None);
    };
    let fault = |problem| GeoTxtError::Line {
        name: name.to_owned(),
        line,
        problem,
    };
    let numbers: Vec<f64> = fields
        .split_whitespace()
        .map_while(|word| word.parse().ok())
        .take(9)
        .collect();
    if numbers.iter().any(|n| !n.is_finite()) {
        return Err(fault("a number is not finite"));
    }
    let &[x, y, ..] = numbers.as_slice() else {
        return Err(fault("x and y are missing"));
    };
    let crs = projection
        .parse::<Crs>()
        .map_err(|source| GeoTxtError::Crs {
            name: name.to_owned(),
            source,
        })?;
    let point = crs
        .to_wgs84(x, y)
        .ok_or_else(|| fault("the place lies off the globe"))?;
    let angles = numbers.get(3..6).map(|a| [a[0], a[1], a[2]]);
    let entry = GeoTxtEntry {
        point,
        altitude_m: numbers.get(2).copied(),
        // All zero is how the columns are filled when only accuracies follow.
        angles: angles.filter(|angles| *angles != [0.0; 3]),
        accuracy_m: numbers.get(6).copied().filter(|&accuracy| accuracy > 0.0),
    };
    Ok(Some((entry, line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geographic_and_utm_lines() {
        let text = "EPSG:4326\nDJI_0028.JPG\t-91.9942096111111\t46.84252125\t198.609\n\
            a b.jpg -91.5 46.5 100 10 0.5 -1 0.8 1.5 extra words\n";
        let (entry, line) = parse(text, "DJI_0028.JPG", "geo.txt").unwrap().unwrap();
        assert_eq!(
            (entry.point.lat, entry.altitude_m, line),
            (46.842_521_25, Some(198.609), 2)
        );
        let (entry, _) = parse(text, "a b.jpg", "geo.txt").unwrap().unwrap();
        assert_eq!(entry.angles, Some([10.0, 0.5, -1.0]));
        assert_eq!(entry.accuracy_m, Some(0.8));
        assert_eq!(parse(text, "a b.jp", "geo.txt").unwrap(), None);
        let utm = "WGS84 UTM 32N\nx.tif 691000 5334000";
        let (entry, _) = parse(utm, "x.tif", "geo.txt").unwrap().unwrap();
        assert!((entry.point.lat - 48.13).abs() < 0.1 && (entry.point.lon - 11.57).abs() < 0.1);
    }

    #[test]
    fn what_cannot_be_used_is_told_by_line() {
        for text in [
            "EPSG:2154\nx.jpg 1 2",
            "EPSG:4326\nx.jpg 1",
            "EPSG:4326\nx.jpg 400 2",
            "EPSG:4326\nx.jpg NaN 2",
        ] {
            assert!(parse(text, "x.jpg", "geo.txt").is_err(), "{text}");
        }
        assert_eq!(parse("", "x.jpg", "geo.txt").unwrap(), None);
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,100}", numbers in "[0-9.eE \\n-]{0,80}") {
            let _ = parse(&text, "x", "geo.txt");
            let _ = parse(&format!("EPSG:4326\nx {numbers}"), "x", "geo.txt");
        }
    }
}
