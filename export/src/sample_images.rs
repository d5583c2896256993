//! Pictures to measure with: a built-in pair, or a folder of the user's.

use std::path::Path;

use deltavlm_bundle::Vision;
use deltavlm_imaging::{DecodeOptions, Image, normalise, resize};

use crate::random::Random;
use crate::{Error, Result};

/// A normalised before and after picture, `[3, S, S]` each.
pub type Pair = [Vec<f32>; 2];

/// A smooth random ground with objects that appear: the same on every machine.
pub fn built_in(vision: &Vision) -> Pair {
    const CELLS: usize = 9;
    let size = vision.image_size;
    let mut random = Random::new(11);
    let coarse: Vec<f32> = (0..CELLS * CELLS * 3).map(|_| random.uniform()).collect();
    let mut before = vec![0.0; 3 * size * size];
    for channel in 0..3 {
        for y in 0..size {
            for x in 0..size {
                let at = |v: usize| v as f32 * (CELLS - 1) as f32 / size as f32;
                let (row, column) = (at(y) as usize, at(x) as usize);
                let (dy, dx) = (at(y) - row as f32, at(x) - column as f32);
                let cell =
                    |r: usize, c: usize| coarse[((row + r) * CELLS + column + c) * 3 + channel];
                let top = cell(0, 0) * (1.0 - dx) + cell(0, 1) * dx;
                let bottom = cell(1, 0) * (1.0 - dx) + cell(1, 1) * dx;
                before[(channel * size + y) * size + x] = top * (1.0 - dy) + bottom * dy;
            }
        }
    }
    let mut after = before.clone();
    for (top, left, height, width, shade) in
        [(2, 3, 2, 3, 0.85), (9, 1, 1, 14, 0.4), (11, 10, 3, 3, 0.7)]
    {
        let part = |n: usize| n * size / 16;
        for channel in 0..3 {
            for y in part(top)..part(top + height) {
                after[(channel * size + y) * size..][part(left)..part(left + width)].fill(shade);
            }
        }
    }
    [before, after].map(|mut picture| {
        for (channel, plane) in picture.chunks_exact_mut(size * size).enumerate() {
            plane
                .iter_mut()
                .for_each(|value| *value = (*value - vision.mean[channel]) / vision.std[channel]);
        }
        picture
    })
}

/// Up to `limit` pairs of a directory with `A/` and `B/`, by name.
///
/// # Errors
/// When a folder is missing or a picture is unusable.
pub fn folder(directory: &Path, vision: &Vision, limit: usize) -> Result<Vec<Pair>> {
    let before = directory.join("A");
    let mut names: Vec<_> = std::fs::read_dir(&before)
        .map_err(|e| Error::io(&before, e))?
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .collect();
    names.sort();
    let size = vision.image_size as u32;
    let read = |path: &Path| -> Result<Vec<f32>> {
        let image = Image::open(path, &DecodeOptions::default())
            .map_err(|e| Error::Usage(e.to_string()))?;
        Ok(normalise(
            &resize(&image, size, size),
            vision.mean,
            vision.std,
        ))
    };
    let pairs = names.iter().take(limit).map(|name| {
        Ok([
            read(&before.join(name))?,
            read(&directory.join("B").join(name))?,
        ])
    });
    let pairs = pairs.collect::<Result<Vec<_>>>()?;
    if pairs.is_empty() {
        return Err(Error::Usage(format!(
            "{} holds no pictures to calibrate with",
            before.display()
        )));
    }
    Ok(pairs)
}
