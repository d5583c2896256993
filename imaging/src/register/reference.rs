//! The part of a reference that a frame needs, at the resolution that it needs.
//!
//! An orthophoto may hold gigapixels. Where the frame's pose says in which part of it the frame lies,
//! only that window is read, from the coarsest overview that is still as fine as the frame.

use std::path::Path;

use super::homography::Homography;
use super::prior::Prior;
use crate::error::ImageError;
use crate::image::Image;
use crate::options::DecodeOptions;
use crate::orientation::Orientation;
use crate::tiff::TiffFile;
use crate::tiling::Rect;

/// A reference picture, or the part of it that can hold a frame.
#[derive(Debug, Clone)]
pub struct Reference {
    /// Its pixels.
    pub image: Image,
    /// Pixel of `image` to pixel of the whole file.
    pub to_whole: Homography,
    /// The prior, in pixels of `image`.
    pub prior: Prior,
}

impl Reference {
    /// Reads of the file what a frame of `frame` pixels needs by a prior in the pixels of the whole
    /// file. Without a prior that says where, and of everything but TIFF, that is the whole file.
    /// `None` when the prior places the frame outside of it.
    ///
    /// # Errors
    /// [`ImageError::Unusable`] names the file, the fault and the remedy.
    pub fn open(
        path: &Path,
        frame: (u32, u32),
        prior: &Prior,
        options: &DecodeOptions,
    ) -> Result<Option<Reference>, ImageError> {
        let frame = (frame.0 as usize, frame.1 as usize);
        if prior.is_usable()
            && prior.shift_px.is_finite()
            && let Ok(mut file) = TiffFile::open(path)
            && file.orientation() == Orientation::UPRIGHT
        {
            let Some((level, window, to_whole)) = window_of(&file, frame, prior) else {
                return Ok(None);
            };
            let image = file.read_window(level, window, options)?;
            let from_whole = to_whole.inverse().unwrap_or(Homography::IDENTITY);
            let prior = Prior {
                start: from_whole.after(&prior.start),
                shift_px: prior.shift_px * from_whole.0[0],
                ..*prior
            };
            return Ok(Some(Reference {
                image,
                to_whole,
                prior,
            }));
        }
        Ok(Some(Reference {
            image: Image::open(path, options)?,
            to_whole: Homography::IDENTITY,
            prior: *prior,
        }))
    }
}

/// Level, window of it, and the window's pixel to the whole file's.
fn window_of<R: std::io::Read + std::io::Seek>(
    file: &TiffFile<R>,
    frame: (usize, usize),
    prior: &Prior,
) -> Option<(usize, Rect, Homography)> {
    let whole = file.size();
    let searched = prior.searched(frame, (whole.0 as usize, whole.1 as usize))?;
    let centre = [frame.0 as f64 / 2.0, frame.1 as f64 / 2.0];
    let level = file.level_for(prior.start.area_scale(centre).abs().sqrt().max(1.0));
    let size = file.level_size(level);
    let factor = [
        f64::from(whole.0) / f64::from(size.0),
        f64::from(whole.1) / f64::from(size.1),
    ];
    let start = |edge: f64, factor: f64| ((edge + 0.5) / factor).floor().max(0.0) as u32;
    let end = |edge: f64, factor: f64, side: u32| (((edge + 0.5) / factor).ceil() as u32).min(side);
    let (x, y) = (start(searched[0], factor[0]), start(searched[1], factor[1]));
    let window = Rect {
        x,
        y,
        width: end(searched[2], factor[0], size.0).checked_sub(x)?,
        height: end(searched[3], factor[1], size.1).checked_sub(y)?,
    };
    let [fx, fy] = factor;
    let to_whole = Homography([
        fx,
        0.0,
        fx * (f64::from(x) + 0.5) - 0.5,
        0.0,
        fy,
        fy * (f64::from(y) + 0.5) - 0.5,
        0.0,
        0.0,
        1.0,
    ]);
    (window.width > 0 && window.height > 0).then_some((level, window, to_whole))
}
