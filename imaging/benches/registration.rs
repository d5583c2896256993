//! Reading and registering a 12-megapixel frame against an orthophoto, on one thread.
//!
//! `cargo bench -p deltavlm-imaging --bench registration -- [REFERENCE FRAME]`
//!
//! Without two files it draws a place of its own and writes them first. Every figure is the median of
//! five runs, one JSON line a piece of work; `imaging/accuracy/registration.py time REFERENCE FRAME`
//! says what OpenCV takes for the same files.

use std::path::{Path, PathBuf};
use std::time::Instant;

use deltavlm_imaging::register::{Gray, Homography, Prior, Settings, register, warp};
use deltavlm_imaging::{DecodeOptions, Image};

type Failure = Box<dyn std::error::Error>;

const FRAME: (u32, u32) = (4000, 3000);

fn main() -> Result<(), Failure> {
    // Cargo passes `--bench`.
    let files: Vec<PathBuf> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .map(PathBuf::from)
        .collect();
    let (reference, frame) = match &files[..] {
        [reference, frame] => (reference.clone(), frame.clone()),
        _ => drawn(&std::env::temp_dir())?,
    };
    println!(
        "reference {}, frame {}",
        reference.display(),
        frame.display()
    );
    let options = DecodeOptions::default();
    let read = |path: &Path| Image::open(path, &options);
    let image = read(&frame)?;
    // The reference lies ready, as on board: its pyramid is not, and is counted.
    let map = Gray::from(&read(&reference)?);
    let settings = Settings::default();
    let found = register(&Gray::from(&image), &map, &Prior::unknown(), &settings);
    let prior = Prior {
        start: Homography::translation(25.0, -30.0).after(&found.homography),
        shift_px: 150.0,
        rotation_deg: 5.0,
        scale: 1.06,
    };
    println!(
        "{{\"aligned\": {}, \"windows\": {}, \"agreeing\": {:.2}}}",
        found.is_aligned(),
        found.evidence.windows,
        found.evidence.agreeing
    );
    report("read", || read(&frame).is_ok());
    report("brightness", || Gray::from(&image).size().0 > 0);
    let gray = Gray::from(&image);
    report("register", || {
        register(&gray, &map, &Prior::unknown(), &settings).is_aligned()
    });
    report("register with a prior", || {
        register(&gray, &map, &prior, &settings).is_aligned()
    });
    report("resample", || {
        warp(&image, &found.homography, (4000, 3000)).is_some()
    });
    let whole = |prior: &Prior| {
        read(&frame)
            .is_ok_and(|image| register(&Gray::from(&image), &map, prior, &settings).is_aligned())
    };
    report("read + register", || whole(&Prior::unknown()));
    report("read + register with a prior", || whole(&prior));
    Ok(())
}

fn report(work: &str, mut run: impl FnMut() -> bool) {
    let mut times: Vec<f64> = (0..5)
        .map(|_| {
            let begun = Instant::now();
            let done = std::hint::black_box(run());
            assert!(done, "{work} failed");
            begun.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!(
        "{{\"work\": \"{work}\", \"ms\": {:.0}, \"least_ms\": {:.0}}}",
        times[2], times[0]
    );
}

/// Fields, roads and roofs of 5000 x 4000 pixels, and what a camera of 12 megapixels sees of them.
fn drawn(directory: &Path) -> Result<(PathBuf, PathBuf), Failure> {
    let (width, height) = (5000usize, 4000usize);
    let mut values = vec![110.0f32; width * height];
    let mut state = 1u64;
    let mut next = move || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as f64 / (1u64 << 31) as f64
    };
    for index in 0..3000 {
        let (x, y) = (next() * width as f64, next() * height as f64);
        let shade = next();
        let (long, wide) = match index {
            0..60 => (150.0 + 500.0 * next(), 100.0 + 300.0 * next()),
            60..90 => (5000.0, 12.0),
            _ => (20.0 + 50.0 * next(), 20.0 + 30.0 * next()),
        };
        let (sin, cos) = (next() * 3.1).sin_cos();
        let reach = f64::hypot(long, wide);
        let rows = (y - reach).max(0.0) as usize..((y + reach).max(0.0) as usize).min(height);
        for row in rows {
            let columns = (x - reach).max(0.0) as usize..((x + reach).max(0.0) as usize).min(width);
            for column in columns {
                let (dx, dy) = (column as f64 - x, row as f64 - y);
                if (cos * dx + sin * dy).abs() < long && (cos * dy - sin * dx).abs() < wide {
                    values[row * width + column] = 60.0 + 150.0 * shade as f32;
                }
            }
        }
    }
    let rgb = values
        .iter()
        .flat_map(|&value| {
            let value = value + 16.0 * next() as f32;
            [value as u8, (0.9 * value) as u8, (0.8 * value) as u8]
        })
        .collect();
    let place = Image::from_rgb("place", width as u32, height as u32, rgb)?;
    let truth = Homography::translation(2600.0, 1900.0)
        .after(&Homography::similarity(1.04, 0.14, [0.0, 0.0]))
        .after(&Homography::translation(-2000.0, -1500.0));
    let back = truth.inverse().ok_or("no inverse")?;
    let frame = warp(&place, &back, FRAME).ok_or("no inverse")?.image;
    let write = |name: &str, image: &Image| -> Result<PathBuf, Failure> {
        let path = directory.join(name);
        let mut file = std::io::BufWriter::new(std::fs::File::create(&path)?);
        let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut file, 92);
        let (width, height) = image.size();
        encoder_write(encoder, image.rgb(), width, height)?;
        Ok(path)
    };
    Ok((
        write("registration_reference.jpg", &place)?,
        write("registration_frame.jpg", &frame)?,
    ))
}

fn encoder_write<W: std::io::Write>(
    mut encoder: image::codecs::jpeg::JpegEncoder<W>,
    rgb: &[u8],
    width: u32,
    height: u32,
) -> Result<(), Failure> {
    Ok(encoder.encode(rgb, width, height, image::ExtendedColorType::Rgb8)?)
}
