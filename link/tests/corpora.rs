//! The fuzz targets on a stable toolchain: every committed input, and a bounded number of mutations of
//! each that are the same in every run.

use std::{fs, path::PathBuf};

use deltavlm_link::sim::Rng;

#[path = "../fuzz/targets.rs"]
mod targets;

fn run(name: &str, mutations: u64, target: impl Fn(&[u8])) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(
        files.len() >= 4,
        "{} has {} inputs",
        folder.display(),
        files.len()
    );
    let inputs: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    inputs.iter().for_each(|input| target(input));
    let mut rng = Rng::new(1);
    for _ in 0..mutations {
        let mut input = inputs[rng.below(inputs.len() as u64) as usize].clone();
        for _ in 0..=rng.below(6) {
            mutate(&mut input, &inputs, &mut rng);
        }
        target(&input);
    }
}

fn mutate(input: &mut Vec<u8>, inputs: &[Vec<u8>], rng: &mut Rng) {
    let place = rng.below(input.len() as u64 + 1) as usize;
    match rng.below(6) {
        0 => input.insert(place, rng.bits() as u8),
        1 if place < input.len() => drop(input.remove(place)),
        2 | 3 if place < input.len() => input[place] ^= 1 << rng.below(8),
        4 if place < input.len() => input[place] = [0, 1, 0x7F, 0x80, 0xFF][rng.below(5) as usize],
        _ => {
            let other = &inputs[rng.below(inputs.len() as u64) as usize];
            let from = rng.below(other.len() as u64 + 1) as usize;
            let to = (from + rng.below(32) as usize).min(other.len());
            input.splice(place..place, other[from..to].iter().copied());
        }
    }
}

#[test]
fn frames() {
    run("frames", 3_000, targets::frames);
}

#[test]
fn endpoints() {
    run("endpoints", 300, targets::endpoints);
}

#[test]
fn log() {
    run("log", 3_000, targets::log);
}
