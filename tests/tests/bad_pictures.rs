//! Broken pictures: the on-board program reports each once, and goes on with the next pair.

mod common;

use common::{host_config, listen, station, tcp_addresses};
use deltavlm_host::{Analyzer, Config, Host, HostEvent, ModelAnalyzer};
use deltavlm_imaging::Image;
use deltavlm_messages::tile_number;
use deltavlm_messages::{FaultReason, Message};
use image::{ExtendedColorType, ImageEncoder, RgbImage, codecs::png::PngEncoder};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::channel,
    },
    thread,
    time::Duration,
};

fn bundle() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join("models/nano/bundle")
}

fn sample(date: &str, name: &str) -> Vec<u8> {
    let pairs = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join("demo/pairs");
    fs::read(pairs.join(date).join(name)).unwrap()
}

/// Name, before-picture, after-picture, and what the ground is told.
type Case = (&'static str, Option<Vec<u8>>, Vec<u8>, FaultReason);

fn png(side: u32) -> Vec<u8> {
    let mut file = Vec::new();
    let pixels = RgbImage::from_fn(side, side, |x, y| image::Rgb([x as u8, y as u8, 0]));
    PngEncoder::new(&mut file)
        .write_image(&pixels, side, side, ExtendedColorType::Rgb8)
        .unwrap();
    file
}

/// The same picture with another size in its header, checksum made right: 60,000 x 60,000.
fn bomb() -> Vec<u8> {
    let mut file = png(16);
    file[16..20].copy_from_slice(&60_000u32.to_be_bytes());
    file[20..24].copy_from_slice(&60_000u32.to_be_bytes());
    let crc = crc32(&file[12..29]);
    file[29..33].copy_from_slice(&crc.to_be_bytes());
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & 0u32.wrapping_sub(crc & 1))
        })
    })
}

/// A sample picture as a 16-bit PNG.
fn sixteen_bit() -> Vec<u8> {
    let picture = Image::decode("sample", &sample("A", "tile_05.jpg"), &Default::default());
    let picture = picture.unwrap();
    let (width, height) = picture.size();
    let wide = picture.rgb().iter().map(|&value| u16::from(value) * 257);
    let pixels: Vec<u8> = wide.flat_map(u16::to_ne_bytes).collect();
    let mut file = Vec::new();
    PngEncoder::new(&mut file)
        .write_image(&pixels, width, height, ExtendedColorType::Rgb16)
        .unwrap();
    file
}

/// A TIFF of one floating-point number, which has no white of its own.
fn floating_point() -> Vec<u8> {
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    let entries: [(u16, u16, u32, u32); 9] = [
        (256, 3, 1, 1),
        (257, 3, 1, 1),
        (258, 3, 1, 32),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8 + 2 + 9 * 12 + 4),
        (278, 3, 1, 1),
        (279, 4, 1, 4),
        (339, 3, 1, 3),
    ];
    file.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        file.extend(tag.to_le_bytes());
        file.extend(kind.to_le_bytes());
        file.extend(count.to_le_bytes());
        file.extend(value.to_le_bytes());
    }
    file.extend(0u32.to_le_bytes());
    file.extend(0.5f32.to_le_bytes());
    file
}

#[test]
fn each_broken_pair_is_reported_once_with_its_reason_and_the_good_ones_get_through() {
    let dir = tempfile::tempdir().unwrap();
    let [listening, connecting] = tcp_addresses();
    let text = host_config(dir.path(), &listening);
    let mut config = Config::parse(&text, dir.path()).unwrap();
    config.model.bundle = bundle();

    let good = png(16);
    let cut = good[..good.len() / 2].to_vec();
    let cases: Vec<Case> = vec![
        (
            "empty",
            Some(good.clone()),
            Vec::new(),
            FaultReason::Truncated,
        ),
        ("cut", Some(good.clone()), cut, FaultReason::Truncated),
        (
            "words",
            Some(b"not a picture".to_vec()),
            good.clone(),
            FaultReason::NotAPicture,
        ),
        (
            "float",
            Some(good.clone()),
            floating_point(),
            FaultReason::Unsupported,
        ),
        ("bomb", Some(bomb()), good.clone(), FaultReason::TooLarge),
        (
            "sizes",
            Some(good.clone()),
            png(17),
            FaultReason::SizeMismatch,
        ),
        ("alone", None, good.clone(), FaultReason::Missing),
    ];
    for (name, before, after, _) in &cases {
        if let Some(before) = before {
            fs::write(
                dir.path().join("before").join(format!("{name}.png")),
                before,
            )
            .unwrap();
        }
        fs::write(dir.path().join("after").join(format!("{name}.png")), after).unwrap();
    }
    for name in ["tile_01.jpg", "tile_04.jpg"] {
        fs::write(dir.path().join("before").join(name), sample("A", name)).unwrap();
        fs::write(dir.path().join("after").join(name), sample("B", name)).unwrap();
    }
    // Not broken: satellites deliver 16 bits.
    for date in ["before", "after"] {
        fs::write(dir.path().join(date).join("deep.png"), sixteen_bit()).unwrap();
    }

    let stop = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&stop);
    let model = config.model.clone();
    let open = Box::new(move || {
        ModelAnalyzer::open(&model).map(|open| Box::new(open) as Box<dyn Analyzer>)
    });
    let (good_ones, analyzed) = channel();
    let host = thread::spawn(move || {
        let mut host = Host::start(config, open).unwrap();
        host.observe(move |event| {
            if let HostEvent::PairAnalyzed {
                name, error: None, ..
            } = event
            {
                good_ones.send(name).unwrap();
            }
        });
        host.run(&raised).unwrap();
    });

    let mut ground = station(&dir.path().join("ground"), connecting);
    let faults = |messages: &[Message]| -> BTreeMap<u32, Vec<FaultReason>> {
        let mut faults = BTreeMap::<u32, Vec<FaultReason>>::new();
        for message in messages {
            if let Message::PairFault(fault) = message {
                faults.entry(fault.tile).or_default().push(fault.reason);
            }
        }
        faults
    };
    let mut through = BTreeSet::new();
    let mut messages = listen(&mut ground, Duration::from_secs(60), |messages| {
        through.extend(analyzed.try_iter());
        faults(messages).len() == cases.len() && through.len() == 3
    });
    let mut turns = 0;
    messages.extend(listen(&mut ground, Duration::from_secs(30), |_| {
        turns += 1;
        turns > 100
    }));
    stop.store(true, Ordering::Relaxed);
    host.join().expect("the on-board program does not panic");

    let expected: BTreeMap<u32, Vec<FaultReason>> = cases
        .iter()
        .map(|(name, _, _, reason)| (tile_number(name), vec![*reason]))
        .collect();
    assert_eq!(faults(&messages), expected);
    assert!(
        through
            .iter()
            .map(String::as_str)
            .eq(["deep", "tile_01", "tile_04"]),
        "{through:?}"
    );
}

/// A bundle with one flipped byte: the program stays, says so once, and keeps the link.
#[test]
fn a_damaged_bundle_is_reported_once_and_the_board_still_answers() {
    let dir = tempfile::tempdir().unwrap();
    let damaged = dir.path().join("bundle");
    fs::create_dir(&damaged).unwrap();
    for entry in fs::read_dir(bundle()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), damaged.join(entry.file_name())).unwrap();
    }
    let weights = damaged.join("decoder.weights");
    let mut bytes = fs::read(&weights).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&weights, bytes).unwrap();

    let [listening, connecting] = tcp_addresses();
    let text = host_config(dir.path(), &listening);
    let config = Config::parse(&text, dir.path()).unwrap();
    let problems = deltavlm_host::check(&config);
    let said = problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        said.contains("decoder.weights") && said.contains("copy the bundle again"),
        "{said}"
    );

    let stop = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&stop);
    let model = config.model.clone();
    let open = Box::new(move || {
        ModelAnalyzer::open(&model).map(|open| Box::new(open) as Box<dyn Analyzer>)
    });
    let host = thread::spawn(move || Host::start(config, open).unwrap().run(&raised).unwrap());
    let mut ground = station(&dir.path().join("ground"), connecting);
    let first = listen(&mut ground, Duration::from_secs(30), |messages| {
        !messages.is_empty()
    });
    assert!(
        matches!(&first[0], Message::PairFault(fault) if fault.reason == FaultReason::Inference)
    );
    ground.ping(1).unwrap();
    let mut is_well = false;
    for _ in 0..500 {
        for event in ground.step(Duration::from_millis(20)) {
            is_well |= matches!(event, deltavlm_ground::StationEvent::Health(_));
        }
    }
    stop.store(true, Ordering::Relaxed);
    host.join().expect("the on-board program does not panic");
    assert!(is_well, "the link lives without a model");
}
