//! Pictures for the ground, small ones first.

use crate::pair_files::PairFiles;
use deltavlm_imaging::{DecodeOptions, Image};
use deltavlm_messages::{
    MAX_PREVIEW_DATA, PreviewFormat, PreviewImage, PreviewPart, PreviewRequest, RefusalReason,
};
use image::{DynamicImage, RgbImage, codecs::jpeg::JpegEncoder, imageops::FilterType};

/// The finest level: 256 pixels a side.
pub const MAX_LEVEL: u8 = 3;
/// Where JPEG still shows houses and roads and no byte is wasted.
const JPEG_QUALITY: u8 = 40;
/// Grey values of a difference are stretched by this.
const DIFFERENCE_GAIN: u16 = 2;

/// The parts of every level up to the one asked for.
///
/// # Errors
/// The level is too fine, or the pictures cannot be read.
pub fn render_previews(
    request: &PreviewRequest,
    pair: &PairFiles,
    decode: &DecodeOptions,
) -> Result<Vec<PreviewPart>, RefusalReason> {
    if request.level > MAX_LEVEL {
        return Err(RefusalReason::TooLarge);
    }
    let open = |path: &std::path::Path| {
        let image = Image::open(path, decode).map_err(|_| RefusalReason::Failed)?;
        let (width, height) = image.size();
        RgbImage::from_raw(width, height, image.rgb().to_vec()).ok_or(RefusalReason::Failed)
    };
    let before = || open(pair.before.as_deref().ok_or(RefusalReason::UnknownTarget)?);
    let full = match request.picture {
        PreviewImage::Before => before()?,
        PreviewImage::After => open(&pair.after)?,
        PreviewImage::Difference => difference(&before()?, &open(&pair.after)?)?,
        _ => return Err(RefusalReason::Unsupported),
    };
    let full = DynamicImage::from(full);
    let mut parts = Vec::new();
    for level in 0..=request.level {
        let side = 32 << level;
        let small = full
            .resize_exact(side, side, FilterType::Triangle)
            .into_rgb8();
        let mut file = Vec::new();
        JpegEncoder::new_with_quality(&mut file, JPEG_QUALITY)
            .encode_image(&small)
            .map_err(|_| RefusalReason::Failed)?;
        split(request, level, &file, &mut parts);
    }
    Ok(parts)
}

fn split(request: &PreviewRequest, level: u8, file: &[u8], parts: &mut Vec<PreviewPart>) {
    let total = u32::try_from(file.len()).unwrap_or(u32::MAX);
    let mut offset = 0;
    for part in file.chunks(MAX_PREVIEW_DATA) {
        parts.push(PreviewPart {
            query: request.id,
            picture: request.picture,
            level,
            format: PreviewFormat::Jpeg,
            total,
            offset,
            data: part.iter().copied().collect(),
        });
        offset += part.len() as u32;
    }
}

fn difference(before: &RgbImage, after: &RgbImage) -> Result<RgbImage, RefusalReason> {
    if before.dimensions() != after.dimensions() {
        return Err(RefusalReason::Failed);
    }
    let mut result = after.clone();
    for (value, earlier) in result.iter_mut().zip(before.iter()) {
        let stretched = u16::from(value.abs_diff(*earlier)) * DIFFERENCE_GAIN;
        *value = u8::try_from(stretched).unwrap_or(u8::MAX);
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair_files::{FileFingerprint, PairVersion};
    use deltavlm_messages::PREVIEW_BYTES;
    use image::Rgb;

    fn pair(dir: &std::path::Path, after_size: u32) -> PairFiles {
        let paint = |name: &str, size, red| {
            let picture = RgbImage::from_fn(size, size, |x, y| {
                Rgb([red, (x * 3 % 256) as u8, (y * 5 % 256) as u8])
            });
            let path = dir.join(name);
            picture.save(&path).unwrap();
            path
        };
        let version = FileFingerprint {
            bytes: 0,
            modified_ns: 0,
            changed_ns: None,
            inode: None,
        };
        PairFiles {
            name: "1".to_owned(),
            before: Some(paint("before.png", 128, 10)),
            after: paint("after.png", after_size, 60),
            version: PairVersion {
                before: Some(version),
                after: version,
            },
            ambiguous: Vec::new(),
        }
    }

    fn request(picture: PreviewImage, level: u8) -> PreviewRequest {
        PreviewRequest {
            id: 3,
            tile: 1,
            picture,
            level,
        }
    }

    #[test]
    fn each_level_is_a_whole_picture_of_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let pair = pair(dir.path(), 128);
        for picture in [
            PreviewImage::Before,
            PreviewImage::After,
            PreviewImage::Difference,
        ] {
            let parts = render_previews(
                &request(picture, MAX_LEVEL),
                &pair,
                &DecodeOptions::default(),
            )
            .unwrap();
            for level in 0..=MAX_LEVEL {
                let mut file = Vec::new();
                for part in parts.iter().filter(|part| part.level == level) {
                    assert_eq!(part.offset as usize, file.len());
                    file.extend_from_slice(&part.data);
                }
                let total = parts.iter().find(|part| part.level == level).unwrap().total;
                assert_eq!(file.len(), total as usize);
                let decoded = image::load_from_memory(&file).unwrap();
                assert_eq!(
                    (decoded.width(), decoded.height()),
                    (32 << level, 32 << level)
                );
            }
        }
    }

    #[test]
    fn what_cannot_be_shown_is_refused_with_its_reason() {
        let dir = tempfile::tempdir().unwrap();
        let pair = pair(dir.path(), 100);
        let refusal = |picture, level| {
            render_previews(&request(picture, level), &pair, &DecodeOptions::default()).unwrap_err()
        };
        assert_eq!(
            refusal(PreviewImage::After, MAX_LEVEL + 1),
            RefusalReason::TooLarge
        );
        assert_eq!(refusal(PreviewImage::Difference, 0), RefusalReason::Failed);
        std::fs::write(&pair.after, b"no picture").unwrap();
        assert_eq!(refusal(PreviewImage::After, 0), RefusalReason::Failed);
    }

    /// The ground estimates the time of a preview from these sizes before it asks for one.
    #[test]
    fn previews_of_the_sample_pairs_take_as_many_bytes_as_estimated() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/pairs");
        let mut longest = [0usize; MAX_LEVEL as usize + 1];
        for entry in std::fs::read_dir(root.join("A")).unwrap() {
            let before = entry.unwrap().path();
            let after = root.join("B").join(before.file_name().unwrap());
            let scratch = tempfile::tempdir().unwrap();
            let pair = PairFiles {
                before: Some(before),
                after,
                ..pair(scratch.path(), 128)
            };
            for picture in [
                PreviewImage::Before,
                PreviewImage::After,
                PreviewImage::Difference,
            ] {
                let request = request(picture, MAX_LEVEL);
                for part in render_previews(&request, &pair, &DecodeOptions::default()).unwrap() {
                    let longest = &mut longest[usize::from(part.level)];
                    *longest = (*longest).max(part.total as usize);
                }
            }
        }
        for (level, (longest, estimated)) in longest.into_iter().zip(PREVIEW_BYTES).enumerate() {
            assert!(
                longest <= estimated && longest * 5 > estimated * 4,
                "level {level}: {longest} bytes, estimated {estimated}"
            );
        }
    }
}
