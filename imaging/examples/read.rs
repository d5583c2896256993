//! Reads a picture whole and says what it is, how long it took and what it cost.
//!
//! `cargo run --release -p deltavlm-imaging --example read -- PICTURE [WHITE]`

use std::path::PathBuf;
use std::time::Instant;

use deltavlm_imaging::{DecodeOptions, Image};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let path = PathBuf::from(arguments.next().ok_or("which picture?")?);
    let white = arguments
        .next()
        .and_then(|white| white.to_str()?.parse().ok());
    let start = Instant::now();
    let image = Image::open(
        &path,
        &DecodeOptions {
            white,
            ..DecodeOptions::default()
        },
    )?;
    let (width, height) = image.size();
    let (share, ms) = (image.valid_share() * 100.0, start.elapsed().as_millis());
    println!(
        "{width}x{height}, {share:.1} % of it data, {ms} ms, peak {}",
        peak()
    );
    Ok(())
}

/// Largest resident memory so far, where the system tells.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or("unknown", str::trim).to_owned()
}
