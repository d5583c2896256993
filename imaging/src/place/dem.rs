//! Heights of the ground from a GeoTIFF.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use crate::error::ImageError;
use crate::geo::{GeoPoint, Georeference};
use crate::tiff::{GeoKeyError, TiffFile};
use crate::tiling::Rect;

/// A digital elevation model: one band of metres.
pub struct Dem<R> {
    file: TiffFile<R>,
    georeference: Georeference,
}

/// Why an elevation model cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemError {
    /// Not readable as a TIFF.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Its place is malformed or in a system that is not built in.
    #[error("{name}: {source}")]
    Place {
        /// The file.
        name: String,
        /// What is wrong.
        source: GeoKeyError,
    },
    /// It has no place at all.
    #[error("{0}: it has no GeoTIFF tags; an elevation model needs a place")]
    NoPlace(String),
}

impl Dem<BufReader<File>> {
    /// Opens a GeoTIFF.
    ///
    /// # Errors
    /// [`DemError`].
    pub fn open(path: &Path) -> Result<Self, DemError> {
        Self::new(&path.display().to_string(), TiffFile::open(path)?)
    }
}

impl<R: Read + Seek> Dem<R> {
    /// From an open file; `name` is for errors.
    ///
    /// # Errors
    /// [`DemError`].
    pub fn new(name: &str, mut file: TiffFile<R>) -> Result<Self, DemError> {
        let georeference = file.georeference().map_err(|source| DemError::Place {
            name: name.to_owned(),
            source,
        })?;
        let georeference = georeference.ok_or_else(|| DemError::NoPlace(name.to_owned()))?;
        Ok(Self { file, georeference })
    }

    /// Height of the ground in metres, between the four nearest samples; `None` outside
    /// the model and where it has no data.
    ///
    /// # Errors
    /// [`ImageError`] when the file is damaged there.
    pub fn height_m(&mut self, point: GeoPoint) -> Result<Option<f64>, ImageError> {
        let Some((x, y)) = self.georeference.from_wgs84(point) else {
            return Ok(None);
        };
        let (width, height) = self.file.size();
        let (right, bottom) = (f64::from(width) - 1.0, f64::from(height) - 1.0);
        if !(-0.5..=right + 0.5).contains(&x) || !(-0.5..=bottom + 0.5).contains(&y) {
            return Ok(None);
        }
        let (x, y) = (x.clamp(0.0, right), y.clamp(0.0, bottom));
        let (left, top) = (x.floor() as u32, y.floor() as u32);
        let window = Rect {
            x: left,
            y: top,
            width: 2.min(width - left),
            height: 2.min(height - top),
        };
        let raster = self.file.read_samples(0, window, &[1], 4)?;
        let nodata = self.file.nodata();
        let sample = |dx: u32, dy: u32| {
            let value = raster.get(dx.min(window.width - 1), dy.min(window.height - 1), 0);
            (value.is_finite() && Some(value) != nodata).then_some(value)
        };
        let (fx, fy) = (x - f64::from(left), y - f64::from(top));
        let corners = [
            (0, 0, (1.0 - fx) * (1.0 - fy)),
            (1, 0, fx * (1.0 - fy)),
            (0, 1, (1.0 - fx) * fy),
            (1, 1, fx * fy),
        ];
        let mut sum = 0.0;
        for (dx, dy, weight) in corners {
            match sample(dx, dy) {
                Some(value) => sum += value * weight,
                None if weight > 0.0 => return Ok(None),
                None => {}
            }
        }
        Ok(Some(sum))
    }
}
