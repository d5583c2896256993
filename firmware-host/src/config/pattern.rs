//! Where the pictures of one date lie and how their names give the tile.

use std::path::{Path, PathBuf};

/// What stands for the tile's name in a pattern.
const PLACEHOLDER: &str = "{tile}";

/// File name extensions of pictures, in lower case. What else lies in a camera's folder (world
/// files, sidecars, indexes, files under a temporary name) has another one.
pub const PICTURE_EXTENSIONS: [&str; 8] =
    ["jpg", "jpeg", "png", "tif", "tiff", "webp", "bmp", "gif"];

/// A folder and the shape of the file names in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// The folder.
    pub dir: PathBuf,
    prefix: String,
    suffix: String,
    /// In lower case.
    extensions: Vec<String>,
}

/// A pattern that names no place for the tile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// `{tile}` stands in a folder's name or more than once.
    #[error("`{0}`: {{tile}} may stand once, in the file name, e.g. /data/{{tile}}_after")]
    Placeholder(String),
    /// Nothing is written.
    #[error("is empty; write a folder, e.g. /data/before")]
    Empty,
}

impl Pattern {
    /// Reads `FOLDER` or `FOLDER/PREFIX{tile}SUFFIX`, without file name extension.
    ///
    /// # Errors
    /// The pattern is empty or has its placeholder in the wrong place.
    pub fn new(text: &str, base: &Path) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        let path = base.join(text);
        if !text.contains(PLACEHOLDER) {
            return Ok(Self {
                dir: path,
                prefix: String::new(),
                suffix: String::new(),
                extensions: PICTURE_EXTENSIONS.map(str::to_owned).into(),
            });
        }
        let misplaced = || PatternError::Placeholder(text.to_owned());
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(misplaced)?;
        let (prefix, suffix) = name.split_once(PLACEHOLDER).ok_or_else(misplaced)?;
        let dir = path.parent().unwrap_or(Path::new(".")).to_owned();
        if suffix.contains(PLACEHOLDER) || dir.to_string_lossy().contains(PLACEHOLDER) {
            return Err(misplaced());
        }
        Ok(Self {
            dir,
            prefix: prefix.to_owned(),
            suffix: suffix.to_owned(),
            extensions: PICTURE_EXTENSIONS.map(str::to_owned).into(),
        })
    }

    /// Takes files with these extensions, in upper or lower case, instead of
    /// [`PICTURE_EXTENSIONS`].
    #[must_use]
    pub fn with_extensions(self, extensions: &[String]) -> Self {
        Self {
            extensions: extensions
                .iter()
                .map(|extension| extension.trim_start_matches('.').to_ascii_lowercase())
                .collect(),
            ..self
        }
    }

    /// The tile's name in a file name, if the file belongs to this pattern.
    ///
    /// Hidden files do not, nor does what has not the extension of a picture.
    #[must_use]
    pub fn tile<'a>(&self, file_name: &'a str) -> Option<&'a str> {
        let (stem, extension) = file_name.rsplit_once('.')?;
        let is_picture = self
            .extensions
            .iter()
            .any(|known| known.eq_ignore_ascii_case(extension));
        if !is_picture || file_name.starts_with('.') {
            return None;
        }
        let tile = stem
            .strip_prefix(&*self.prefix)?
            .strip_suffix(&*self.suffix)?;
        (!tile.is_empty()).then_some(tile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_folder_takes_the_stem() {
        let pattern = Pattern::new("before", Path::new("/data")).unwrap();
        assert_eq!(pattern.dir, Path::new("/data/before"));
        assert_eq!(pattern.tile("tile_17.png"), Some("tile_17"));
        for ignored in [
            ".hidden.png",
            "tile_17.png.part",
            "tile_17.tmp",
            "README",
            ".png",
        ] {
            assert_eq!(pattern.tile(ignored), None, "{ignored}");
        }
    }

    /// A world file beside a picture once took its place: the pair was never looked at.
    #[test]
    fn d10_sidecars_and_indexes_are_no_pictures() {
        let pattern = Pattern::new("before", Path::new("/data")).unwrap();
        for sidecar in [
            "t.tfw",
            "t.jpg.aux.xml",
            "t.xmp",
            "t.md5",
            "Thumbs.db",
            "index.html",
        ] {
            assert_eq!(pattern.tile(sidecar), None, "{sidecar}");
        }
        assert_eq!(pattern.tile("t.JPG"), Some("t"));
        let own = pattern.with_extensions(&[".DNG".to_owned()]);
        assert_eq!((own.tile("t.dng"), own.tile("t.jpg")), (Some("t"), None));
    }

    #[test]
    fn one_folder_for_both_dates_is_told_apart_by_suffix() {
        let after = Pattern::new("/in/{tile}_after", Path::new("/")).unwrap();
        assert_eq!(after.dir, Path::new("/in"));
        assert_eq!(after.tile("t3_after.tif"), Some("t3"));
        assert_eq!(after.tile("t3_before.tif"), None);
        assert_eq!(after.tile("_after.tif"), None);
    }

    #[test]
    fn the_placeholder_belongs_once_into_the_file_name() {
        for text in ["/in/{tile}/x", "/in/{tile}{tile}", "/{tile}/{tile}"] {
            assert!(matches!(
                Pattern::new(text, Path::new("/")),
                Err(PatternError::Placeholder(_))
            ));
        }
        assert_eq!(Pattern::new("", Path::new("/")), Err(PatternError::Empty));
    }
}
