//! What the tests share: a tiny synthetic model, the golden vectors, and ways to
//! damage a file.

#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use deltavlm_bundle::{Manifest, Precision, Segment, Target};
use deltavlm_export::Result;
use deltavlm_export::build::{Measure, Options, build};
use deltavlm_export::source::SourcePaths;
use deltavlm_export::synth::{self, Shapes, Size, synth};
use serde_json::Value;
use tempfile::TempDir;

/// The directory with the golden vectors. `DELTAVLM_GOLDEN` names another one that
/// `make_golden.py --seed N --out DIR` wrote, to compare texts of other weights.
pub(crate) fn golden_directory() -> PathBuf {
    match std::env::var_os("DELTAVLM_GOLDEN") {
        Some(directory) => directory.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"),
    }
}

/// Vectors and texts that independent implementations computed.
pub(crate) struct Golden {
    pub(crate) json: Value,
    raw: Vec<u8>,
}

impl Golden {
    pub(crate) fn open() -> Self {
        let directory = golden_directory();
        let text = std::fs::read_to_string(directory.join("golden.json")).unwrap();
        Self {
            json: serde_json::from_str(&text).unwrap(),
            raw: std::fs::read(directory.join("vectors.bin")).unwrap(),
        }
    }

    /// Shape and values of a vector.
    pub(crate) fn vector(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let entry = &self.json["vectors"][name];
        let shape: Vec<usize> = entry["shape"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_u64().unwrap() as usize)
            .collect();
        let offset = entry["offset"].as_u64().unwrap() as usize;
        let count: usize = shape.iter().product();
        let values = self.raw[offset..offset + 4 * count]
            .as_chunks::<4>()
            .0
            .iter()
            .map(|raw| f32::from_le_bytes(*raw));
        (shape, values.collect())
    }

    /// The golden model's files, with one of its language models.
    pub(crate) fn paths(llm: &str) -> SourcePaths {
        let model = golden_directory().join("model");
        SourcePaths {
            vit: model.join("eva_vit_g.pth"),
            instructblip: None,
            checkpoint: model.join("checkpoint_best.pth"),
            llm: model.join(llm),
            bert_vocab: model.join("bert/vocab.txt"),
            config: Some(model.join("deltavlm.json")),
            skip: Vec::new(),
        }
    }
}

/// Ids in a JSON array.
pub(crate) fn ids(value: &Value) -> Vec<u32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_u64().unwrap() as u32)
        .collect()
}

/// The norm of the difference over the norm of what is right.
pub(crate) fn relative_error(found: &[f32], right: &[f32]) -> f64 {
    assert_eq!(found.len(), right.len());
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let off = square(
        &mut found
            .iter()
            .zip(right)
            .map(|(&a, &b)| f64::from(a) - f64::from(b)),
    );
    (off / square(&mut right.iter().map(|&b| f64::from(b)))).sqrt()
}

/// Options for a quick build.
pub(crate) fn options(paths: SourcePaths, precision: Precision, out: &Path) -> Options {
    Options {
        paths,
        precision,
        segment_precision: BTreeMap::<Segment, Precision>::new(),
        target: Target::Cpu,
        out: out.to_owned(),
        calibrate: None,
        measure: Measure::Never,
        threads: 2,
        show_progress: false,
    }
}

/// Builds quickly.
pub(crate) fn quick(paths: SourcePaths, precision: Precision, out: &Path) -> Result<Manifest> {
    build(&options(paths, precision, out))
}

/// A tiny synthetic model in a directory of its own.
pub(crate) struct Model {
    pub(crate) directory: TempDir,
    pub(crate) paths: SourcePaths,
}

impl Model {
    pub(crate) fn tiny() -> Self {
        Self::of(&Shapes::of(Size::Tiny))
    }

    pub(crate) fn of(shapes: &Shapes) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let model = directory.path().join("model");
        synth(shapes, 1, &model, 2, false).unwrap();
        Self {
            paths: synth::paths(&model),
            directory,
        }
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.directory.path().join("bundle")
    }

    pub(crate) fn shard(&self) -> PathBuf {
        self.paths.llm.join("pytorch_model-00001-of-00002.bin")
    }

    /// Builds, expects an error, and gives its text.
    pub(crate) fn error(&self) -> String {
        let error = quick(self.paths.clone(), Precision::Int4, &self.out()).unwrap_err();
        assert!(!self.out().exists(), "a failed build left a bundle");
        let left: Vec<_> = std::fs::read_dir(self.directory.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left.len(), 1, "a failed build left {left:?}");
        error.to_string()
    }
}

/// Replaces bytes of a `torch.save` file's pickle by as many others, and records
/// the new checksum, so that nothing but the content is wrong. `after` is a text
/// to look behind.
pub(crate) fn patch_pickle(path: &Path, after: &[u8], from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len());
    let mut bytes = std::fs::read(path).unwrap();
    let name = u16::from_le_bytes([bytes[26], bytes[27]]) as usize;
    let extra = u16::from_le_bytes([bytes[28], bytes[29]]) as usize;
    let len = u32::from_le_bytes(bytes[18..22].try_into().unwrap()) as usize;
    let start = 30 + name + extra;
    let pickle = &mut bytes[start..start + len];
    let find =
        |haystack: &[u8], needle: &[u8]| haystack.windows(needle.len()).position(|w| w == needle);
    let behind = if after.is_empty() {
        0
    } else {
        find(pickle, after).expect("the text to look behind")
    };
    let at = behind + find(&pickle[behind..], from).expect("the bytes to replace");
    pickle[at..at + to.len()].copy_from_slice(to);
    let crc = crc32fast::hash(pickle).to_le_bytes();
    bytes[14..18].copy_from_slice(&crc);
    let central = find(&bytes, b"PK\x01\x02").expect("a central directory");
    bytes[central + 16..central + 20].copy_from_slice(&crc);
    std::fs::write(path, bytes).unwrap();
}
