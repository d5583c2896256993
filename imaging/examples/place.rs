//! What a picture says of its place, and where it would be read in a map.
//!
//! `cargo run -p deltavlm-imaging --example place -- PICTURE [GEOTIFF]`

use std::path::PathBuf;

use deltavlm_imaging::place::{GroundHeight, Place, PlaceOptions};
use deltavlm_imaging::tiff::TiffFile;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let picture = arguments.next().ok_or("which picture?")?;
    let place = Place::open(&picture, &PlaceOptions::default())?;
    println!("{place:#?}");
    println!("{:#?}", place.ground_m_per_px(GroundHeight::Unknown));
    let footprint = place.footprint(GroundHeight::Unknown);
    println!("footprint {footprint:#?}");
    if let (Some(map), Some(corners)) = (arguments.next(), footprint) {
        let map = TiffFile::open(&map)?.georeference()?;
        let pixels = map.map(|map| corners.map(|corner| map.from_wgs84(corner)));
        println!("pixels of the map {pixels:?}");
    }
    Ok(())
}
