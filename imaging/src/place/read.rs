//! A file's place and pose from everything it says, contradictions named.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek};
use std::path::Path;

use crate::geo::{GeoPoint, Georeference};
use crate::ifd::TagFile;
use crate::metadata;
use crate::orientation::Orientation;
use crate::place::attitude::{Attitude, Convention};
use crate::place::exif::Exif;
use crate::place::ground::{GroundHeight, Heights, height_above};
use crate::place::pose::Pose;
use crate::place::sidecar::Sidecar;
use crate::place::sourced::Sourced;
use crate::place::xmp::Xmp;
use crate::place::{camera, geo_txt, makers, sidecar, time, world_file};
use crate::tiff::TiffFile;

/// EXIF and XMP of one fix may differ by this much beyond what their digits are worth:
/// some cameras write the two a moment apart.
const MAX_DISAGREEMENT_M: f64 = 50.0;

/// What a user knows that files do not say.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PlaceOptions {
    /// Width of the sensor in millimetres, along the long side of the picture.
    pub sensor_width_mm: Option<f64>,
}

/// What a file says of itself. Fields that nothing states are `None`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Place {
    /// Where the camera was.
    pub position: Option<Sourced<GeoPoint>>,
    /// Altitude over the sea or the ellipsoid in metres, negative below.
    pub altitude_m: Option<Sourced<f64>>,
    /// Height over the place of take-off in metres. Not the height over the ground.
    pub relative_altitude_m: Option<Sourced<f64>>,
    /// Height over the ground in metres, where the file itself states it.
    pub above_ground_m: Option<Sourced<f64>>,
    /// Horizontal accuracy of the position in metres.
    pub accuracy_m: Option<Sourced<f64>>,
    /// Where the camera looked.
    pub attitude: Attitude,
    /// Time of exposure, RFC 3339 in UTC.
    pub time_utc: Option<Sourced<String>>,
    /// Focal length in pixels of the stored picture.
    pub focal_px: Option<Sourced<f64>>,
    /// Where the pixels lie, of pictures that are maps already.
    pub georeference: Option<Sourced<Georeference>>,
    /// Width and height of the stored picture.
    pub stored_size: Option<(u32, u32)>,
    /// How it is turned for display.
    pub orientation: Option<Orientation>,
    /// What contradicts itself or cannot be used, in words. The field concerned is left
    /// out, never guessed.
    pub problems: Vec<String>,
}

impl Place {
    /// Reads a picture's headers and the files beside it. What is malformed is left out
    /// and told in [`problems`](Self::problems).
    ///
    /// # Errors
    /// When the file cannot be opened or is no ordinary file.
    pub fn open(path: &Path, options: &PlaceOptions) -> std::io::Result<Self> {
        if !std::fs::metadata(path)?.is_file() {
            return Err(std::io::Error::other("not an ordinary file"));
        }
        let mut file = BufReader::new(File::open(path)?);
        let mut place = Self::default();
        // The first source to state a field wins, so they come in order of trust.
        match sidecar::read(path) {
            Ok(Some((fields, name))) => place.take_sidecar(fields, &name),
            Ok(None) => {}
            Err(error) => place.problems.push(error.to_string()),
        }
        match geo_txt::read(path) {
            Ok(Some((entry, name))) => place.take_geo_txt(entry, &name),
            Ok(None) => {}
            Err(error) => place.problems.push(error.to_string()),
        }
        place.take_file(&mut file, options);
        if place.georeference.is_none() {
            match world_file::read(path) {
                Ok(Some((georeference, name))) => {
                    place.georeference = Some(Sourced::new(georeference, name));
                }
                Ok(None) => {}
                Err(error) => place.problems.push(error.to_string()),
            }
        }
        Ok(place)
    }

    /// Reads the headers of a file in memory; there are no files beside it.
    pub fn decode(bytes: &[u8], options: &PlaceOptions) -> Self {
        let mut place = Self::default();
        place.take_file(&mut Cursor::new(bytes), options);
        place
    }

    /// Width and height of the displayed picture.
    pub fn size(&self) -> Option<(u32, u32)> {
        let (width, height) = self.stored_size?;
        Some(
            match self.orientation.is_some_and(Orientation::swaps_sides) {
                true => (height, width),
                false => (width, height),
            },
        )
    }

    /// Height over the ground in metres.
    pub fn height_above_ground(&self, ground: GroundHeight) -> Option<Sourced<f64>> {
        let heights = Heights {
            above_ground: self.above_ground_m.as_ref(),
            relative: self.relative_altitude_m.as_ref(),
            altitude: self.altitude_m.as_ref(),
        };
        height_above(&heights, ground)
    }

    /// The camera over the ground, when position, yaw, pitch, focal length and height
    /// are all known. A missing roll is none.
    pub fn pose(&self, ground: GroundHeight) -> Option<Pose> {
        Some(Pose {
            position: self.position.as_ref()?.value,
            height_m: self.height_above_ground(ground)?.value,
            convention: self.attitude.convention,
            yaw_deg: self.attitude.yaw.as_ref()?.value,
            pitch_deg: self.attitude.pitch.as_ref()?.value,
            roll_deg: self.attitude.roll.as_ref().map_or(0.0, |roll| roll.value),
            focal_px: self.focal_px.as_ref()?.value,
            stored_size: self.stored_size?,
            orientation: self.orientation.unwrap_or(Orientation::UPRIGHT),
        })
    }

    /// The outer corners of the displayed picture on the ground: by the georeference,
    /// else by the pose. Upper left, upper right, lower right, lower left.
    pub fn footprint(&self, ground: GroundHeight) -> Option<[GeoPoint; 4]> {
        match &self.georeference {
            Some(georeference) => {
                let (width, height) = self.stored_size?;
                georeference.value.footprint(width, height)
            }
            None => self.pose(ground)?.footprint(),
        }
    }

    /// Ground metres per pixel in the middle of the picture, with its source.
    pub fn ground_m_per_px(&self, ground: GroundHeight) -> Option<Sourced<f64>> {
        if let Some(georeference) = &self.georeference {
            let (width, height) = self.stored_size?;
            let (x, y) = (
                (f64::from(width) - 1.0) / 2.0,
                (f64::from(height) - 1.0) / 2.0,
            );
            let value = georeference.value.ground_m_per_px(x, y)?;
            return Some(Sourced::new(value, georeference.source.clone()));
        }
        let height = self.height_above_ground(ground)?;
        let focal = self.focal_px.as_ref()?;
        let source = format!("{}; {}", height.source, focal.source);
        // Without an attitude: as if it looked straight down.
        let value = match self.pose(ground) {
            Some(pose) => pose.ground_m_per_px()?,
            None => height.value / focal.value,
        };
        (value.is_finite() && value > 0.0).then(|| Sourced::new(value, source))
    }

    fn take_sidecar(&mut self, fields: Sidecar, name: &str) {
        let of = |field: &str| format!("{name}: {field}");
        let number = |value: Option<f64>, field| value.map(|value| Sourced::new(value, of(field)));
        self.position = fields
            .point
            .map(|point| Sourced::new(point, of("lat, lon")));
        self.altitude_m = number(fields.altitude_m, "altitude_m");
        self.relative_altitude_m = number(fields.relative_altitude_m, "relative_altitude_m");
        self.above_ground_m = number(fields.height_above_ground_m, "height_above_ground_m");
        self.accuracy_m = number(fields.accuracy_m, "accuracy_m");
        self.focal_px = number(fields.focal_px, "focal_px");
        self.time_utc = fields
            .time_utc
            .map(|time| Sourced::new(time, of("time_utc")));
        self.georeference = fields
            .georeference
            .map(|georeference| Sourced::new(georeference, of("epsg, transform")));
        self.attitude = Attitude {
            convention: Convention::Gimbal,
            yaw: number(fields.yaw_deg, "yaw_deg"),
            pitch: number(fields.pitch_deg, "pitch_deg"),
            roll: number(fields.roll_deg, "roll_deg"),
        }
        .normalised();
    }

    fn take_geo_txt(&mut self, entry: geo_txt::GeoTxtEntry, name: &str) {
        if self.position.is_none() {
            self.position = Some(Sourced::new(entry.point, name));
            self.accuracy_m = entry
                .accuracy_m
                .map(|accuracy| Sourced::new(accuracy, name));
        }
        if self.altitude_m.is_none() {
            self.altitude_m = entry
                .altitude_m
                .map(|altitude| Sourced::new(altitude, name));
        }
        if let Some([yaw, pitch, roll]) = entry.angles {
            let value = |value| Some(Sourced::new(value, name));
            self.take_attitude(
                Attitude {
                    convention: Convention::Nadir,
                    yaw: value(yaw),
                    pitch: value(pitch - 90.0),
                    roll: value(roll),
                }
                .normalised(),
            );
        }
    }

    /// Attitudes are taken whole: angles of two sources do not belong together.
    fn take_attitude(&mut self, attitude: Attitude) {
        if self.attitude.yaw.is_none() && self.attitude.pitch.is_none() {
            self.attitude = attitude;
        }
    }

    fn take_file<R: Read + Seek>(&mut self, reader: &mut R, options: &PlaceOptions) {
        let start = reader.stream_position().unwrap_or(0);
        let found = metadata::read(&mut *reader);
        self.stored_size = found.size;
        let exif = if found.is_tiff {
            let _ = reader.seek(std::io::SeekFrom::Start(start));
            self.take_geotiff(&mut *reader);
            TagFile::new(reader)
                .ok()
                .and_then(|mut file| Exif::read(&mut file))
        } else {
            let exif = found.exif.map(Cursor::new);
            let exif = exif.and_then(|bytes| TagFile::new(bytes).ok());
            exif.and_then(|mut file| Exif::read(&mut file))
        };
        let exif = exif.unwrap_or_default();
        let xmp = found.xmp.as_deref().map(Xmp::parse).unwrap_or_default();
        self.orientation = exif.orientation;
        self.take_position(&exif, &xmp);
        self.take_heights(&exif, &xmp);
        self.take_attitude(makers::attitude(&xmp));
        self.take_direction(&exif, &xmp);
        if self.time_utc.is_none() {
            self.time_utc = self.time(&exif, &xmp);
        }
        if let (None, Some(size)) = (&self.focal_px, self.stored_size) {
            self.focal_px = camera::focal_px(&exif, &xmp, size, options.sensor_width_mm)
                .filter(|focal| focal.value.is_finite() && focal.value > 0.0);
        }
    }

    fn take_geotiff<R: Read + Seek>(&mut self, reader: R) {
        let Ok(mut file) = TiffFile::new("picture", reader) else {
            return;
        };
        if self.georeference.is_some() {
            return;
        }
        match file.georeference() {
            Ok(Some(georeference)) => {
                self.georeference = Some(Sourced::new(georeference, "GeoTIFF tags and keys"));
            }
            Ok(None) => {}
            Err(error) => self.problems.push(error.to_string()),
        }
    }

    /// XMP and EXIF state the same fix with different care: EXIF is often cut to whole
    /// seconds. The one with more digits is taken, and none when they lie apart.
    fn take_position(&mut self, exif: &Exif, xmp: &Xmp) {
        if self.position.is_some() {
            return;
        }
        let of_exif = || {
            exif.position
                .map(|p| Sourced::new(p.point, "EXIF GPSLatitude, GPSLongitude"))
        };
        let (Some(by_xmp), Some(by_exif)) = (makers::position(xmp), exif.position) else {
            self.position = makers::position(xmp).map(|p| p.point).or_else(of_exif);
            return self.take_accuracy(exif, xmp);
        };
        let distance = by_xmp.point.value.distance_m(by_exif.point);
        if distance > MAX_DISAGREEMENT_M + by_xmp.resolution_m + by_exif.resolution_m {
            self.problems.push(format!(
                "EXIF GPS and {} lie {distance:.0} m apart, so neither is used; state the place in a sidecar",
                by_xmp.point.source
            ));
            return;
        }
        self.position = match by_xmp.resolution_m <= by_exif.resolution_m {
            true => Some(by_xmp.point),
            false => of_exif(),
        };
        self.take_accuracy(exif, xmp);
    }

    fn take_accuracy(&mut self, exif: &Exif, xmp: &Xmp) {
        if self.accuracy_m.is_none() {
            let of_exif = exif.horizontal_error_m;
            self.accuracy_m = makers::accuracy_m(xmp)
                .or(of_exif.map(|error| Sourced::new(error, "EXIF GPSHPositioningError")));
        }
    }

    fn take_heights(&mut self, exif: &Exif, xmp: &Xmp) {
        if self.altitude_m.is_none() {
            let of_exif = exif.altitude_m;
            self.altitude_m = makers::altitude_m(xmp)
                .or(of_exif.map(|altitude| Sourced::new(altitude, "EXIF GPSAltitude")));
        }
        if self.relative_altitude_m.is_none() {
            self.relative_altitude_m = makers::relative_altitude_m(xmp);
        }
        if self.above_ground_m.is_none() {
            self.above_ground_m = makers::above_ground_m(xmp);
        }
    }

    /// EXIF's direction of the picture, only where no attitude is stated. The aircraft's
    /// own yaw is told but not used: a gimbal differs from it.
    fn take_direction(&mut self, exif: &Exif, xmp: &Xmp) {
        if self.attitude.yaw.is_some() {
            return;
        }
        if let Some(direction) = exif.image_direction {
            let direction = direction.rem_euclid(360.0);
            self.attitude.yaw = Some(Sourced::new(direction, "EXIF GPSImgDirection"));
        } else if let Some(yaw) = xmp.number("drone-dji:FlightYawDegree") {
            self.problems.push(format!(
                "XMP drone-dji:FlightYawDegree {yaw} is the aircraft's yaw, not the camera's; it is not used"
            ));
        }
    }

    /// GPS time is UTC. A camera's clock counts only with the zone that it states.
    fn time(&mut self, exif: &Exif, xmp: &Xmp) -> Option<Sourced<String>> {
        let gps = exif.gps_time.as_ref();
        if let Some(time) = gps.and_then(|(date, clock)| time::from_gps(date, *clock)) {
            return Some(Sourced::new(time, "EXIF GPSDateStamp, GPSTimeStamp"));
        }
        let of_xmp = |name: &str, zone| {
            let time = time::from_local(xmp.get(name)?, zone)?;
            Some(Sourced::new(time, format!("XMP {name}")))
        };
        if let Some(time) = of_xmp("drone-dji:UTCAtExposure", Some("Z")) {
            return Some(time);
        }
        let local = exif.date_time.as_deref()?;
        if let Some(time) = time::from_local(local, exif.offset_time.as_deref()) {
            return Some(Sourced::new(
                time,
                "EXIF DateTimeOriginal, OffsetTimeOriginal",
            ));
        }
        let time = of_xmp("exif:DateTimeOriginal", None).or_else(|| of_xmp("xmp:CreateDate", None));
        if time.is_none() {
            self.problems.push(format!(
                "EXIF DateTimeOriginal {local} has no time zone, so it is no time; set OffsetTimeOriginal"
            ));
        }
        time
    }
}
