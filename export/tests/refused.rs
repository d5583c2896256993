//! Seeded damage that leaves every checksum right: keys renamed, shapes changed,
//! pickles that ask for more than tensors. Each is an error that names what is
//! wrong, none is executed.

mod common;

use std::path::Path;

use common::{Model, patch_pickle};
use deltavlm_export::random::Random;
use deltavlm_export::source::{SourceFile, read};

/// Keys of a file that the model needs.
fn needed(path: &Path) -> Vec<String> {
    let tensors = read(&SourceFile::open(path).unwrap()).unwrap();
    let unused = [
        "temp",
        "vision_proj",
        "text_proj",
        // Where the one file has no key, the other one's counts.
        "blocks.1.",
        "blocks.2.",
        "visual_encoder.blocks.",
        // The last layer's text positions lead nowhere.
        "Qformer.bert.encoder.layer.3.intermediate.",
        "Qformer.bert.encoder.layer.3.output.",
    ];
    let needed = tensors
        .into_keys()
        .filter(|key| !unused.iter().any(|name| key.starts_with(name)));
    needed.collect()
}

fn files(model: &Model) -> [std::path::PathBuf; 3] {
    [
        model.paths.vit.clone(),
        model.paths.checkpoint.clone(),
        model.shard(),
    ]
}

#[test]
fn seventy_renamed_keys_are_named() {
    let model = Model::tiny();
    let mut random = Random::new(17);
    for round in 0..70 {
        let path = &files(&model)[round % 3];
        let whole = std::fs::read(path).unwrap();
        let keys = needed(path);
        let key = &keys[(random.next() % keys.len() as u64) as usize];
        let mut other = key.clone().into_bytes();
        let last = other.len() - 1;
        other[last] = b'X';
        patch_pickle(path, b"", &quoted(key.as_bytes()), &quoted(&other));
        let error = model.error();
        // The file that should hold it; a block without its first key is not counted at all.
        let name = path.file_name().unwrap().to_str().unwrap();
        let told = error.contains(key.as_str()) || error.contains("no file supplies");
        assert!(
            told && error.contains(name) || error.contains("blocks."),
            "{key}: {error}"
        );
        std::fs::write(path, whole).unwrap();
    }
}

#[test]
fn seventy_changed_shapes_are_named() {
    let model = Model::tiny();
    let mut random = Random::new(18);
    for round in 0..70 {
        let path = &files(&model)[round % 3];
        let whole = std::fs::read(path).unwrap();
        let tensors = read(&SourceFile::open(path).unwrap()).unwrap();
        // One row less is another number of words, positions or queries.
        let free = ["position_embeddings", "word_embeddings", "query_tokens"];
        let keys: Vec<String> = needed(path)
            .into_iter()
            .filter(|key| !free.iter().any(|name| key.contains(name)))
            .collect();
        let key = &keys[(random.next() % keys.len() as u64) as usize];
        let shape = tensors[key.as_str()].shape().to_vec();
        let axis = (random.next() % shape.len() as u64) as usize;
        let coded = |shape: &[usize]| {
            let mut bytes = b"tQJ\0\0\0\0(".to_vec();
            for &size in shape {
                bytes.push(b'J');
                bytes.extend((size as u32).to_le_bytes());
            }
            bytes
        };
        let mut other = shape.clone();
        other[axis] -= 1;
        patch_pickle(
            path,
            &quoted(key.as_bytes()),
            &coded(&shape),
            &coded(&other),
        );
        let error = model.error();
        let name = path.file_name().unwrap().to_str().unwrap();
        let shapes = error.contains(&format!("{other:?}"))
            || error.contains("no elements")
            || error.contains("pieces");
        // A dimension that others are measured by is found wrong at one of them.
        let elsewhere = error.contains("has shape") && error.contains("is expected");
        assert!(
            shapes && error.contains(name) || elsewhere || error.contains("--config"),
            "{key} {other:?}: {error}"
        );
        std::fs::write(path, whole).unwrap();
    }
}

#[test]
fn hostile_pickles_are_refused_by_name_and_never_run() {
    let model = Model::tiny();
    let mark = model.directory.path().join("executed");
    let command = format!("touch {}", mark.display());
    let text = |text: &str| {
        let mut bytes = vec![b'X'];
        bytes.extend((text.len() as u32).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes
    };
    let short = |text: &str| [&[0x8c, text.len() as u8], text.as_bytes()].concat();
    let call = |module: &str, name: &str| {
        [
            format!("c{module}\n{name}\n(").into_bytes(),
            text(&command),
            b"tR.".to_vec(),
        ]
        .concat()
    };
    let mut cases = Vec::new();
    for (module, name) in [
        ("os", "system"),
        ("posix", "system"),
        ("nt", "system"),
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("__builtin__", "getattr"),
        ("subprocess", "Popen"),
        ("subprocess", "check_output"),
        ("runpy", "run_path"),
        ("importlib", "import_module"),
        ("torch", "load"),
        ("torch.hub", "load"),
        ("torch.serialization", "load"),
        ("collections", "OrderedDict.fromkeys"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("functools", "partial"),
        ("operator", "attrgetter"),
        ("numpy", "load"),
        ("pickle", "loads"),
        ("codecs", "encode.__class__"),
    ] {
        let expected = format!("{module}.{name}");
        cases.push((call(module, name), expected.clone()));
        // The same by the instruction of protocol 4.
        let stacked = [
            short(module),
            short(name),
            b"\x93(".to_vec(),
            text(&command),
            b"tR.".to_vec(),
        ];
        cases.push((stacked.concat(), expected));
    }
    for (opcodes, name) in [
        (&b"(ios\nsystem\n."[..], "INST"),
        (b"(cos\nsystem\no.", "os.system"),
        (b"(X\x01\0\0\0xo.", "OBJ"),
        (b"\x82\x01.", "EXT"),
        (b"Pos.system\n.", "PERSID"),
    ] {
        cases.push((opcodes.to_vec(), name.to_owned()));
    }
    for (opcodes, name) in cases {
        let pickle = [b"\x80\x04", opcodes.as_slice()].concat();
        std::fs::write(&model.paths.checkpoint, archive(&pickle)).unwrap();
        let error = model.error();
        assert!(
            error.contains("refused") && error.contains("checkpoint_best.pth"),
            "{name}: {error}"
        );
        assert!(error.contains(&name), "{name}: {error}");
        assert!(!mark.exists(), "{name} was executed");
    }
}

/// A key as the pickle holds it: its length before it tells it from longer ones.
fn quoted(key: &[u8]) -> Vec<u8> {
    [&b"X"[..], &(key.len() as u32).to_le_bytes(), key].concat()
}

/// A zip archive that holds one pickle.
fn archive(pickle: &[u8]) -> Vec<u8> {
    let name = b"archive/data.pkl";
    let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    common.extend(crc32fast::hash(pickle).to_le_bytes());
    common.extend((pickle.len() as u32).to_le_bytes());
    common.extend((pickle.len() as u32).to_le_bytes());
    common.extend((name.len() as u16).to_le_bytes());
    common.extend([0, 0]);
    let mut out = [&b"PK\x03\x04"[..], &common, name, pickle].concat();
    let start = out.len() as u32;
    out.extend([&b"PK\x01\x02\x14\0"[..], &common, &[0; 10], &[0; 4], name].concat());
    let size = out.len() as u32 - start;
    out.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    out.extend(size.to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0, 0]);
    out
}
