//! GeoTIFFs of every layout that GDAL writes, read back as rasterio reads them; those of
//! JPEG with reduced colour as Pillow reads them (`golden/make_geotiffs.py`).

use std::path::{Path, PathBuf};

use deltavlm_imaging::geo::{Crs, CrsError, GeoPoint};
use deltavlm_imaging::place::{Dem, GroundHeight, Place, PlaceOptions};
use deltavlm_imaging::tiff::{GeoKeyError, Raster, SampleKind, TiffFile};
use deltavlm_imaging::{DecodeOptions, Image, Rect, Stretch};
use sha2::{Digest, Sha256};

#[derive(serde::Deserialize)]
struct Entry {
    name: String,
    width: u32,
    height: u32,
    bands: u16,
    sha256: Vec<String>,
    transform: Option<[f64; 6]>,
    epsg: Option<u32>,
    invalid: usize,
    levels: Vec<(u32, u32)>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/geotiffs")
}

fn path(name: &str) -> PathBuf {
    folder().join(format!("{name}.tif"))
}

fn entries() -> Vec<Entry> {
    let text = std::fs::read_to_string(folder().join("index.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn whole((width, height): (u32, u32)) -> Rect {
    Rect {
        x: 0,
        y: 0,
        width,
        height,
    }
}

/// Hash over the samples in little-endian order.
fn hash(raster: &Raster) -> String {
    let mut bytes = raster.data().to_vec();
    if cfg!(target_endian = "big") {
        bytes
            .chunks_exact_mut(raster.kind().bytes())
            .for_each(<[u8]>::reverse);
    }
    Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn every_layout_is_read_back_sample_for_sample() {
    let entries = entries();
    assert!(entries.len() > 70);
    for entry in &entries {
        let mut file = TiffFile::open(&path(&entry.name)).unwrap();
        assert_eq!(file.size(), (entry.width, entry.height), "{}", entry.name);
        assert_eq!(file.bands(), usize::from(entry.bands), "{}", entry.name);
        let mut sizes = vec![(entry.width, entry.height)];
        sizes.extend(&entry.levels);
        assert_eq!(file.levels(), sizes.len(), "{}", entry.name);
        let bands: Vec<u16> = (1..=entry.bands).collect();
        for (level, (size, expected)) in sizes.into_iter().zip(&entry.sha256).enumerate() {
            assert_eq!(file.level_size(level), size, "{}", entry.name);
            let raster = file
                .read_samples(level, whole(size), &bands, 1 << 20)
                .unwrap();
            assert_eq!(&hash(&raster), expected, "{} level {level}", entry.name);
        }
    }
}

#[test]
fn every_window_is_a_part_of_the_whole() {
    for entry in entries() {
        let mut file = TiffFile::open(&path(&entry.name)).unwrap();
        let bands: Vec<u16> = (1..=entry.bands).rev().collect();
        let all = file
            .read_samples(0, whole(file.size()), &bands, 1 << 20)
            .unwrap();
        for (x, y, width, height) in [
            (0, 0, 1, 1),
            (5, 3, 17, 13),
            (entry.width - 9, entry.height - 8, 9, 8),
        ] {
            let window = Rect {
                x,
                y,
                width,
                height,
            };
            let part = file.read_samples(0, window, &bands, 1 << 20).unwrap();
            for py in 0..height {
                for px in 0..width {
                    for band in 0..bands.len() {
                        let (a, b) = (part.get(px, py, band), all.get(x + px, y + py, band));
                        assert!(
                            a == b || (a.is_nan() && b.is_nan()),
                            "{} {px} {py}",
                            entry.name
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn transforms_and_coordinate_systems_are_those_of_gdal() {
    for entry in entries() {
        let found = TiffFile::open(&path(&entry.name)).unwrap().georeference();
        if entry.epsg == Some(2154) {
            assert!(matches!(
                found,
                Err(GeoKeyError::Crs(CrsError::UnknownEpsg(2154)))
            ));
            continue;
        }
        let found = found.unwrap().unwrap();
        assert_eq!(Some(found.crs().epsg()), entry.epsg, "{}", entry.name);
        for (a, b) in found.transform().iter().zip(entry.transform.unwrap()) {
            assert!(
                (a - b).abs() < 1e-9 * b.abs().max(1.0),
                "{}: {:?}",
                entry.name,
                found.transform()
            );
        }
    }
}

#[test]
fn alpha_masks_and_no_data_are_no_data() {
    for entry in entries() {
        let options = DecodeOptions {
            white: Some(1000.0),
            ..DecodeOptions::default()
        };
        let mut file = TiffFile::open(&path(&entry.name)).unwrap();
        if file.bands() > 4 {
            continue;
        }
        let image = file.read_window(0, whole(file.size()), &options).unwrap();
        let invalid = image
            .validity()
            .map_or(0, |valid| valid.iter().filter(|&&v| !v).count());
        // GDAL counts a pixel as data when any of its bands is.
        assert_eq!(invalid, entry.invalid, "{}", entry.name);
    }
}

#[test]
fn bands_are_chosen_and_a_missing_one_is_named() {
    let open = |bands| {
        let options = DecodeOptions {
            bands: Some(bands),
            white: Some(65_535.0),
            ..DecodeOptions::default()
        };
        Image::open(&path("u16_4_pixel"), &options)
    };
    let (rgb, bgr) = (open([1, 2, 3]).unwrap(), open([3, 2, 1]).unwrap());
    let turned = bgr.rgb().chunks_exact(3).zip(rgb.rgb().chunks_exact(3));
    assert!(turned.clone().all(|(b, r)| b == [r[2], r[1], r[0]]));
    let error = open([1, 2, 5]).unwrap_err().to_string();
    assert!(error.contains("no band 5"), "{error}");
}

#[test]
fn deep_values_are_scaled_by_declared_or_measured_black_and_white() {
    let open = |name: &str, options: DecodeOptions| Image::open(&path(name), &options);
    // Multi-band 16-bit as rasterio writes it by default, which is not marked as colour.
    let image = open("u16_4_pixel", DecodeOptions::default()).unwrap();
    let mut file = TiffFile::open(&path("u16_4_pixel")).unwrap();
    let raster = file
        .read_samples(0, whole(file.size()), &[1, 2, 3], 1 << 20)
        .unwrap();
    let high = (0..29 * 23 * 3)
        .map(|i| (raster.get(i / 3 % 29, i / 3 / 29, (i % 3) as usize) / 256.0) as u8);
    assert!(image.rgb().iter().copied().eq(high));
    for name in ["float32_plain", "lzw_predictor2_u16"] {
        let declared = DecodeOptions {
            black: Some(-0.1),
            white: Some(1.1),
            ..DecodeOptions::default()
        };
        if name == "float32_plain" {
            let error = open(name, DecodeOptions::default())
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("floating-point") && error.contains("white"),
                "{error}"
            );
            let image = open(name, declared).unwrap();
            assert!(image.rgb().iter().any(|&v| v > 200) && image.rgb().iter().any(|&v| v < 60));
            let measured = DecodeOptions {
                stretch: Some(Stretch {
                    low: 1.0,
                    high: 99.0,
                }),
                ..DecodeOptions::default()
            };
            let image = open(name, measured).unwrap();
            assert!(image.rgb().contains(&0) && image.rgb().contains(&255));
        }
    }
    let twelve_bits = open("nbits12", DecodeOptions::default()).unwrap();
    assert!(twelve_bits.rgb().iter().any(|&v| v > 250));
}

#[test]
fn an_overview_is_chosen_by_resolution_and_lies_where_the_picture_lies() {
    let mut file = TiffFile::open(&path("overviews")).unwrap();
    assert_eq!(
        [1.0, 1.9, 2.0, 3.9, 4.0, 100.0].map(|scale| file.level_for(scale)),
        [0, 0, 1, 1, 2, 2]
    );
    let (whole, half) = (
        file.georeference().unwrap().unwrap(),
        file.georeference_of(1).unwrap().unwrap(),
    );
    let (a, b) = (
        whole.footprint(128, 96).unwrap(),
        half.footprint(64, 48).unwrap(),
    );
    assert!(a.iter().zip(b).all(|(a, b)| a.distance_m(b) < 1e-6));
}

#[test]
fn the_ground_comes_from_an_elevation_model() {
    let mut dem = Dem::open(&path("dem")).unwrap();
    let crs = Crs::from_epsg(32_632).unwrap();
    let at = |x: f64, y: f64| crs.to_wgs84(691_000.0 + x, 5_334_000.0 - y).unwrap();
    // Centre of row 11, column 1; and half way from there to row 12 and to column 2.
    let height = dem.height_m(at(15.0, 115.0)).unwrap().unwrap();
    assert!((height - (500.0 + 22.0 + 3.0)).abs() < 1e-3, "{height}");
    let height = dem.height_m(at(20.0, 120.0)).unwrap().unwrap();
    assert!((height - (500.0 + 23.0 + 4.5)).abs() < 1e-3, "{height}");
    // No data there, and nothing at all outside.
    assert_eq!(dem.height_m(at(100.0, 45.0)).unwrap(), None);
    assert_eq!(dem.height_m(at(-100.0, 45.0)).unwrap(), None);
    assert_eq!(
        dem.height_m(GeoPoint {
            lat: -48.0,
            lon: 11.0
        })
        .unwrap(),
        None
    );
}

#[test]
fn a_geotiff_says_its_footprint_and_resolution() {
    let place = Place::open(&path("plain_classic_little"), &PlaceOptions::default()).unwrap();
    assert_eq!(place.problems, Vec::<String>::new());
    let ground = place.ground_m_per_px(GroundHeight::Unknown).unwrap();
    // UTM's own scale: 0.9996 at the central meridian, 1.00005 here.
    assert!((ground.value - 0.3).abs() < 1e-4 && ground.source.contains("GeoTIFF"));
    let [a, b, ..] = place.footprint(GroundHeight::Unknown).unwrap();
    assert!((a.distance_m(b) - 29.0 * 0.3).abs() < 0.1);
    let place = Place::open(&path("lambert93"), &PlaceOptions::default()).unwrap();
    assert!(place.footprint(GroundHeight::Unknown).is_none());
    assert!(
        place.problems[0].contains("EPSG:2154"),
        "{:?}",
        place.problems
    );
}

#[test]
fn kinds_of_samples() {
    let kind = |name: &str| {
        let mut file = TiffFile::open(&path(name)).unwrap();
        file.read_samples(0, whole((1, 1)), &[1], 1).unwrap().kind()
    };
    assert_eq!(kind("nbits1"), SampleKind::U8);
    assert_eq!(kind("nbits12"), SampleKind::U16);
    assert_eq!(kind("deflate_predictor2_int16"), SampleKind::I16);
    assert_eq!(kind("float64_plain"), SampleKind::F64);
}
