//! Of a large map only what a frame needs is read.

use deltavlm_imaging::register::{Homography, Prior, Reference};
use deltavlm_imaging::{DecodeOptions, Image};

fn map(path: &std::path::Path) -> Image {
    let (width, height) = (800u32, 600u32);
    let rgb: Vec<u8> = (0..width * height)
        .flat_map(|index| [(index % width / 4) as u8, (index / width / 3) as u8, 7])
        .collect();
    let image = Image::from_rgb("map", width, height, rgb).unwrap();
    image::save_buffer_with_format(
        path,
        image.rgb(),
        width,
        height,
        image::ColorType::Rgb8,
        image::ImageFormat::Tiff,
    )
    .unwrap();
    image
}

fn near(x: f64, y: f64) -> Prior {
    Prior {
        start: Homography::translation(x, y),
        shift_px: 20.0,
        rotation_deg: 0.0,
        scale: 1.0,
    }
}

#[test]
fn only_the_window_around_the_pose_is_read_and_it_lies_where_it_says() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("map.tif");
    let whole = map(&path);
    let options = DecodeOptions {
        // Less than the whole map has.
        max_pixels: 70_000,
        ..DecodeOptions::default()
    };
    let part = Reference::open(&path, (200, 150), &near(500.0, 300.0), &options)
        .unwrap()
        .expect("inside");
    let (width, height) = part.image.size();
    assert_eq!((width, height), (240, 190));
    let corner = part.to_whole.apply([0.0, 0.0]);
    assert_eq!(corner, [480.0, 280.0]);
    let crop = whole.crop(480, 280, width, height);
    assert_eq!(part.image.rgb(), crop.rgb());
    // The prior is that of the part now.
    assert_eq!(part.prior.start.apply([0.0, 0.0]), [20.0, 20.0]);
    assert_eq!(part.prior.shift_px, 20.0);
}

#[test]
fn a_pose_beside_the_map_is_no_reference_and_a_rim_is_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("map.tif");
    map(&path);
    let open = |prior: Prior| Reference::open(&path, (200, 150), &prior, &DecodeOptions::default());
    assert!(open(near(5000.0, 300.0)).unwrap().is_none());
    let rim = open(near(700.0, -100.0)).unwrap().expect("overlaps");
    assert_eq!(rim.image.size(), (120, 70));
    assert_eq!(rim.to_whole.apply([0.0, 0.0]), [680.0, 0.0]);
}

#[test]
fn without_a_place_the_whole_picture_is_the_reference() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("map.tif");
    map(&path);
    let whole = Reference::open(
        &path,
        (200, 150),
        &Prior::unknown(),
        &DecodeOptions::default(),
    )
    .unwrap()
    .expect("all of it");
    assert_eq!(whole.image.size(), (800, 600));
    assert_eq!(whole.to_whole, Homography::IDENTITY);
}
