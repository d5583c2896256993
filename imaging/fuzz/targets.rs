//! What the fuzz targets do with their bytes. `tests/damage.rs` runs the same on a stable
//! toolchain, on damaged copies of the golden files.

use std::io::Cursor;

use deltavlm_imaging::geo::{Crs, GeoPoint};
use deltavlm_imaging::place::{Dem, GroundHeight, Place, PlaceOptions};
use deltavlm_imaging::tiff::TiffFile;
use deltavlm_imaging::{DecodeOptions, Image, Rect, Stretch};

/// Small, so that a bomb shows as time or memory.
const MAX_PIXELS: u64 = 1 << 18;

/// Any bytes as a picture: what is decoded has as many pixels as it says.
pub(crate) fn images(data: &[u8]) {
    let plain = DecodeOptions {
        max_pixels: MAX_PIXELS,
        ..DecodeOptions::default()
    };
    let scaled = DecodeOptions {
        white: Some(4095.0),
        black: Some(-1.0),
        nodata: Some(0.0),
        bands: Some([3, 2, 1]),
        stretch: Some(Stretch {
            low: 2.0,
            high: 98.0,
        }),
        ..plain
    };
    for options in [plain, scaled] {
        if let Ok(image) = Image::decode("fuzz", data, &options) {
            let (width, height) = image.size();
            let pixels = u64::from(width) * u64::from(height);
            assert!(pixels > 0 && pixels <= MAX_PIXELS);
            assert_eq!(image.rgb().len() as u64, pixels * 3);
            assert!(
                image
                    .validity()
                    .is_none_or(|valid| valid.len() as u64 == pixels)
            );
        }
    }
}

/// Any bytes as a TIFF that is read by windows, and as an elevation model.
pub(crate) fn tiffs(data: &[u8]) {
    let Ok(mut file) = TiffFile::new("fuzz", Cursor::new(data)) else {
        return;
    };
    let options = DecodeOptions {
        max_pixels: MAX_PIXELS,
        ..DecodeOptions::default()
    };
    for level in 0..file.levels().min(4) {
        let (width, height) = file.level_size(level);
        // A corner, the far corner, and a strip across.
        let (w, h) = (width.min(40), height.min(40));
        let windows = [
            Rect {
                x: 0,
                y: 0,
                width: w,
                height: h,
            },
            Rect {
                x: width - w,
                y: height - h,
                width: w,
                height: h,
            },
            Rect {
                x: 0,
                y: height / 2,
                width: width.min(1000),
                height: 1,
            },
        ];
        for window in windows {
            let _ = file.read_window(level, window, &options);
            let _ = file.read_samples(level, window, &[1], MAX_PIXELS);
        }
        let _ = file.georeference_of(level);
    }
    if let Ok(mut dem) = Dem::new("fuzz", file) {
        let _ = dem.height_m(GeoPoint {
            lat: 48.1,
            lon: 11.5,
        });
    }
}

/// Any bytes as the headers of a picture: what is said of a place lies on the globe.
pub(crate) fn places(data: &[u8]) {
    let place = Place::decode(data, &PlaceOptions::default());
    for ground in [
        GroundHeight::Unknown,
        GroundHeight::TakeOffAbove(10.0),
        GroundHeight::Elevation(100.0),
    ] {
        if let Some(height) = place.height_above_ground(ground) {
            assert!(height.value > 0.0 && height.value.is_finite());
        }
        if let Some(ground) = place.ground_m_per_px(ground) {
            assert!(ground.value > 0.0 && ground.value.is_finite());
        }
        for corner in place.footprint(ground).into_iter().flatten() {
            assert!(
                GeoPoint::new(corner.lat, corner.lon).is_some(),
                "{corner:?}"
            );
        }
    }
    if let Some(position) = place.position {
        let point = position.value;
        assert!(GeoPoint::new(point.lat, point.lon).is_some(), "{point:?}");
    }
}

/// Any text as a coordinate system: what is understood has a code that leads back.
pub(crate) fn systems(data: &[u8]) {
    if let Ok(crs) = String::from_utf8_lossy(data).parse::<Crs>() {
        assert_eq!(Crs::from_epsg(crs.epsg()), Ok(crs));
    }
}
