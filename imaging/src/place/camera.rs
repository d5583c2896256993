//! Focal length in pixels from what files say of lens and sensor.

use crate::place::exif::Exif;
use crate::place::makers;
use crate::place::sourced::Sourced;
use crate::place::xmp::Xmp;

/// Sensor widths in millimetres that exist: from a phone's to a large-format camera's.
/// A stated resolution that leads elsewhere is wrong, as it often is.
const SENSOR_WIDTHS_MM: std::ops::RangeInclusive<f64> = 2.0..=70.0;
/// Diagonal of 24 x 36 mm film, by which the 35 mm equivalent is defined.
const FILM_DIAGONAL_MM: f64 = 43.266_615_3;
/// Up to this diagonal sensors of cameras that fly are 4:3, above 3:2.
const SMALL_DIAGONAL_MM: f64 = 12.0;

/// Focal length in pixels of the stored picture of this size. `sensor_width_mm` is what
/// the user knows.
pub(crate) fn focal_px(
    exif: &Exif,
    xmp: &Xmp,
    (width, height): (u32, u32),
    sensor_width_mm: Option<f64>,
) -> Option<Sourced<f64>> {
    let long_side = f64::from(width.max(height));
    let focal_mm = makers::focal_mm(xmp).or_else(|| {
        exif.focal_mm
            .map(|focal| Sourced::new(focal, "EXIF FocalLength"))
    });
    if let (Some(focal), Some(sensor)) = (&focal_mm, sensor_width_mm.filter(|&w| w > 0.0)) {
        let source = format!("{} over the stated sensor width", focal.source);
        return Some(Sourced::new(focal.value / sensor * long_side, source));
    }
    if let Some(focal) = makers::focal_px(xmp) {
        return Some(focal);
    }
    // The resolution holds for the size that EXIF states, not for a resized picture.
    let stated_width = exif
        .pixel_width
        .filter(|&w| (w - f64::from(width)).abs() < 1.0);
    if let (Some(focal), Some(per_mm), Some(stated)) = (&focal_mm, exif.pixels_per_mm, stated_width)
        && SENSOR_WIDTHS_MM.contains(&(stated / per_mm))
    {
        let source = format!("{}, EXIF FocalPlaneXResolution", focal.source);
        return Some(Sourced::new(focal.value * per_mm, source));
    }
    let equivalent = exif.focal_35_mm?;
    let value = equivalent / film_width(equivalent, exif.focal_mm, width, height) * long_side;
    Some(Sourced::new(value, "EXIF FocalLengthIn35mmFilm"))
}

/// Width of film that shows as much as the long side of the picture.
///
/// The equivalent is defined by the sensor's diagonal. A 16:9 picture is cut out of a
/// sensor of another shape and keeps its width, so the shape of the sensor counts.
fn film_width(equivalent: f64, focal_mm: Option<f64>, width: u32, height: u32) -> f64 {
    let (long, short) = (f64::from(width.max(height)), f64::from(width.min(height)));
    let mut aspect = long / short;
    if aspect > 1.6 {
        let diagonal = focal_mm.map(|focal| FILM_DIAGONAL_MM * focal / equivalent);
        aspect = match diagonal {
            Some(diagonal) if diagonal > SMALL_DIAGONAL_MM => 1.5,
            _ => 4.0 / 3.0,
        };
    }
    FILM_DIAGONAL_MM * aspect / aspect.hypot(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn focal(exif: &Exif, size: (u32, u32)) -> f64 {
        focal_px(exif, &Xmp::default(), size, None).unwrap().value
    }

    #[test]
    fn from_the_equivalent_of_35_mm_film() {
        // One inch, 3:2, 8.8 mm over 13.2 mm: 3648 pixels.
        let one_inch = Exif {
            focal_mm: Some(8.8),
            focal_35_mm: Some(24.0),
            ..Exif::default()
        };
        assert!((focal(&one_inch, (5472, 3648)) / 3648.0 - 1.0).abs() < 0.01);
        // The same sensor cut to 16:9 keeps its width.
        assert!((focal(&one_inch, (5472, 3078)) / 3648.0 - 1.0).abs() < 0.01);
        // 1/2.3 inch, 4:3, 3.61 mm over 6.17 mm, cut to 16:9.
        let small = Exif {
            focal_mm: Some(3.61),
            focal_35_mm: Some(20.0),
            ..Exif::default()
        };
        assert!((focal(&small, (4000, 2250)) / (3.61 / 6.17 * 4000.0) - 1.0).abs() < 0.03);
    }

    #[test]
    fn a_resolution_that_leads_to_no_sensor_is_not_believed() {
        let exif = Exif {
            focal_mm: Some(4.5),
            focal_35_mm: Some(25.0),
            pixels_per_mm: Some(72.0 / 25.4),
            pixel_width: Some(4000.0),
            ..Exif::default()
        };
        let found = focal_px(&exif, &Xmp::default(), (4000, 3000), None).unwrap();
        assert_eq!(found.source, "EXIF FocalLengthIn35mmFilm");
        let right = Exif {
            pixels_per_mm: Some(16_393.442_62 / 25.4),
            ..exif
        };
        assert!((focal(&right, (4000, 3000)) - 2904.4).abs() < 0.5);
    }

    #[test]
    fn what_the_user_states_wins() {
        let exif = Exif {
            focal_mm: Some(8.8),
            focal_35_mm: Some(24.0),
            ..Exif::default()
        };
        let found = focal_px(&exif, &Xmp::default(), (5472, 3648), Some(13.2)).unwrap();
        assert!((found.value - 3648.0).abs() < 1e-9);
    }
}
