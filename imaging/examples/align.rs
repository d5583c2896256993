//! Brings a frame onto a reference picture and writes it on the reference's grid.
//!
//! `cargo run --release -p deltavlm-imaging --example align -- REFERENCE FRAME AFTER.png`

use std::path::Path;

use deltavlm_imaging::register::{Gray, Prior, Settings, register, warp};
use deltavlm_imaging::{DecodeOptions, Image, write_png};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [reference, frame, after] = &arguments[..] else {
        return Err("which reference, which frame, and where to write it?".into());
    };
    let [reference, frame] =
        [reference, frame].map(|path| Image::open(Path::new(path), &DecodeOptions::default()));
    let (reference, frame) = (reference?, frame?);
    let found = register(
        &Gray::from(&frame),
        &Gray::from(&reference),
        &Prior::unknown(),
        &Settings::default(),
    );
    println!("{found:#?}");
    let warped = warp(&frame, &found.homography, reference.size());
    match warped.filter(|_| found.is_aligned()) {
        Some(warped) => Ok(write_png(Path::new(after), &warped.image)?),
        None => Err("unaligned".into()),
    }
}
