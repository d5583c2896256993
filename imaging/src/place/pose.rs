//! From pixels of a frame to the ground it shows, by position, attitude and height.
//!
//! The ground is taken as a plane. That chooses the reference and starts the search for
//! the registration; three degrees of yaw move the corner of a 12-megapixel frame at 120
//! metres by about 6 metres, so it is never more than a start.

use crate::geo::GeoPoint;
use crate::orientation::Orientation;
use crate::place::attitude::{Convention, product, rotation};

/// Rays less steep than this sine (about 3 degrees) meet the ground too far away to mean
/// anything.
const MIN_SINE: f64 = 0.05;

/// A camera over flat ground.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pose {
    /// Where the camera was.
    pub position: GeoPoint,
    /// Height over the ground in metres.
    pub height_m: f64,
    /// What roll turns about.
    pub convention: Convention,
    /// Degrees clockwise from true north.
    pub yaw_deg: f64,
    /// Degrees, -90 straight down.
    pub pitch_deg: f64,
    /// Degrees.
    pub roll_deg: f64,
    /// Focal length in pixels.
    pub focal_px: f64,
    /// Width and height of the stored picture.
    pub stored_size: (u32, u32),
    /// How the stored picture is turned for display. Pixels below are those of the
    /// displayed picture, as [`Image`](crate::Image) holds them.
    pub orientation: Orientation,
}

impl Pose {
    /// The ground metres (east, north of [`position`](Self::position)) that a pixel of
    /// the displayed picture shows, as a homography: row by row, for `[x, y, 1]` with
    /// pixel centres at integers. Above the horizon its last row gives 0 or less.
    pub fn homography(&self) -> [f64; 9] {
        let (width, height) = self.stored_size;
        let (cx, cy) = (
            (f64::from(width) - 1.0) / 2.0,
            (f64::from(height) - 1.0) / 2.0,
        );
        let at = |x, y| self.orientation.to_stored(self.stored_size, x, y);
        let (origin, right, down) = (at(0.0, 0.0), at(1.0, 0.0), at(0.0, 1.0));
        let stored = [
            [right.0 - origin.0, down.0 - origin.0, origin.0],
            [right.1 - origin.1, down.1 - origin.1, origin.1],
            [0.0, 0.0, 1.0],
        ];
        // Stored pixels to a ray along the optical axis, right and down.
        let ray = [
            [0.0, 0.0, 1.0],
            [1.0 / self.focal_px, 0.0, -cx / self.focal_px],
            [0.0, 1.0 / self.focal_px, -cy / self.focal_px],
        ];
        let turn = rotation(self.convention, self.yaw_deg, self.pitch_deg, self.roll_deg);
        let [north, east, down] = product(turn, product(ray, stored));
        let scaled = |row: [f64; 3]| row.map(|value| value * self.height_m);
        let rows = [scaled(east), scaled(north), down];
        std::array::from_fn(|index| rows[index / 3][index % 3])
    }

    /// East and north in metres of what a pixel shows; `None` at and above the horizon.
    pub fn to_ground(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let h = self.homography();
        let row = |at: usize| h[at] * x + h[at + 1] * y + h[at + 2];
        let (east, north, down) = (row(0), row(3), row(6));
        // The ray's own length decides how steep it is.
        let (e, n) = (east / self.height_m, north / self.height_m);
        let is_steep = down > MIN_SINE * (e * e + n * n + down * down).sqrt();
        is_steep.then(|| (east / down, north / down))
    }

    /// What a pixel shows on the ground.
    pub fn to_wgs84(&self, x: f64, y: f64) -> Option<GeoPoint> {
        let (east, north) = self.to_ground(x, y)?;
        Some(self.position.offset(east, north))
    }

    /// Width and height of the displayed picture.
    pub fn size(&self) -> (u32, u32) {
        let (width, height) = self.stored_size;
        match self.orientation.swaps_sides() {
            true => (height, width),
            false => (width, height),
        }
    }

    /// The outer corners of the displayed picture on the ground: upper left, upper right,
    /// lower right, lower left. `None` when one of them shows the sky.
    pub fn footprint(&self) -> Option<[GeoPoint; 4]> {
        let (width, height) = self.size();
        let (right, bottom) = (f64::from(width) - 0.5, f64::from(height) - 0.5);
        Some([
            self.to_wgs84(-0.5, -0.5)?,
            self.to_wgs84(right, -0.5)?,
            self.to_wgs84(right, bottom)?,
            self.to_wgs84(-0.5, bottom)?,
        ])
    }

    /// Ground metres per pixel in the middle of the picture, across the line of sight:
    /// distance over focal length.
    pub fn ground_m_per_px(&self) -> Option<f64> {
        let (east, north) = self.centre()?;
        Some((east * east + north * north + self.height_m * self.height_m).sqrt() / self.focal_px)
    }

    /// Direction on the ground, clockwise from north, in which the upper edge of the
    /// displayed picture lies from its middle.
    pub fn heading_of_up(&self) -> Option<f64> {
        let (width, height) = self.size();
        let (x, y) = (
            (f64::from(width) - 1.0) / 2.0,
            (f64::from(height) - 1.0) / 2.0,
        );
        let (from, to) = (self.to_ground(x, y)?, self.to_ground(x, y - 1.0)?);
        Some(
            (to.0 - from.0)
                .atan2(to.1 - from.1)
                .to_degrees()
                .rem_euclid(360.0),
        )
    }

    fn centre(&self) -> Option<(f64, f64)> {
        let (width, height) = self.size();
        self.to_ground(
            (f64::from(width) - 1.0) / 2.0,
            (f64::from(height) - 1.0) / 2.0,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down(yaw: f64) -> Pose {
        Pose {
            position: GeoPoint {
                lat: 48.0,
                lon: 11.0,
            },
            height_m: 100.0,
            convention: Convention::Gimbal,
            yaw_deg: yaw,
            pitch_deg: -90.0,
            roll_deg: 0.0,
            focal_px: 2000.0,
            stored_size: (4000, 3000),
            orientation: Orientation::UPRIGHT,
        }
    }

    fn near(found: Option<(f64, f64)>, expected: (f64, f64)) {
        let (east, north) = found.unwrap();
        assert!(
            (east - expected.0).abs() < 1e-6 && (north - expected.1).abs() < 1e-6,
            "{east} {north}"
        );
    }

    #[test]
    fn straight_down_the_upper_edge_lies_towards_the_yaw() {
        near(down(0.0).to_ground(1999.5, -0.5), (0.0, 75.0));
        near(down(90.0).to_ground(1999.5, -0.5), (75.0, 0.0));
        near(down(0.0).to_ground(3999.5, 1499.5), (100.0, 0.0));
        assert!((down(0.0).ground_m_per_px().unwrap() - 0.05).abs() < 1e-9);
        assert!((down(37.0).heading_of_up().unwrap() - 37.0).abs() < 1e-6);
    }

    #[test]
    fn a_picture_that_exif_turns_is_turned_on_the_ground_too() {
        // 6: the stored picture is turned clockwise by 90 degrees for display, so the
        // displayed upper edge is the stored left one, which lies to the west.
        let turned = Pose {
            orientation: Orientation::from_exif(6),
            ..down(0.0)
        };
        assert_eq!(turned.size(), (3000, 4000));
        near(turned.to_ground(1499.5, -0.5), (-100.0, 0.0));
        assert!((turned.heading_of_up().unwrap() - 270.0).abs() < 1e-6);
        let [a, _, b, _] = turned.footprint().unwrap();
        let [upright, ..] = down(0.0).footprint().unwrap();
        assert!(a.distance_m(upright) > 10.0 && a.distance_m(b) > 200.0);
    }

    #[test]
    fn an_oblique_view_reaches_further_and_the_sky_is_nowhere() {
        let oblique = Pose {
            pitch_deg: -45.0,
            ..down(0.0)
        };
        near(oblique.to_ground(1999.5, 1499.5), (0.0, 100.0));
        assert!((oblique.ground_m_per_px().unwrap() - 0.05 * 2f64.sqrt()).abs() < 1e-9);
        let flat = Pose {
            pitch_deg: -10.0,
            ..down(0.0)
        };
        assert_eq!(flat.to_ground(1999.5, 0.0), None);
        assert_eq!(flat.footprint(), None);
    }

    #[test]
    fn roll_of_a_fixed_camera_tilts_it_sideways() {
        // The right wing down: the camera looks to the left of the path.
        let banked = Pose {
            convention: Convention::Nadir,
            roll_deg: 10.0,
            ..down(0.0)
        };
        let (east, north) = banked.to_ground(1999.5, 1499.5).unwrap();
        assert!((east + 100.0 * 10f64.to_radians().tan()).abs() < 1e-6 && north.abs() < 1e-6);
        // Of a gimbal that looks down it only turns the picture.
        let turned = Pose {
            roll_deg: 10.0,
            ..down(0.0)
        };
        near(turned.to_ground(1999.5, 1499.5), (0.0, 0.0));
    }
}
