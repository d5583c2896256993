//! Bundles, pictures and golden values that the checks share.

use std::path::{Path, PathBuf};

use deltavlm_runtime::{
    Check, Decoding, EngineChoice, Image, Model, Options, Pair, Provider, Request,
};
use serde_json::Value;

pub(crate) fn bundle(precision: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/bundles")
        .join(precision)
}

pub(crate) fn golden_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../export/tests/golden")
        .join(name)
}

pub(crate) fn options(engine: EngineChoice) -> Options {
    let mut options = Options {
        engine,
        threads: 2,
        ort_providers: vec![Provider::Cpu],
        check: Check::Size,
        ..Options::default()
    };
    // Features in half precision would differ from the reference.
    options.cache.memory_bytes = 0;
    options
}

pub(crate) fn open(engine: EngineChoice, precision: &str) -> Model {
    Model::open(bundle(precision), &options(engine)).unwrap()
}

pub(crate) fn pair(model: &mut Model) -> Pair {
    model
        .pair(&golden_file("before.png"), &golden_file("after.png"))
        .unwrap()
}

pub(crate) struct Golden {
    pub(crate) json: Value,
    vectors: Vec<u8>,
}

impl Golden {
    pub(crate) fn read() -> Self {
        let text = std::fs::read_to_string(golden_file("golden.json")).unwrap();
        Self {
            json: serde_json::from_str(&text).unwrap(),
            vectors: std::fs::read(golden_file("vectors.bin")).unwrap(),
        }
    }

    pub(crate) fn vector(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let place = &self.json["vectors"][name];
        let shape: Vec<usize> = serde_json::from_value(place["shape"].clone()).unwrap();
        let offset = place["offset"].as_u64().unwrap() as usize;
        let bytes = &self.vectors[offset..offset + 4 * shape.iter().product::<usize>()];
        let values = bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        (shape, values.collect())
    }
}

pub(crate) fn free(text: &str) -> Request {
    Request::raw(text).decoding(Decoding::Free).max_tokens(24)
}

/// Pictures without any sense, of odd sizes: the answers still have a form.
pub(crate) fn noise(seed: u32, width: u32, height: u32) -> Image {
    let bytes = (0..width * height * 3)
        .map(|i| (i.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 13) as u8);
    Image::from_rgb("noise", width, height, bytes.collect()).unwrap()
}
