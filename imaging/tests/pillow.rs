//! Preprocessing against Pillow, level for level, on pictures of every odd kind.
//! `tests/golden/make_picture_golden.py` wrote pictures and expectations.

use std::path::{Path, PathBuf};

use deltavlm_imaging::{DecodeOptions, Image, normalise, resize};

const SIDE: u32 = 24;
const MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

#[test]
fn every_image_equals_pillow() {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(golden().join("pictures"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let expected = std::fs::read(golden().join("pictures.bin")).unwrap();
    let size = (SIDE * SIDE * 3) as usize;
    assert_eq!(expected.len(), paths.len() * size);
    for (path, expected) in paths.iter().zip(expected.chunks_exact(size)) {
        let image = Image::open(path, &DecodeOptions::default()).unwrap();
        let found = resize(&image, SIDE, SIDE);
        let worst = found
            .iter()
            .zip(expected)
            .map(|(a, b)| a.abs_diff(*b))
            .max()
            .unwrap();
        assert_eq!(worst, 0, "{}", path.display());
        let (found, expected) = (normalise(&found, MEAN, STD), normalise(expected, MEAN, STD));
        assert!(
            found
                .iter()
                .zip(&expected)
                .all(|(a, b)| (a - b).abs() < 1e-3)
        );
    }
}
