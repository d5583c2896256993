//! Coordinate reference systems that are built in.

use std::fmt;

use super::point::GeoPoint;
use super::{utm, web_mercator};

/// A coordinate reference system in which files state their place.
///
/// ETRS89 and NAD83 are taken as WGS 84: they lie within about 1 and 2 metres of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Crs {
    /// Longitude and latitude in degrees (EPSG:4326, 4258, 4269).
    Geographic {
        /// The datum.
        datum: Datum,
    },
    /// Easting and northing in metres (EPSG:326zz, 327zz, 258zz, 269zz).
    Utm {
        /// The datum.
        datum: Datum,
        /// Zone 1 to 60.
        zone: u8,
        /// Whether northings count from the equator upwards.
        is_north: bool,
    },
    /// Spherical Mercator of web maps in metres (EPSG:3857).
    WebMercator,
}

/// A geodetic datum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Datum {
    /// WGS 84.
    Wgs84,
    /// ETRS89, fixed to the Eurasian plate.
    Etrs89,
    /// NAD83, fixed to the North American plate.
    Nad83,
}

/// A coordinate reference system that is not built in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CrsError {
    /// Known to EPSG, not to this crate.
    #[error("EPSG:{0} is not built in; reproject to WGS 84, UTM or Web Mercator (gdalwarp -t_srs)")]
    UnknownEpsg(u32),
    /// Described in words or parameters that lead to no built-in system.
    #[error(
        "coordinate system {0:?} is not built in; reproject to WGS 84, UTM or Web Mercator (gdalwarp -t_srs)"
    )]
    UnknownName(String),
    /// A contradiction or a number that is no code.
    #[error("coordinate system unreadable: {0}")]
    Malformed(String),
}

impl Crs {
    /// WGS 84 longitude and latitude.
    pub const WGS84: Self = Self::Geographic {
        datum: Datum::Wgs84,
    };

    /// The system with this EPSG code.
    ///
    /// # Errors
    /// [`CrsError::UnknownEpsg`] when it is not built in.
    pub fn from_epsg(code: u32) -> Result<Self, CrsError> {
        let utm = |datum, zone: u32, is_north| Self::Utm {
            datum,
            // 60 at most by the ranges below.
            zone: zone as u8,
            is_north,
        };
        Ok(match code {
            4326 | 4979 => Self::WGS84,
            4258 => Self::Geographic {
                datum: Datum::Etrs89,
            },
            4269 => Self::Geographic {
                datum: Datum::Nad83,
            },
            3857 | 3785 | 900_913 | 102_100 | 102_113 => Self::WebMercator,
            32_601..=32_660 => utm(Datum::Wgs84, code - 32_600, true),
            32_701..=32_760 => utm(Datum::Wgs84, code - 32_700, false),
            25_828..=25_838 => utm(Datum::Etrs89, code - 25_800, true),
            26_901..=26_923 => utm(Datum::Nad83, code - 26_900, true),
            _ => return Err(CrsError::UnknownEpsg(code)),
        })
    }

    /// The EPSG code.
    pub fn epsg(self) -> u32 {
        match self {
            Self::Geographic {
                datum: Datum::Wgs84,
            } => 4326,
            Self::Geographic {
                datum: Datum::Etrs89,
            } => 4258,
            Self::Geographic {
                datum: Datum::Nad83,
            } => 4269,
            Self::WebMercator => 3857,
            Self::Utm {
                datum,
                zone,
                is_north,
            } => {
                let base = match (datum, is_north) {
                    (Datum::Wgs84, true) => 32_600,
                    (Datum::Wgs84, false) => 32_700,
                    (Datum::Etrs89, _) => 25_800,
                    (Datum::Nad83, _) => 26_900,
                };
                base + u32::from(zone)
            }
        }
    }

    /// The UTM zone of WGS 84 in which a point lies (without the exceptions of Norway
    /// and Svalbard).
    pub fn utm_of(point: GeoPoint) -> Self {
        let zone = ((point.lon + 180.0) / 6.0).floor().clamp(0.0, 59.0) as u8 + 1;
        Self::Utm {
            datum: Datum::Wgs84,
            zone,
            is_north: point.lat >= 0.0,
        }
    }

    /// WGS 84 position of coordinates given as (easting or longitude, northing or
    /// latitude); `None` when they are nowhere on the globe.
    pub fn to_wgs84(self, x: f64, y: f64) -> Option<GeoPoint> {
        match self {
            Self::Geographic { .. } => GeoPoint::new(y, x),
            Self::Utm { zone, is_north, .. } => utm::inverse(zone, is_north, x, y),
            Self::WebMercator => web_mercator::inverse(x, y),
        }
    }

    /// Coordinates of a WGS 84 position, as (easting or longitude, northing or
    /// latitude); `None` far outside the system's area.
    pub fn from_wgs84(self, point: GeoPoint) -> Option<(f64, f64)> {
        match self {
            Self::Geographic { .. } => Some((point.lon, point.lat)),
            Self::Utm { zone, is_north, .. } => utm::forward(zone, is_north, point),
            Self::WebMercator => web_mercator::forward(point),
        }
    }
}

impl fmt::Display for Crs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EPSG:{}", self.epsg())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back_and_others_are_refused_by_number() {
        for code in [
            4326, 4258, 4269, 3857, 32_601, 32_660, 32_733, 25_832, 26_910,
        ] {
            assert_eq!(Crs::from_epsg(code).unwrap().epsg(), code);
        }
        for code in [0, 2154, 27_700, 32_600, 32_661, 32_761, 25_839, u32::MAX] {
            let error = Crs::from_epsg(code).unwrap_err();
            assert!(
                error.to_string().contains(&format!("EPSG:{code} ")),
                "{error}"
            );
        }
    }

    #[test]
    fn nonsense_is_nowhere() {
        let utm = Crs::from_epsg(32_632).unwrap();
        for (x, y) in [
            (f64::NAN, 0.0),
            (1e9, 0.0),
            (5e5, 1e12),
            (f64::INFINITY, 5e6),
        ] {
            assert_eq!(utm.to_wgs84(x, y), None);
            assert_eq!(Crs::WGS84.to_wgs84(x, y), None);
        }
        assert_eq!(
            utm.from_wgs84(GeoPoint {
                lat: 48.0,
                lon: -170.0
            }),
            None
        );
    }
}
