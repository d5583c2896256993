//! The pictures: `A/` holds the earlier ones, `B/` the later ones of the same names.

use deltavlm_imaging::{DecodeOptions, Image, ImageError};
use image::RgbImage;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Two pictures of one place, checked and decoded.
#[derive(Debug, Clone)]
pub struct SamplePair {
    /// The file name without extension.
    pub name: String,
    /// The earlier picture's file.
    pub before: PathBuf,
    /// The later picture's file.
    pub after: PathBuf,
    /// The earlier picture.
    pub before_pixels: RgbImage,
    /// The later picture.
    pub after_pixels: RgbImage,
}

/// Why a folder of pictures cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PairsError {
    /// One of the two folders is not there.
    #[error("{0}: no such folder; put the earlier pictures into A/ and the later ones into B/")]
    NoFolder(PathBuf),
    /// No name is in both folders.
    #[error("{0}: no picture name is in both A/ and B/; a pair has the same file name in both")]
    NoPairs(PathBuf),
    /// A picture cannot be used.
    #[error("{0}")]
    Picture(#[from] ImageError),
    /// The pictures of a pair differ in size.
    #[error(
        "{before} is {}x{} and {after} is {}x{}: the two pictures of a pair must have the same \
         size; crop or resample them to the same ground area", before_size.0, before_size.1,
        after_size.0, after_size.1
    )]
    SizesDiffer {
        /// The earlier picture.
        before: PathBuf,
        /// The later picture.
        after: PathBuf,
        /// Width and height of the earlier picture.
        before_size: (u32, u32),
        /// Width and height of the later picture.
        after_size: (u32, u32),
    },
}

/// Every pair in `dir`, in the order of their names.
///
/// # Errors
/// The first thing that is wrong, naming the file and the remedy.
pub fn read(dir: &Path) -> Result<Vec<SamplePair>, PairsError> {
    let before = list(&dir.join("A"))?;
    let after = list(&dir.join("B"))?;
    let mut pairs = Vec::new();
    for (name, before) in before {
        let Some(after) = after.get(&name).cloned() else {
            continue;
        };
        let (before_pixels, after_pixels) = (open(&before)?, open(&after)?);
        if before_pixels.dimensions() != after_pixels.dimensions() {
            return Err(PairsError::SizesDiffer {
                before,
                after,
                before_size: before_pixels.dimensions(),
                after_size: after_pixels.dimensions(),
            });
        }
        pairs.push(SamplePair {
            name,
            before,
            after,
            before_pixels,
            after_pixels,
        });
    }
    if pairs.is_empty() {
        return Err(PairsError::NoPairs(dir.to_owned()));
    }
    Ok(pairs)
}

fn list(dir: &Path) -> Result<BTreeMap<String, PathBuf>, PairsError> {
    let entries = fs::read_dir(dir).map_err(|_| PairsError::NoFolder(dir.to_owned()))?;
    let files = entries.flatten().map(|entry| entry.path()).filter(|path| {
        let extension = path
            .extension()
            .and_then(|extension| extension.to_str())
            .unwrap_or("");
        ["png", "jpg", "jpeg", "tif", "tiff"].contains(&extension.to_ascii_lowercase().as_str())
    });
    let named = files.filter_map(|path| {
        let name = path.file_stem()?.to_str()?.to_owned();
        Some((name, path))
    });
    Ok(named.collect())
}

fn open(path: &Path) -> Result<RgbImage, PairsError> {
    let image = Image::open(path, &DecodeOptions::default())?;
    let (width, height) = image.size();
    // An `Image` vouches for three bytes a pixel.
    Ok(RgbImage::from_raw(width, height, image.rgb().to_vec()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, u32)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (file, side) in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            RgbImage::new(*side, *side).save(path).unwrap();
        }
        dir
    }

    #[test]
    fn a_pair_may_be_of_two_formats_and_a_single_picture_is_left_out() {
        let dir = folder(&[
            ("A/x.png", 16),
            ("B/x.jpg", 16),
            ("A/y.png", 16),
            ("B/z.tif", 16),
        ]);
        let pairs = read(dir.path()).unwrap();
        assert_eq!(pairs.len(), 1);
        assert_eq!(pairs[0].name, "x");
    }

    #[test]
    fn what_is_wrong_is_said_with_the_file_and_the_remedy() {
        let problem = |dir: &tempfile::TempDir| read(dir.path()).unwrap_err().to_string();
        let different = problem(&folder(&[("A/x.png", 16), ("B/x.png", 17)]));
        assert!(
            different.contains("16x16")
                && different.contains("17x17")
                && different.contains("B/x.png")
        );
        assert!(problem(&folder(&[("A/x.png", 16)])).contains("put the earlier pictures"));
        assert!(problem(&folder(&[("A/x.png", 16), ("B/y.png", 16)])).contains("no picture name"));
        let broken = folder(&[("A/x.png", 16), ("B/x.png", 16)]);
        fs::write(broken.path().join("B/x.png"), b"nothing").unwrap();
        assert!(problem(&broken).contains("B/x.png"));
    }
}
