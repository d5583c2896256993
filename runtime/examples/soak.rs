//! Asks many times and watches the memory.
//!
//!     cargo run --release -p deltavlm-runtime --example soak -- [BUNDLE] [ASKS]
//!
//! Every tenth ask encodes another pair. Prints the resident memory ten times on
//! the way; it must not grow.

use std::path::{Path, PathBuf};
use std::time::Instant;

use deltavlm_runtime::{Error, Image, Instruction, Model, Options, Request, resident_bytes};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let bundle = arguments.next().map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bundles/int8"),
        PathBuf::from,
    );
    let asks: usize = arguments
        .next()
        .and_then(|count| count.parse().ok())
        .unwrap_or(10_000);

    // A cache small enough to be full from the start: it may not be what grows.
    let mut options = Options::default();
    options.cache.memory_bytes = 64 << 10;
    let mut model = Model::open(&bundle, &options)?;
    let picture = |seed: u32| {
        let bytes = (0..64 * 64 * 3u32)
            .map(|index| (index.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 11) as u8);
        Image::from_rgb("noise", 64, 64, bytes.collect())
    };
    let requests = [
        Request::fixed(Instruction::Classify),
        Request::fixed(Instruction::Count),
        Request::question("what is new?").max_tokens(4),
    ];
    let mut pair = model.pair(&picture(0)?, &picture(1)?)?;
    let started = Instant::now();
    for index in 0..asks {
        if index % 10 == 0 {
            pair = model.pair(&picture(index as u32)?, &picture(index as u32 + 7)?)?;
        }
        model.ask(&pair, &requests[index % requests.len()])?;
        if (index + 1) % (asks / 10).max(1) == 0 {
            let resident = resident_bytes().unwrap_or(0) as f64 / f64::from(1u32 << 20);
            println!(
                "{:>7} asks {:>7.1} s {resident:>8.2} MiB",
                index + 1,
                started.elapsed().as_secs_f64()
            );
        }
    }
    Ok(())
}
