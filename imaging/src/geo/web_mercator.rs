//! Web Mercator (EPSG:3857): a sphere of the semi-major axis, geodetic latitudes.

use super::point::{GeoPoint, SEMI_MAJOR_M};

/// Easting and northing in metres; `None` at the poles.
pub(crate) fn forward(point: GeoPoint) -> Option<(f64, f64)> {
    let northing = SEMI_MAJOR_M * point.lat.to_radians().tan().asinh();
    (northing.is_finite() && point.lat.abs() < 90.0)
        .then(|| (SEMI_MAJOR_M * point.lon.to_radians(), northing))
}

/// The position of an easting and northing in metres.
pub(crate) fn inverse(easting: f64, northing: f64) -> Option<GeoPoint> {
    let lat = (northing / SEMI_MAJOR_M).sinh().atan().to_degrees();
    GeoPoint::new(lat, (easting / SEMI_MAJOR_M).to_degrees())
}
