//! Universal Transverse Mercator: the Krueger series to the sixth order in the third
//! flattening (Karney, "Transverse Mercator with an accuracy of a few nanometers", 2011).

use std::f64::consts::PI;

use super::point::{FLATTENING, GeoPoint, SEMI_MAJOR_M, wrap_longitude};

const SCALE: f64 = 0.9996;
const FALSE_EASTING_M: f64 = 500_000.0;
const FALSE_NORTHING_SOUTH_M: f64 = 10_000_000.0;
/// Degrees from the central meridian up to which the series is used; beyond it a
/// coordinate is a mistake rather than a place.
const MAX_LONGITUDE_OFFSET: f64 = 40.0;

/// Central meridian of a zone, in degrees.
fn central_meridian(zone: u8) -> f64 {
    f64::from(zone) * 6.0 - 183.0
}

/// Easting and northing in metres; `None` far outside the zone.
pub(crate) fn forward(zone: u8, is_north: bool, point: GeoPoint) -> Option<(f64, f64)> {
    let offset = wrap_longitude(point.lon - central_meridian(zone));
    if !point.lat.is_finite() || point.lat.abs() >= 90.0 || offset.abs() > MAX_LONGITUDE_OFFSET {
        return None;
    }
    let series = Series::new();
    let (sin_lon, cos_lon) = offset.to_radians().sin_cos();
    let tau = conformal(point.lat.to_radians().tan(), series.eccentricity);
    let xi0 = tau.atan2(cos_lon);
    let eta0 = (sin_lon / tau.hypot(cos_lon)).asinh();
    let (mut xi, mut eta) = (xi0, eta0);
    for (index, alpha) in series.alpha.iter().enumerate() {
        let order = 2.0 * (index + 1) as f64;
        xi += alpha * (order * xi0).sin() * (order * eta0).cosh();
        eta += alpha * (order * xi0).cos() * (order * eta0).sinh();
    }
    let false_northing = if is_north {
        0.0
    } else {
        FALSE_NORTHING_SOUTH_M
    };
    Some((
        FALSE_EASTING_M + SCALE * series.rectifying_radius * eta,
        false_northing + SCALE * series.rectifying_radius * xi,
    ))
}

/// The position of an easting and northing in metres; `None` when it is nowhere.
pub(crate) fn inverse(zone: u8, is_north: bool, easting: f64, northing: f64) -> Option<GeoPoint> {
    if !easting.is_finite() || !northing.is_finite() {
        return None;
    }
    let series = Series::new();
    let false_northing = if is_north {
        0.0
    } else {
        FALSE_NORTHING_SOUTH_M
    };
    let xi0 = (northing - false_northing) / (SCALE * series.rectifying_radius);
    let eta0 = (easting - FALSE_EASTING_M) / (SCALE * series.rectifying_radius);
    if xi0.abs() > PI / 2.0 || eta0.abs() > 1.0 {
        return None;
    }
    let (mut xi, mut eta) = (xi0, eta0);
    for (index, beta) in series.beta.iter().enumerate() {
        let order = 2.0 * (index + 1) as f64;
        xi -= beta * (order * xi0).sin() * (order * eta0).cosh();
        eta -= beta * (order * xi0).cos() * (order * eta0).sinh();
    }
    let (sinh, cos) = (eta.sinh(), xi.cos());
    let tau = geodetic(xi.sin() / sinh.hypot(cos), series.eccentricity);
    let lon = wrap_longitude(central_meridian(zone) + sinh.atan2(cos).to_degrees());
    GeoPoint::new(tau.atan().to_degrees(), lon)
}

/// Tangent of the conformal latitude from that of the geodetic one.
fn conformal(tau: f64, e: f64) -> f64 {
    let secant = 1.0_f64.hypot(tau);
    let sigma = (e * (e * tau / secant).atanh()).sinh();
    tau * 1.0_f64.hypot(sigma) - sigma * secant
}

/// The reverse by Newton's method; three steps reach the last bit.
fn geodetic(target: f64, e: f64) -> f64 {
    let e2 = e * e;
    let mut tau = target / (1.0 - e2);
    for _ in 0..5 {
        let found = conformal(tau, e);
        let slope = (1.0 + (1.0 - e2) * tau * tau)
            / ((1.0 - e2) * 1.0_f64.hypot(found) * 1.0_f64.hypot(tau));
        let step = (target - found) / slope;
        tau += step;
        if step.abs() < 1e-15 * (1.0 + tau.abs()) {
            break;
        }
    }
    tau
}

struct Series {
    eccentricity: f64,
    rectifying_radius: f64,
    alpha: [f64; 6],
    beta: [f64; 6],
}

impl Series {
    fn new() -> Self {
        let n = FLATTENING / (2.0 - FLATTENING);
        let (n2, n3, n4, n5, n6) = (n.powi(2), n.powi(3), n.powi(4), n.powi(5), n.powi(6));
        Self {
            eccentricity: (FLATTENING * (2.0 - FLATTENING)).sqrt(),
            rectifying_radius: SEMI_MAJOR_M / (1.0 + n) * (1.0 + n2 / 4.0 + n4 / 64.0 + n6 / 256.0),
            alpha: [
                n / 2.0 - 2.0 / 3.0 * n2 + 5.0 / 16.0 * n3 + 41.0 / 180.0 * n4 - 127.0 / 288.0 * n5
                    + 7891.0 / 37_800.0 * n6,
                13.0 / 48.0 * n2 - 3.0 / 5.0 * n3 + 557.0 / 1440.0 * n4 + 281.0 / 630.0 * n5
                    - 1_983_433.0 / 1_935_360.0 * n6,
                61.0 / 240.0 * n3 - 103.0 / 140.0 * n4
                    + 15_061.0 / 26_880.0 * n5
                    + 167_603.0 / 181_440.0 * n6,
                49_561.0 / 161_280.0 * n4 - 179.0 / 168.0 * n5 + 6_601_661.0 / 7_257_600.0 * n6,
                34_729.0 / 80_640.0 * n5 - 3_418_889.0 / 1_995_840.0 * n6,
                212_378_941.0 / 319_334_400.0 * n6,
            ],
            beta: [
                n / 2.0 - 2.0 / 3.0 * n2 + 37.0 / 96.0 * n3 - n4 / 360.0 - 81.0 / 512.0 * n5
                    + 96_199.0 / 604_800.0 * n6,
                n2 / 48.0 + n3 / 15.0 - 437.0 / 1440.0 * n4 + 46.0 / 105.0 * n5
                    - 1_118_711.0 / 3_870_720.0 * n6,
                17.0 / 480.0 * n3 - 37.0 / 840.0 * n4 - 209.0 / 4480.0 * n5
                    + 5569.0 / 90_720.0 * n6,
                4397.0 / 161_280.0 * n4 - 11.0 / 504.0 * n5 - 830_251.0 / 7_257_600.0 * n6,
                4583.0 / 161_280.0 * n5 - 108_847.0 / 3_991_680.0 * n6,
                20_648_693.0 / 638_668_800.0 * n6,
            ],
        }
    }
}
