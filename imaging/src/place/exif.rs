//! What EXIF says of place, time and camera.

use std::io::{Read, Seek};

use crate::geo::GeoPoint;
use crate::ifd::{Directory, TagFile};
use crate::orientation::Orientation;

/// The fields that matter here, as far as they are there and make sense.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Exif {
    pub(crate) make: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) orientation: Option<Orientation>,
    /// `YYYY:MM:DD HH:MM:SS`, no zone.
    pub(crate) date_time: Option<String>,
    /// `+HH:MM` of the former.
    pub(crate) offset_time: Option<String>,
    pub(crate) position: Option<ExifPosition>,
    /// Metres, negative below sea level.
    pub(crate) altitude_m: Option<f64>,
    /// Degrees clockwise from true north.
    pub(crate) image_direction: Option<f64>,
    /// `YYYY:MM:DD` and hours, minutes, seconds in UTC.
    pub(crate) gps_time: Option<(String, [f64; 3])>,
    pub(crate) horizontal_error_m: Option<f64>,
    pub(crate) focal_mm: Option<f64>,
    pub(crate) focal_35_mm: Option<f64>,
    /// Pixels per millimetre on the sensor.
    pub(crate) pixels_per_mm: Option<f64>,
    /// Width for which the former holds.
    pub(crate) pixel_width: Option<f64>,
}

/// A position, and what one unit of its last digit is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ExifPosition {
    pub(crate) point: GeoPoint,
    pub(crate) resolution_m: f64,
}

impl Exif {
    /// Reads from a file of tags; what is malformed is left out.
    pub(crate) fn read<R: Read + Seek>(file: &mut TagFile<R>) -> Option<Self> {
        let main = file.directory(file.first()).ok()?;
        let mut below = |tag| {
            let offset = file.integer(&main, tag).ok()??;
            file.directory(offset).ok()
        };
        let (exif, gps) = (below(34_665), below(34_853));
        let mut found = Self {
            make: text(file, &main, 271),
            model: text(file, &main, 272),
            orientation: number(file, &main, 274).map(|n| Orientation::from_exif(n as u64)),
            ..Self::default()
        };
        if let Some(exif) = exif {
            found.read_camera(file, &exif);
        }
        if let Some(gps) = gps {
            found.read_gps(file, &gps);
        }
        Some(found)
    }

    fn read_camera<R: Read + Seek>(&mut self, file: &mut TagFile<R>, exif: &Directory) {
        self.date_time = text(file, exif, 36_867);
        self.offset_time = text(file, exif, 36_881);
        let positive = |value: Option<f64>| value.filter(|&v| v > 0.0 && v.is_finite());
        self.focal_mm = positive(number(file, exif, 37_386));
        self.focal_35_mm = positive(number(file, exif, 41_989));
        let unit_mm = match number(file, exif, 41_488).map(|n| n as u32) {
            Some(3) => 10.0,
            Some(4) => 1.0,
            Some(5) => 0.001,
            _ => 25.4,
        };
        self.pixels_per_mm = positive(number(file, exif, 41_486)).map(|n| n / unit_mm);
        self.pixel_width = positive(number(file, exif, 40_962));
    }

    fn read_gps<R: Read + Seek>(&mut self, file: &mut TagFile<R>, gps: &Directory) {
        // V: the receiver had no fix.
        let is_void = text(file, gps, 9).is_some_and(|status| status.starts_with('V'));
        let lat = angle(file, gps, 2);
        let lon = angle(file, gps, 4);
        let negative = |file: &mut TagFile<R>, tag, letter| {
            text(file, gps, tag).is_some_and(|text| text.to_ascii_uppercase().starts_with(letter))
        };
        if let (Some((lat, fine)), Some((lon, fine_lon)), false) = (lat, lon, is_void) {
            let lat = if negative(file, 1, 'S') { -lat } else { lat };
            let lon = if negative(file, 3, 'W') { -lon } else { lon };
            // Both exactly zero is a receiver without a fix, not a place in the Gulf of Guinea.
            self.position = GeoPoint::new(lat, lon)
                .filter(|point| point.lat != 0.0 || point.lon != 0.0)
                .map(|point| ExifPosition {
                    point,
                    resolution_m: fine.max(fine_lon),
                });
        }
        let is_below = matches!(number(file, gps, 5), Some(n) if n == 1.0 || n == 3.0);
        self.altitude_m = number(file, gps, 6)
            .filter(|altitude| altitude.is_finite() && altitude.abs() < 100_000.0)
            .map(|altitude| if is_below { -altitude.abs() } else { altitude });
        // M is against magnetic north, whose declination nobody states.
        if !negative(file, 16, 'M') {
            self.image_direction = number(file, gps, 17).filter(|d| (-360.0..=360.0).contains(d));
        }
        let date = text(file, gps, 29);
        let time = numbers(file, gps, 7);
        if let (Some(date), Some(&[h, m, s])) =
            (date, time.as_deref().and_then(|t| t.first_chunk()))
        {
            self.gps_time = Some((date, [h, m, s]));
        }
        self.horizontal_error_m = number(file, gps, 31).filter(|e| *e > 0.0 && e.is_finite());
    }
}

/// Degrees, minutes and seconds as one number, and the metres that its last digit is worth.
fn angle<R: Read + Seek>(file: &mut TagFile<R>, gps: &Directory, tag: u16) -> Option<(f64, f64)> {
    let parts = numbers(file, gps, tag)?;
    let bytes = file.bytes(gps, tag).ok()??;
    let mut degrees = 0.0;
    let mut resolution_m: f64 = 111_000.0;
    for (index, (part, unit)) in parts.iter().zip([1.0, 60.0, 3600.0]).enumerate() {
        // Some writers leave the seconds as 0/0.
        let part = if part.is_nan() && index > 0 {
            0.0
        } else {
            *part
        };
        degrees += part / unit;
        let word = bytes.get(index * 8 + 4..index * 8 + 8)?;
        let word = [word[0], word[1], word[2], word[3]];
        let denominator = if file.is_little_endian() {
            u32::from_le_bytes(word)
        } else {
            u32::from_be_bytes(word)
        };
        if part != 0.0 || denominator > 1 {
            resolution_m = resolution_m.min(111_000.0 / unit / f64::from(denominator.max(1)));
        }
    }
    (degrees.is_finite() && !parts.is_empty()).then_some((degrees, resolution_m))
}

fn numbers<R: Read + Seek>(
    file: &mut TagFile<R>,
    directory: &Directory,
    tag: u16,
) -> Option<Vec<f64>> {
    file.numbers(directory, tag).ok()?
}

fn number<R: Read + Seek>(file: &mut TagFile<R>, directory: &Directory, tag: u16) -> Option<f64> {
    numbers(file, directory, tag)?
        .first()
        .copied()
        .filter(|n| !n.is_nan())
}

fn text<R: Read + Seek>(file: &mut TagFile<R>, directory: &Directory, tag: u16) -> Option<String> {
    let text = file.text(directory, tag).ok()??;
    (!text.is_empty()).then_some(text)
}
