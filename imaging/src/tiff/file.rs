//! An open TIFF: its levels, windows of them, and what its tags say of its place.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use crate::error::{ImageError, ImageFault};
use crate::geo::Georeference;
use crate::ifd::{Directory, TagFile};
use crate::image::Image;
use crate::options::DecodeOptions;
use crate::orientation::Orientation;
use crate::tiff::chunks;
use crate::tiff::geokeys::{self, GeoKeyError};
use crate::tiff::layout::{Layout, Photometric, ifd_fault};
use crate::tiff::raster::Raster;
use crate::tiff::render::{self, Selection};
use crate::tiling::Rect;

/// Directories that are looked at; real files have about a dozen overviews.
const MAX_DIRECTORIES: usize = 256;

/// A TIFF that is read window by window.
///
/// Level 0 is the picture itself, further ones are its overviews, each smaller than the
/// one before.
pub struct TiffFile<R> {
    name: String,
    file: TagFile<R>,
    main: Directory,
    levels: Vec<Level>,
}

struct Level {
    layout: Layout,
    mask: Option<Layout>,
}

impl TiffFile<BufReader<File>> {
    /// Opens a file; reads its tags only.
    ///
    /// # Errors
    /// [`ImageError::Unusable`] names the file, the fault and the remedy.
    pub fn open(path: &Path) -> Result<Self, ImageError> {
        let name = path.display().to_string();
        let unreadable = |source| unusable(&name, ImageFault::Unreadable(source));
        let metadata = std::fs::metadata(path).map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(unreadable(std::io::Error::other("not an ordinary file")));
        }
        let file = File::open(path).map_err(unreadable)?;
        Self::new(&name, BufReader::new(file))
    }
}

impl<R: Read + Seek> TiffFile<R> {
    /// Reads the tags of a file behind any reader; `name` is for errors.
    ///
    /// # Errors
    /// [`ImageError::Unusable`].
    pub fn new(name: &str, reader: R) -> Result<Self, ImageError> {
        Self::read_levels(name, reader).map_err(|fault| unusable(name, fault))
    }

    fn read_levels(name: &str, reader: R) -> Result<Self, ImageFault> {
        let mut file = TagFile::new(reader).map_err(ifd_fault)?;
        let main = file.directory(file.first()).map_err(ifd_fault)?;
        let layout = Layout::read(&mut file, &main)?;
        let (width, height) = (layout.width, layout.height);

        let mut pending = vec![main.next];
        // Some writers hang overviews below the picture.
        if let Ok(Some(below)) = file.integers(&main, 330) {
            pending.extend(below.into_iter().take(MAX_DIRECTORIES));
        }
        let mut seen = vec![0, file.first()];
        let mut levels = vec![Level { layout, mask: None }];
        let mut masks = Vec::new();
        while let Some(offset) = pending.pop() {
            if seen.contains(&offset) || seen.len() > MAX_DIRECTORIES {
                continue;
            }
            seen.push(offset);
            // What cannot be read beside the picture is left out: it is only a help.
            let Ok(directory) = file.directory(offset) else {
                continue;
            };
            pending.push(directory.next);
            let Ok(layout) = Layout::read(&mut file, &directory) else {
                continue;
            };
            let is_mask = layout.subfile & 4 != 0 || layout.photometric == Photometric::Mask;
            if is_mask {
                masks.push(layout);
            } else if layout.subfile & 1 != 0 && layout.width < width && layout.height <= height {
                levels.push(Level { layout, mask: None });
            }
        }
        levels.sort_by_key(|level| std::cmp::Reverse(level.layout.width));
        for level in &mut levels {
            let size = (level.layout.width, level.layout.height);
            level.mask = masks.iter().find(|m| (m.width, m.height) == size).cloned();
        }
        Ok(Self {
            name: name.to_owned(),
            file,
            main,
            levels,
        })
    }

    /// Width and height of the picture in pixels.
    pub fn size(&self) -> (u32, u32) {
        self.level_size(0)
    }

    /// Number of levels, 1 or more.
    pub fn levels(&self) -> usize {
        self.levels.len()
    }

    /// Width and height of a level.
    ///
    /// # Panics
    /// When there is no such level.
    pub fn level_size(&self, level: usize) -> (u32, u32) {
        let layout = &self.levels[level].layout;
        (layout.width, layout.height)
    }

    /// Bands of a pixel.
    pub fn bands(&self) -> usize {
        self.levels[0].layout.bands
    }

    /// The value that the file says is no data.
    pub fn nodata(&self) -> Option<f64> {
        self.levels[0].layout.nodata
    }

    /// How the stored picture is to be turned for display.
    pub fn orientation(&self) -> Orientation {
        Orientation::from_exif(u64::from(self.levels[0].layout.orientation))
    }

    /// The coarsest level of which one pixel covers at most `pixels` of level 0, so that
    /// nothing is lost when one wants that resolution.
    pub fn level_for(&self, pixels: f64) -> usize {
        let width = f64::from(self.size().0);
        (0..self.levels.len())
            .rev()
            .find(|&level| width / f64::from(self.levels[level].layout.width) <= pixels + 1e-9)
            .unwrap_or(0)
    }

    /// Where the pixels of level 0 lie, as GeoTIFF tags say; `None` without such tags.
    ///
    /// # Errors
    /// [`GeoKeyError`] when the tags are there and cannot be used.
    pub fn georeference(&mut self) -> Result<Option<Georeference>, GeoKeyError> {
        geokeys::read(&mut self.file, &self.main)
    }

    /// Where the pixels of a level lie.
    ///
    /// # Errors
    /// As [`georeference`](Self::georeference).
    pub fn georeference_of(&mut self, level: usize) -> Result<Option<Georeference>, GeoKeyError> {
        let (whole, part) = (self.size(), self.level_size(level));
        let scale = (
            f64::from(whole.0) / f64::from(part.0),
            f64::from(whole.1) / f64::from(part.1),
        );
        Ok(self.georeference()?.map(|geo| geo.window(0.0, 0.0, scale)))
    }

    /// A window of a level as 8-bit RGB, with what is no data marked.
    ///
    /// # Errors
    /// [`ImageError::Unusable`].
    pub fn read_window(
        &mut self,
        level: usize,
        window: Rect,
        options: &DecodeOptions,
    ) -> Result<Image, ImageError> {
        let (rgb, valid) = self
            .render(level, window, options)
            .map_err(|fault| unusable(&self.name, fault))?;
        let image = Image::from_rgb(&self.name, window.width, window.height, rgb)?;
        match valid {
            Some(valid) => image.with_validity(valid),
            None => Ok(image),
        }
    }

    fn render(
        &mut self,
        level: usize,
        window: Rect,
        options: &DecodeOptions,
    ) -> Result<(Vec<u8>, Option<Vec<bool>>), ImageFault> {
        self.check(level, window, options.max_pixels)?;
        let Level { layout, mask } = &self.levels[level];
        let selection = Selection::new(layout, options)?;
        let limit = options.max_pixels;
        let mask = match mask {
            Some(mask) => {
                let raster = chunks::read(&mut self.file, mask, window, &[0], limit)?;
                let pixels = window.width as usize * window.height as usize;
                Some((0..pixels).map(|i| raster.sample(i) != 0.0).collect())
            }
            None => None,
        };
        let raster = chunks::read(&mut self.file, layout, window, &selection.bands, limit)?;
        render::render(&self.name, layout, &selection, &raster, mask, options)
    }

    /// The samples of a window as they are stored; bands are counted from 1, as
    /// everywhere outside this module.
    ///
    /// # Errors
    /// [`ImageError::Unusable`].
    pub fn read_samples(
        &mut self,
        level: usize,
        window: Rect,
        bands: &[u16],
        max_pixels: u64,
    ) -> Result<Raster, ImageError> {
        let mut read = || {
            self.check(level, window, max_pixels)?;
            let layout = &self.levels[level].layout;
            let place = |&band: &u16| match usize::from(band) {
                place if place >= 1 && place <= layout.bands => Ok(place - 1),
                _ => Err(ImageFault::NoBand {
                    band,
                    bands: layout.bands,
                }),
            };
            let bands = bands.iter().map(place).collect::<Result<Vec<_>, _>>()?;
            chunks::read(&mut self.file, layout, window, &bands, max_pixels)
        };
        read().map_err(|fault| unusable(&self.name, fault))
    }

    fn check(&self, level: usize, window: Rect, limit: u64) -> Result<(), ImageFault> {
        let inside = |start: u32, length: u32, side: u32| {
            length > 0 && start.checked_add(length).is_some_and(|end| end <= side)
        };
        let Some(Level { layout, .. }) = self.levels.get(level) else {
            return Err(ImageFault::Outside(format!("of level {level}")));
        };
        if !inside(window.x, window.width, layout.width)
            || !inside(window.y, window.height, layout.height)
        {
            let Rect {
                x,
                y,
                width,
                height,
            } = window;
            return Err(ImageFault::Outside(format!("{width}x{height} at {x},{y}")));
        }
        if u64::from(window.width) * u64::from(window.height) > limit {
            return Err(ImageFault::TooManyPixels {
                width: window.width,
                height: window.height,
                limit,
            });
        }
        Ok(())
    }
}

fn unusable(name: &str, fault: ImageFault) -> ImageError {
    ImageError::Unusable {
        name: name.to_owned(),
        fault,
    }
}
