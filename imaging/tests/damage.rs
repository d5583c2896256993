//! The fuzz targets on a stable toolchain: every golden file, cut off and with bytes
//! changed. Nothing panics, and nothing asks for memory that the options do not allow.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::path::Path;

/// Numbers that are the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }
}

fn all(data: &[u8]) {
    targets::images(data);
    targets::tiffs(data);
    targets::places(data);
}

#[test]
fn damaged_golden_files_are_refused_or_read_and_never_panic() {
    let mut random = Random(15);
    let mut files = 0;
    for folder in ["geotiffs", "cameras", "pictures"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(folder);
        for entry in std::fs::read_dir(folder).unwrap() {
            let whole = std::fs::read(entry.unwrap().path()).unwrap();
            files += 1;
            all(&whole);
            for _ in 0..12 {
                all(&whole[..random.below(whole.len())]);
                let mut changed = whole.clone();
                // Most damage in the headers, where it does most.
                let reach = if random.below(3) > 0 {
                    600.min(whole.len())
                } else {
                    whole.len()
                };
                for _ in 0..=random.below(6) {
                    let at = random.below(reach);
                    changed[at] = [0, 255, 128, random.below(256) as u8][random.below(4)];
                }
                all(&changed);
            }
        }
    }
    assert!(files > 120, "{files}");
}

#[test]
fn a_tile_that_would_fill_memory_is_refused() {
    // One tile of 2^30 x 2^30 pixels in a picture of as many, with 40 bytes of data.
    let mut bytes = b"II\x2a\0\x08\0\0\0".to_vec();
    let side = 1u32 << 30;
    let tags: [(u16, u16, u32, u32); 9] = [
        (256, 4, 1, side),
        (257, 4, 1, side),
        (258, 3, 1, 8),
        (259, 3, 1, 8),
        (262, 3, 1, 1),
        (322, 4, 1, side),
        (323, 4, 1, side),
        (324, 4, 1, 8),
        (325, 4, 1, 40),
    ];
    bytes.extend((tags.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in tags {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend([0; 4]);
    all(&bytes);
    let error =
        deltavlm_imaging::Image::decode("bomb.tif", &bytes, &Default::default()).unwrap_err();
    assert!(error.to_string().contains("over the limit"), "{error}");
}

#[test]
fn texts_of_coordinate_systems() {
    let mut random = Random(2);
    let words = [
        "PROJCS[",
        "GEOGCS[",
        "\"WGS 84\"",
        "AUTHORITY[",
        "\"EPSG\"",
        ",",
        "]",
        "\"32632\"",
        "ID[",
        "EPSG:",
        "4326",
        "+proj=utm ",
        "+zone=",
        "32 ",
        "+datum=WGS84 ",
        "é",
    ];
    for _ in 0..20_000 {
        let text: String = (0..random.below(12))
            .map(|_| words[random.below(words.len())])
            .collect();
        targets::systems(text.as_bytes());
    }
}
