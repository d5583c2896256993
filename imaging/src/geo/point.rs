//! Points on the WGS 84 ellipsoid.

/// A geographic position on WGS 84.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GeoPoint {
    /// Latitude in degrees, north positive.
    pub lat: f64,
    /// Longitude in degrees, east positive.
    pub lon: f64,
}

/// Semi-major axis of WGS 84 in metres.
pub(crate) const SEMI_MAJOR_M: f64 = 6_378_137.0;
/// Flattening of WGS 84.
pub(crate) const FLATTENING: f64 = 1.0 / 298.257_223_563;

impl GeoPoint {
    /// A position, if both numbers are finite and within -90..90 and -180..180 degrees.
    pub fn new(lat: f64, lon: f64) -> Option<Self> {
        let valid = lat.is_finite() && lon.is_finite() && lat.abs() <= 90.0 && lon.abs() <= 180.0;
        valid.then_some(Self { lat, lon })
    }

    /// The point `east` and `north` metres away, on the plane that touches the ellipsoid
    /// here. Right within a centimetre up to about a kilometre.
    pub fn offset(self, east: f64, north: f64) -> Self {
        let (meridian, parallel) = self.metres_per_degree();
        let lon = self.lon + east / parallel;
        Self {
            lat: (self.lat + north / meridian).clamp(-90.0, 90.0),
            lon: wrap_longitude(lon),
        }
    }

    /// How far `other` lies to the east and to the north of here, in metres, on the same
    /// plane as [`offset`](Self::offset).
    pub fn east_north_to(self, other: Self) -> (f64, f64) {
        let (meridian, parallel) = self.metres_per_degree();
        let east = wrap_longitude(other.lon - self.lon) * parallel;
        (east, (other.lat - self.lat) * meridian)
    }

    /// Distance in metres over a sphere of the mean radius: within 0.6 % at any distance.
    pub fn distance_m(self, other: Self) -> f64 {
        const MEAN_RADIUS_M: f64 = 6_371_008.8;
        let (a, b) = (self.lat.to_radians(), other.lat.to_radians());
        let half_lat = ((b - a) / 2.0).sin();
        let half_lon = ((other.lon - self.lon).to_radians() / 2.0).sin();
        let h = half_lat * half_lat + a.cos() * b.cos() * half_lon * half_lon;
        2.0 * MEAN_RADIUS_M * h.clamp(0.0, 1.0).sqrt().asin()
    }

    /// Metres per degree along the meridian and along the parallel. The latter is kept
    /// above zero, so that the poles do not divide by it.
    fn metres_per_degree(self) -> (f64, f64) {
        let e2 = FLATTENING * (2.0 - FLATTENING);
        let (sin, cos) = self.lat.to_radians().sin_cos();
        let w2 = 1.0 - e2 * sin * sin;
        let prime_vertical = SEMI_MAJOR_M / w2.sqrt();
        let meridian = prime_vertical * (1.0 - e2) / w2;
        let degree = std::f64::consts::PI / 180.0;
        (meridian * degree, (prime_vertical * cos * degree).max(1e-3))
    }
}

/// Longitude brought into -180..=180.
pub(crate) fn wrap_longitude(lon: f64) -> f64 {
    if (-180.0..=180.0).contains(&lon) {
        return lon;
    }
    (lon + 180.0).rem_euclid(360.0) - 180.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_must_be_on_the_globe() {
        assert!(GeoPoint::new(48.1, 11.5).is_some());
        for (lat, lon) in [
            (91.0, 0.0),
            (0.0, 180.5),
            (f64::NAN, 0.0),
            (0.0, f64::INFINITY),
        ] {
            assert_eq!(GeoPoint::new(lat, lon), None);
        }
    }

    #[test]
    fn offset_and_back_across_the_date_line() {
        let point = GeoPoint {
            lat: -17.0,
            lon: 179.9999,
        };
        let moved = point.offset(100.0, -50.0);
        assert!(moved.lon < -179.0, "{moved:?}");
        let (east, north) = point.east_north_to(moved);
        assert!((east - 100.0).abs() < 1e-6 && (north + 50.0).abs() < 1e-6);
        assert!((point.distance_m(moved) - 111.8).abs() < 0.7);
    }
}
