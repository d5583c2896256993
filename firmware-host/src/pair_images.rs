//! The pictures of a pair, read once: named by their bytes and decoded from them.

use crate::{analyzer::AnalysisError, pair_files::PairFiles};
use deltavlm_imaging::{DecodeOptions, Image, ImageError, ImageFault};
use deltavlm_messages::{FaultReason, short_hash};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

/// Both pictures of a pair in memory.
#[derive(Debug, Clone)]
pub struct PairImages {
    /// The earlier picture.
    pub before: Image,
    /// The later picture.
    pub after: Image,
    /// The pair's short name in messages: the first two bytes, as a little-endian number, of the
    /// CRC-32C of the SHA-256 of the before-file followed by that of the after-file.
    pub hash: u16,
}

impl PairImages {
    /// Reads both files, each once.
    ///
    /// # Errors
    /// A picture is missing, too large, or cannot be read or decoded.
    pub fn read(pair: &PairFiles, options: &DecodeOptions) -> Result<Self, AnalysisError> {
        let Some(before) = &pair.before else {
            return Err(AnalysisError {
                reason: FaultReason::Missing,
                detail: format!("before {}", pair.name),
                message: format!(
                    "{}: there is no before-picture of this tile; add one of the same name",
                    pair.after.display()
                ),
            });
        };
        let (before, before_digest) = read(before, options)?;
        let (after, after_digest) = read(&pair.after, options)?;
        Ok(Self {
            before,
            after,
            hash: short_hash(&[before_digest, after_digest].concat()),
        })
    }
}

/// A picture and the SHA-256 of its file.
fn read(path: &Path, options: &DecodeOptions) -> Result<(Image, [u8; 32]), AnalysisError> {
    let unusable = |fault| {
        let name = path.display().to_string();
        AnalysisError::from(&ImageError::Unusable { name, fault })
    };
    let bytes = bytes(path, options.max_bytes).map_err(unusable)?;
    let digest = Sha256::digest(&bytes).into();
    let image = Image::decode(&path.display().to_string(), &bytes, options)
        .map_err(|error| AnalysisError::from(&error))?;
    Ok((image, digest))
}

fn bytes(path: &Path, limit: u64) -> Result<Vec<u8>, ImageFault> {
    // Reading a pipe may wait, and a device may give, for ever.
    let metadata = fs::metadata(path).map_err(ImageFault::Unreadable)?;
    if !metadata.is_file() {
        let error = io::Error::other("not an ordinary file");
        return Err(ImageFault::Unreadable(error));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(ImageFault::Unreadable)?;
    // The file may grow while it is read.
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(ImageFault::Unreadable)?;
    match metadata.len().max(bytes.len() as u64) {
        bytes if bytes > limit => Err(ImageFault::TooManyBytes { bytes, limit }),
        _ => Ok(bytes),
    }
}

impl From<&ImageError> for AnalysisError {
    fn from(error: &ImageError) -> Self {
        let (reason, detail) = match error {
            ImageError::Unusable { name, fault } => (reason(fault), short_path(name)),
            _ => (FaultReason::Unsupported, String::new()),
        };
        Self {
            reason,
            detail,
            message: error.to_string(),
        }
    }
}

fn reason(fault: &ImageFault) -> FaultReason {
    match fault {
        ImageFault::Unreadable(error) if error.kind() == io::ErrorKind::NotFound => {
            FaultReason::Missing
        }
        ImageFault::Unreadable(_) => FaultReason::Unreadable,
        ImageFault::Empty | ImageFault::Damaged { .. } => FaultReason::Truncated,
        ImageFault::UnknownFormat => FaultReason::NotAPicture,
        ImageFault::TooManyPixels { .. } | ImageFault::TooManyBytes { .. } => FaultReason::TooLarge,
        _ => FaultReason::Unsupported,
    }
}

/// The folder and the file: enough to find it, few bytes to send.
fn short_path(name: &str) -> String {
    let path = Path::new(name);
    let part =
        |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    match (
        part(path.parent().and_then(Path::file_name)),
        part(path.file_name()),
    ) {
        (Some(folder), Some(file)) => format!("{folder}/{file}"),
        (None, Some(file)) => file,
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair_files::{FileFingerprint, PairVersion};
    use image::RgbImage;

    fn pair(dir: &Path) -> PairFiles {
        let after = FileFingerprint::of(&fs::metadata(dir).unwrap());
        PairFiles {
            name: "1".to_owned(),
            before: Some(dir.join("before.png")),
            after: dir.join("after.png"),
            version: PairVersion {
                before: None,
                after,
            },
            ambiguous: Vec::new(),
        }
    }

    #[test]
    fn the_name_is_of_the_bytes_of_both_files() {
        let dir = tempfile::tempdir().unwrap();
        let pair = pair(dir.path());
        RgbImage::new(4, 4)
            .save(dir.path().join("before.png"))
            .unwrap();
        RgbImage::new(4, 5).save(&pair.after).unwrap();
        let images = PairImages::read(&pair, &DecodeOptions::default()).unwrap();
        let digests = [pair.before.clone().unwrap(), pair.after.clone()]
            .map(|path| Sha256::digest(fs::read(path).unwrap()));
        assert_eq!(images.hash, short_hash(&digests.concat()));
        assert_eq!(
            (images.before.size(), images.after.size()),
            ((4, 4), (4, 5))
        );
    }

    #[test]
    fn a_picture_that_cannot_be_used_is_named_with_its_reason() {
        let dir = tempfile::tempdir().unwrap();
        let pair = pair(dir.path());
        let options = DecodeOptions {
            max_bytes: 100,
            ..DecodeOptions::default()
        };
        let reason = |content: Option<&[u8]>| {
            let path = dir.path().join("before.png");
            match content {
                Some(content) => fs::write(path, content).unwrap(),
                None => drop(fs::remove_file(path)),
            }
            let error = PairImages::read(&pair, &options).unwrap_err();
            assert!(error.message.contains("before.png"), "{error}");
            error.reason
        };
        assert_eq!(reason(None), FaultReason::Missing);
        assert_eq!(reason(Some(b"")), FaultReason::Truncated);
        assert_eq!(reason(Some(b"no picture")), FaultReason::NotAPicture);
        assert_eq!(reason(Some(&[0; 101])), FaultReason::TooLarge);
    }
}
