//! GeoTIFF: the tags that place pixels, and the keys that name the coordinate system
//! (OGC 19-008r4).

use std::io::{Read, Seek};

use crate::geo::{Crs, CrsError, Georeference, GeoreferenceError};
use crate::ifd::{Directory, IfdError, TagFile};

const PIXEL_SCALE: u16 = 33_550;
const TIE_POINTS: u16 = 33_922;
const TRANSFORMATION: u16 = 34_264;
const KEY_DIRECTORY: u16 = 34_735;
const DOUBLE_PARAMETERS: u16 = 34_736;
const ASCII_PARAMETERS: u16 = 34_737;

const MODEL_TYPE: u16 = 1024;
const RASTER_TYPE: u16 = 1025;
const CITATION: u16 = 1026;
const GEOGRAPHIC_TYPE: u16 = 2048;
const ANGULAR_UNITS: u16 = 2054;
const PROJECTED_TYPE: u16 = 3072;
const PROJECTED_CITATION: u16 = 3073;
const PROJECTION: u16 = 3074;
const LINEAR_UNITS: u16 = 3076;

const USER_DEFINED: u64 = 32_767;

/// Why GeoTIFF tags cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GeoKeyError {
    /// The coordinate system is not built in, or not stated.
    #[error("GeoTIFF keys: {0}")]
    Crs(#[from] CrsError),
    /// The tags give no usable transform.
    #[error("GeoTIFF tags: {0}")]
    Transform(#[from] GeoreferenceError),
    /// Tags are malformed or contradict each other.
    #[error("GeoTIFF tags: {0}; write the file anew with gdal_translate")]
    Malformed(String),
}

fn malformed(problem: impl Into<String>) -> GeoKeyError {
    GeoKeyError::Malformed(problem.into())
}

impl From<IfdError> for GeoKeyError {
    fn from(error: IfdError) -> Self {
        malformed(error.to_string())
    }
}

/// `None` when the file has no GeoTIFF tags.
pub(crate) fn read<R: Read + Seek>(
    file: &mut TagFile<R>,
    directory: &Directory,
) -> Result<Option<Georeference>, GeoKeyError> {
    let has_transform = directory.has(TIE_POINTS) || directory.has(TRANSFORMATION);
    if !has_transform {
        return Ok(None);
    }
    let keys = Keys::read(file, directory)?;
    let Some(keys) = keys else {
        return Err(malformed(
            "pixels are placed, but no coordinate system is named",
        ));
    };
    let mut transform = transform(file, directory)?;
    // 2: coordinates belong to the centres of pixels, not to their outer corners.
    if keys.integer(RASTER_TYPE) == Some(2) {
        let [x0, a, b, y0, d, e] = transform;
        transform[0] = x0 - 0.5 * (a + b);
        transform[3] = y0 - 0.5 * (d + e);
    }
    Ok(Some(Georeference::new(transform, keys.crs()?)?))
}

fn transform<R: Read + Seek>(
    file: &mut TagFile<R>,
    directory: &Directory,
) -> Result<[f64; 6], GeoKeyError> {
    if let Some(m) = file.numbers(directory, TRANSFORMATION)? {
        if m.len() < 8 {
            return Err(malformed("the transformation matrix is too short"));
        }
        return Ok([m[3], m[0], m[1], m[7], m[4], m[5]]);
    }
    let ties = file.numbers(directory, TIE_POINTS)?.unwrap_or_default();
    let Some(&[column, row, _, x, y, _]) = ties.first_chunk::<6>() else {
        return Err(malformed("the tie point is too short"));
    };
    let Some(scale) = file.numbers(directory, PIXEL_SCALE)? else {
        return Err(malformed(
            "the picture is placed by ground control points, which are no affine transform",
        ));
    };
    let Some(&[sx, sy]) = scale.first_chunk::<2>() else {
        return Err(malformed("the pixel scale is too short"));
    };
    Ok([x - column * sx, sx, 0.0, y + row * sy, 0.0, -sy])
}

/// The keys and their values.
struct Keys {
    entries: Vec<(u16, Value)>,
}

enum Value {
    Integer(u64),
    Number(f64),
    Text(String),
}

impl Keys {
    fn read<R: Read + Seek>(
        file: &mut TagFile<R>,
        directory: &Directory,
    ) -> Result<Option<Self>, GeoKeyError> {
        let Some(words) = file.integers(directory, KEY_DIRECTORY)? else {
            return Ok(None);
        };
        let doubles = file
            .numbers(directory, DOUBLE_PARAMETERS)?
            .unwrap_or_default();
        let ascii = file.bytes(directory, ASCII_PARAMETERS)?.unwrap_or_default();
        let count = *words
            .get(3)
            .ok_or_else(|| malformed("the key directory is too short"))?;
        let mut entries = Vec::new();
        for key in words[4..].chunks_exact(4).take(count as usize) {
            let &[id, location, length, offset] = key else {
                continue;
            };
            let value = match location as u16 {
                0 => Value::Integer(offset),
                DOUBLE_PARAMETERS => {
                    let number = doubles.get(offset as usize);
                    Value::Number(*number.ok_or_else(|| malformed("a key leads nowhere"))?)
                }
                ASCII_PARAMETERS => {
                    let text = ascii.get(offset as usize..(offset + length) as usize);
                    let text = text.ok_or_else(|| malformed("a key leads nowhere"))?;
                    let text = String::from_utf8_lossy(text);
                    Value::Text(text.trim_end_matches(['|', '\0']).to_owned())
                }
                _ => continue,
            };
            if let Value::Number(number) = value
                && !number.is_finite()
            {
                return Err(malformed(format!("key {id} is not a number")));
            }
            entries.push((id as u16, value));
        }
        Ok(Some(Self { entries }))
    }

    fn integer(&self, key: u16) -> Option<u64> {
        self.entries.iter().find_map(|(id, value)| match value {
            Value::Integer(value) if *id == key => Some(*value),
            _ => None,
        })
    }

    fn text(&self, key: u16) -> Option<&str> {
        self.entries.iter().find_map(|(id, value)| match value {
            Value::Text(text) if *id == key => Some(text.as_str()),
            _ => None,
        })
    }

    fn crs(&self) -> Result<Crs, GeoKeyError> {
        match self.integer(MODEL_TYPE) {
            Some(1) => self.projected(),
            Some(2) => {
                if !matches!(self.integer(ANGULAR_UNITS), None | Some(9102)) {
                    return Err(malformed("its angles are not in degrees"));
                }
                match self.integer(GEOGRAPHIC_TYPE) {
                    Some(code) if code != USER_DEFINED => Ok(Crs::from_epsg(code as u32)?),
                    _ => Err(self.unknown()),
                }
            }
            _ => match self
                .integer(PROJECTED_TYPE)
                .or(self.integer(GEOGRAPHIC_TYPE))
            {
                Some(code) => Ok(Crs::from_epsg(code as u32)?),
                None => Err(malformed("no coordinate system is named")),
            },
        }
    }

    fn projected(&self) -> Result<Crs, GeoKeyError> {
        match self.integer(LINEAR_UNITS) {
            None | Some(9001) => {}
            Some(unit) => {
                return Err(malformed(format!(
                    "its lengths are not in metres (unit {unit})"
                )));
            }
        }
        match self.integer(PROJECTED_TYPE) {
            Some(code) if code != USER_DEFINED => return Ok(Crs::from_epsg(code as u32)?),
            _ => {}
        }
        // A user-defined system may still say that it is UTM on a known datum.
        let base = match self.integer(GEOGRAPHIC_TYPE) {
            Some(4326) => 16_000,
            _ => return Err(self.unknown()),
        };
        match self.integer(PROJECTION) {
            Some(code @ (16_001..=16_060 | 16_101..=16_160)) => {
                Ok(Crs::from_epsg(32_600 + (code - base) as u32)?)
            }
            _ => Err(self.unknown()),
        }
    }

    /// The refusal, by the name that the file gives.
    fn unknown(&self) -> GeoKeyError {
        let name = self
            .text(PROJECTED_CITATION)
            .or(self.text(CITATION))
            .unwrap_or("user-defined");
        GeoKeyError::Crs(CrsError::UnknownName(name.chars().take(80).collect()))
    }
}
