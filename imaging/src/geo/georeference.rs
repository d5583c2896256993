//! Where the pixels of a picture lie: an affine transform into a coordinate system.

use super::crs::Crs;
use super::point::GeoPoint;

/// The way from pixels to places and back.
///
/// Pixel coordinates have the centre of the upper left pixel at (0, 0); the picture
/// therefore reaches from -0.5 to width - 0.5.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Georeference {
    /// `x = t[0] + column * t[1] + row * t[2]`, `y = t[3] + column * t[4] + row * t[5]`,
    /// where (0, 0) is the outer corner of the upper left pixel: GDAL's convention.
    transform: [f64; 6],
    crs: Crs,
}

/// A transform that leads nowhere.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GeoreferenceError {
    /// A coefficient is not a number, or the transform cannot be reversed.
    #[error("affine transform {0:?} cannot be used; write the file anew with a valid one")]
    Degenerate([f64; 6]),
    /// The picture would lie off the globe.
    #[error(
        "the picture would lie outside the area of {0}; check its transform and coordinate system"
    )]
    OffTheGlobe(Crs),
}

impl Georeference {
    /// From GDAL's six coefficients: origin x, step of x by column, step of x by row,
    /// origin y, step of y by column, step of y by row; the origin is the outer corner
    /// of the upper left pixel.
    ///
    /// # Errors
    /// [`GeoreferenceError`] when the transform is not finite, not reversible, or begins
    /// off the globe.
    pub fn new(transform: [f64; 6], crs: Crs) -> Result<Self, GeoreferenceError> {
        let [_, a, b, _, d, e] = transform;
        let determinant = a * e - b * d;
        if !transform.iter().all(|value| value.is_finite())
            || determinant == 0.0
            || !determinant.is_finite()
            || !(1.0 / determinant).is_finite()
        {
            return Err(GeoreferenceError::Degenerate(transform));
        }
        let georeference = Self { transform, crs };
        georeference
            .to_wgs84(0.0, 0.0)
            .ok_or(GeoreferenceError::OffTheGlobe(crs))?;
        Ok(georeference)
    }

    /// The coordinate system.
    pub fn crs(&self) -> Crs {
        self.crs
    }

    /// GDAL's six coefficients.
    pub fn transform(&self) -> [f64; 6] {
        self.transform
    }

    /// Coordinates in the coordinate system of a pixel position.
    pub fn to_crs(&self, x: f64, y: f64) -> (f64, f64) {
        let (column, row) = (x + 0.5, y + 0.5);
        let [x0, a, b, y0, d, e] = self.transform;
        (x0 + column * a + row * b, y0 + column * d + row * e)
    }

    /// Pixel position of coordinates in the coordinate system.
    pub fn from_crs(&self, easting: f64, northing: f64) -> (f64, f64) {
        let [x0, a, b, y0, d, e] = self.transform;
        let determinant = a * e - b * d;
        let (dx, dy) = (easting - x0, northing - y0);
        let column = (e * dx - b * dy) / determinant;
        let row = (a * dy - d * dx) / determinant;
        (column - 0.5, row - 0.5)
    }

    /// Position of a pixel; `None` when it lies off the globe.
    pub fn to_wgs84(&self, x: f64, y: f64) -> Option<GeoPoint> {
        let (easting, northing) = self.to_crs(x, y);
        self.crs.to_wgs84(easting, northing)
    }

    /// Pixel of a position; `None` when it lies far outside the coordinate system.
    pub fn from_wgs84(&self, point: GeoPoint) -> Option<(f64, f64)> {
        let (easting, northing) = self.crs.from_wgs84(point)?;
        let (x, y) = self.from_crs(easting, northing);
        (x.is_finite() && y.is_finite()).then_some((x, y))
    }

    /// The georeference of a part of the picture that begins at pixel (x, y), with
    /// `scale` of this picture's pixels to one pixel of the part (2.0 for half size).
    pub fn window(&self, x: f64, y: f64, scale: (f64, f64)) -> Self {
        let [x0, a, b, y0, d, e] = self.transform;
        Self {
            transform: [
                x0 + x * a + y * b,
                a * scale.0,
                b * scale.1,
                y0 + x * d + y * e,
                d * scale.0,
                e * scale.1,
            ],
            crs: self.crs,
        }
    }

    /// Ground metres per pixel at a pixel: the side of a square as large as the pixel's
    /// area on the ground, so that Web Mercator's stretch and degrees are accounted for.
    pub fn ground_m_per_px(&self, x: f64, y: f64) -> Option<f64> {
        let centre = self.to_wgs84(x, y)?;
        let step = |dx: f64, dy: f64| Some(centre.east_north_to(self.to_wgs84(x + dx, y + dy)?));
        let (right, down) = (step(1.0, 0.0)?, step(0.0, 1.0)?);
        let area = (right.0 * down.1 - right.1 * down.0).abs();
        (area > 0.0 && area.is_finite()).then(|| area.sqrt())
    }

    /// Direction on the ground, in degrees clockwise from north, towards which the
    /// picture's upper edge points at a pixel.
    pub fn heading_of_up(&self, x: f64, y: f64) -> Option<f64> {
        let centre = self.to_wgs84(x, y)?;
        let (east, north) = centre.east_north_to(self.to_wgs84(x, y - 1.0)?);
        (east != 0.0 || north != 0.0).then(|| east.atan2(north).to_degrees().rem_euclid(360.0))
    }

    /// The outer corners of a picture of this size: upper left, upper right, lower
    /// right, lower left.
    pub fn footprint(&self, width: u32, height: u32) -> Option<[GeoPoint; 4]> {
        let (right, bottom) = (f64::from(width) - 0.5, f64::from(height) - 0.5);
        Some([
            self.to_wgs84(-0.5, -0.5)?,
            self.to_wgs84(right, -0.5)?,
            self.to_wgs84(right, bottom)?,
            self.to_wgs84(-0.5, bottom)?,
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utm() -> Georeference {
        let crs = Crs::from_epsg(32_632).unwrap();
        Georeference::new([691_000.0, 0.3, 0.01, 5_334_000.0, 0.02, -0.3], crs).unwrap()
    }

    #[test]
    fn pixels_come_back_and_centres_are_integers() {
        let geo = utm();
        assert_eq!(geo.to_crs(-0.5, -0.5), (691_000.0, 5_334_000.0));
        for (x, y) in [(0.0, 0.0), (1234.5, -77.25), (40_000.0, 30_000.0)] {
            let (px, py) = geo.from_wgs84(geo.to_wgs84(x, y).unwrap()).unwrap();
            assert!((px - x).abs() < 1e-5 && (py - y).abs() < 1e-5, "{px} {py}");
        }
    }

    #[test]
    fn a_window_at_half_size_lies_where_its_pixels_lay() {
        let geo = utm();
        let half = geo.window(100.0, 60.0, (2.0, 2.0));
        // The centre of the part's first pixel is the corner between four of the whole.
        let (x, y) = half.to_crs(0.0, 0.0);
        let (wx, wy) = geo.to_crs(100.5, 60.5);
        assert!((x - wx).abs() < 1e-9 && (y - wy).abs() < 1e-9);
    }

    #[test]
    fn web_mercator_is_measured_on_the_ground() {
        let geo = Georeference::new(
            [1_280_000.0, 1.0, 0.0, 6_130_000.0, 0.0, -1.0],
            Crs::WebMercator,
        )
        .unwrap();
        let lat = geo.to_wgs84(0.0, 0.0).unwrap().lat;
        let ground = geo.ground_m_per_px(0.0, 0.0).unwrap();
        assert!(
            (ground - lat.to_radians().cos()).abs() < 0.004,
            "{ground} at {lat}"
        );
        assert!(geo.heading_of_up(0.0, 0.0).unwrap().abs() < 1e-6);
    }

    #[test]
    fn transforms_that_lead_nowhere_are_refused() {
        let crs = Crs::from_epsg(32_632).unwrap();
        for transform in [
            [f64::NAN, 1.0, 0.0, 0.0, 0.0, -1.0],
            [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            [0.0, 1.0, 2.0, 0.0, 2.0, 4.0],
            [1e300, 1e200, 0.0, 0.0, 0.0, 1e200],
            [1e9, 1.0, 0.0, 5e6, 0.0, -1.0],
        ] {
            assert!(Georeference::new(transform, crs).is_err(), "{transform:?}");
        }
    }
}
