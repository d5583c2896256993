//! A start for the search from what two files say of their places.

use super::homography::Homography;
use super::prior::Prior;
use crate::geo::GeoPoint;
use crate::place::{GroundHeight, Place, Pose};

/// Horizontal error of a camera's position where it states none: GNSS without correction.
const POSITION_M: f64 = 6.0;
/// Horizontal error of a map.
const MAP_M: f64 = 2.0;
/// Error of a gimbal's pitch and roll, in degrees: the picture's middle moves by its tangent times
/// the height.
const LEAN_DEG: f64 = 3.0;
/// Error of a yaw, which hangs on a magnetometer.
const YAW_DEG: f64 = 8.0;
/// Error of a height over the ground, as a factor: a barometer, and ground that is not level with the
/// place of take-off.
const HEIGHT: f64 = 1.12;
/// Error of a map's scale, as a factor.
const MAP_SCALE: f64 = 1.02;

impl Prior {
    /// Where `frame` should lie in `reference` by position, attitude and height, or by georeference,
    /// and how far that may be wrong. `None` when one of them does not say enough of itself, or
    /// shows the sky.
    ///
    /// A camera that states no attitude is taken to look straight down, with any side to the north.
    pub fn of_places(frame: &Place, reference: &Place, ground: GroundHeight) -> Option<Prior> {
        let (of_frame, of_reference) = (View::of(frame, ground)?, View::of(reference, ground)?);
        let (width, height) = frame.size()?;
        let (right, bottom) = (f64::from(width) - 1.0, f64::from(height) - 1.0);
        let corners = [[0.0, 0.0], [right, 0.0], [right, bottom], [0.0, bottom]];
        let mut there = [[0.0; 2]; 4];
        for (to, corner) in there.iter_mut().zip(corners) {
            *to = of_reference.pixel(of_frame.ground(corner)?)?;
        }
        let start = Homography::from_four(&corners, &there)?;
        let scale = start.area_scale([right / 2.0, bottom / 2.0]).abs().sqrt();
        let error_m = of_frame.position_m + of_reference.position_m;
        let prior = Prior {
            start,
            shift_px: error_m / frame.ground_m_per_px(ground)?.value * scale,
            rotation_deg: (of_frame.yaw_deg + of_reference.yaw_deg).min(180.0),
            scale: of_frame.scale * of_reference.scale,
        };
        prior.is_usable().then_some(prior)
    }
}

/// One picture over the ground, and how well that is known.
struct View<'a> {
    place: &'a Place,
    /// `None` of a map.
    pose: Option<Pose>,
    position_m: f64,
    yaw_deg: f64,
    scale: f64,
}

impl<'a> View<'a> {
    fn of(place: &'a Place, ground: GroundHeight) -> Option<View<'a>> {
        if place.georeference.is_some() {
            return Some(View {
                place,
                pose: None,
                position_m: MAP_M,
                yaw_deg: 0.5,
                scale: MAP_SCALE,
            });
        }
        let (pose, yaw_deg) = match place.pose(ground) {
            Some(pose) => (pose, YAW_DEG),
            None => (nadir(place, ground)?, 180.0),
        };
        let position = place
            .accuracy_m
            .as_ref()
            .map_or(POSITION_M, |accuracy| accuracy.value);
        Some(View {
            place,
            pose: Some(pose),
            position_m: position + pose.height_m * LEAN_DEG.to_radians().tan(),
            yaw_deg,
            scale: HEIGHT,
        })
    }

    fn ground(&self, [x, y]: [f64; 2]) -> Option<GeoPoint> {
        match &self.pose {
            Some(pose) => pose.to_wgs84(x, y),
            None => self.place.georeference.as_ref()?.value.to_wgs84(x, y),
        }
    }

    fn pixel(&self, point: GeoPoint) -> Option<[f64; 2]> {
        let Some(pose) = &self.pose else {
            let (x, y) = self.place.georeference.as_ref()?.value.from_wgs84(point)?;
            return Some([x, y]);
        };
        let (east, north) = pose.position.east_north_to(point);
        let pixel = Homography(pose.homography())
            .inverse()?
            .apply([east, north]);
        pixel.iter().all(|value| value.is_finite()).then_some(pixel)
    }
}

/// The camera as if it looked straight down, where it states no attitude at all.
fn nadir(place: &Place, ground: GroundHeight) -> Option<Pose> {
    if place.attitude.yaw.is_some() || place.attitude.pitch.is_some() {
        return None;
    }
    Some(Pose {
        position: place.position.as_ref()?.value,
        height_m: place.height_above_ground(ground)?.value,
        convention: place.attitude.convention,
        yaw_deg: 0.0,
        pitch_deg: -90.0,
        roll_deg: 0.0,
        focal_px: place.focal_px.as_ref()?.value,
        stored_size: place.stored_size?,
        orientation: place.orientation.unwrap_or(crate::Orientation::UPRIGHT),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::{Crs, Georeference};
    use crate::place::Sourced;

    fn drone(east: f64, yaw: f64, height: f64) -> Place {
        let origin = GeoPoint::new(46.5, 9.0).expect("a position");
        let mut place = Place {
            position: Some(Sourced::new(origin.offset(east, 0.0), "test")),
            relative_altitude_m: Some(Sourced::new(height, "test")),
            focal_px: Some(Sourced::new(1000.0, "test")),
            stored_size: Some((801, 601)),
            ..Place::default()
        };
        place.attitude.yaw = Some(Sourced::new(yaw, "test"));
        place.attitude.pitch = Some(Sourced::new(-90.0, "test"));
        place
    }

    #[test]
    fn a_camera_ten_metres_east_sees_the_same_ground_a_hundred_pixels_to_the_right() {
        let prior = Prior::of_places(
            &drone(10.0, 0.0, 100.0),
            &drone(0.0, 0.0, 100.0),
            GroundHeight::Unknown,
        )
        .expect("both say enough");
        let [x, y] = prior.start.apply([400.0, 300.0]);
        assert!(
            (x - 500.0).abs() < 0.01 && (y - 300.0).abs() < 0.01,
            "{x} {y}"
        );
        // Two positions of 6 m and the lean of two gimbals at 100 m.
        assert!((prior.shift_px - 224.8).abs() < 0.1, "{prior:?}");
    }

    #[test]
    fn yaw_and_height_turn_and_scale() {
        let prior = Prior::of_places(
            &drone(0.0, 90.0, 50.0),
            &drone(0.0, 0.0, 100.0),
            GroundHeight::Unknown,
        )
        .expect("both say enough");
        // The frame's upper edge lies to the east, and its pixels are half as large.
        let [x, y] = prior.start.apply([400.0, 200.0]);
        assert!(
            (x - 450.0).abs() < 0.01 && (y - 300.0).abs() < 0.01,
            "{x} {y}"
        );
    }

    #[test]
    fn a_map_places_a_frame_by_its_georeference() {
        let utm = Crs::from_epsg(32632).expect("UTM 32 north");
        let origin = GeoPoint::new(46.5, 9.0).expect("a position");
        let (east, north) = utm.from_wgs84(origin).expect("inside the zone");
        let transform = [east - 100.0, 0.2, 0.0, north + 100.0, 0.0, -0.2];
        let map = Place {
            georeference: Some(Sourced::new(
                Georeference::new(transform, utm).expect("usable"),
                "test",
            )),
            stored_size: Some((1000, 1000)),
            ..Place::default()
        };
        let frame = drone(0.0, 0.0, 100.0);
        let prior = Prior::of_places(&frame, &map, GroundHeight::Unknown).expect("both say enough");
        let [x, y] = prior.start.apply([400.0, 300.0]);
        assert!(
            (x - 499.5).abs() < 0.1 && (y - 499.5).abs() < 0.1,
            "{x} {y}"
        );
        let edge = prior.start.apply([500.0, 300.0]);
        assert!(
            (edge[0] - x - 50.0).abs() < 0.5,
            "half of the map's resolution"
        );
    }

    #[test]
    fn without_an_attitude_any_side_may_be_up_and_without_a_height_nothing_is_said() {
        let mut frame = drone(0.0, 0.0, 100.0);
        frame.attitude.yaw = None;
        frame.attitude.pitch = None;
        let found = Prior::of_places(&frame, &drone(0.0, 0.0, 100.0), GroundHeight::Unknown);
        assert_eq!(found.map(|prior| prior.rotation_deg), Some(180.0));
        frame.relative_altitude_m = None;
        let found = Prior::of_places(&frame, &drone(0.0, 0.0, 100.0), GroundHeight::Unknown);
        assert_eq!(found, None);
    }
}
