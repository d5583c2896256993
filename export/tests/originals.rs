//! The published files as users have them: in one folder under any name, saved by
//! other tools, swapped, or with more in them than the model has.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Model, patch_pickle, quick};
use deltavlm_bundle::{Manifest, Precision};
use deltavlm_export::source::{CheckpointOverlay, Given, SourceFile, discover, read};
use serde_json::json;

/// Saves the weights of a file as safetensors under other keys.
fn resave(from: &Path, to: &Path, rename: impl Fn(&str) -> String) {
    let mut header = serde_json::Map::new();
    let mut data: Vec<u8> = Vec::new();
    for (key, tensor) in read(&SourceFile::open(from).unwrap()).unwrap() {
        let start = data.len();
        data.extend(
            tensor
                .values()
                .unwrap()
                .iter()
                .flat_map(|v| v.to_le_bytes()),
        );
        let entry =
            json!({"dtype": "F32", "shape": tensor.shape(), "data_offsets": [start, data.len()]});
        header.insert(rename(&key), entry);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(data);
    std::fs::write(to, file).unwrap();
}

fn folder(model: &Model) -> PathBuf {
    model.paths.vit.parent().unwrap().to_owned()
}

fn ids(manifest: &Manifest) -> Vec<(String, String)> {
    let files = manifest.files.iter();
    files
        .map(|file| (file.path.clone(), file.sha256.clone()))
        .collect()
}

#[test]
fn one_command_builds_from_one_folder_whatever_the_names() {
    let model = Model::tiny();
    let expected = quick(model.paths.clone(), Precision::Int8, &model.out()).unwrap();
    let folder = folder(&model);
    std::fs::rename(folder.join("eva_vit_g.pth"), folder.join("b.pth")).unwrap();
    std::fs::rename(folder.join("checkpoint_best.pth"), folder.join("a.pth")).unwrap();
    std::fs::rename(folder.join("bert/vocab.txt"), folder.join("words.txt")).unwrap();
    std::fs::rename(folder.join("llm"), folder.join("vicuna")).unwrap();
    std::fs::rename(folder.join("deltavlm.json"), folder.join("heads.json")).unwrap();
    std::fs::write(folder.join("notes.txt"), "nothing of ours").unwrap();
    let out = model.directory.path().join("found");
    let output = Command::new(env!("CARGO_BIN_EXE_dvlm-export"))
        .args([
            "build",
            "--fidelity",
            "never",
            "--json",
            "--precision",
            "int8",
            "--out",
        ])
        .args([&out, &folder])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    assert_eq!(ids(&Manifest::read(&out).unwrap()), ids(&expected));
}

#[test]
fn what_is_missing_or_there_twice_is_named() {
    let model = Model::tiny();
    let folder = folder(&model);
    let told = || {
        discover(&folder, Given::default(), &[])
            .unwrap_err()
            .to_string()
    };
    std::fs::copy(folder.join("eva_vit_g.pth"), folder.join("copy.pth")).unwrap();
    let error = told();
    assert!(
        error.contains("copy.pth") && error.contains("--vit"),
        "{error}"
    );
    std::fs::remove_file(folder.join("copy.pth")).unwrap();
    std::fs::remove_file(folder.join("bert/vocab.txt")).unwrap();
    let error = told();
    assert!(
        error.contains("vocab.txt") && error.contains("sources"),
        "{error}"
    );
    let given = Given {
        bert_vocab: Some(folder.join("elsewhere.txt")),
        ..Given::default()
    };
    assert!(discover(&folder, given, &[]).is_ok());
}

#[test]
fn swapped_arguments_are_told_as_swapped() {
    let mut model = Model::tiny();
    let paths = &mut model.paths;
    std::mem::swap(&mut paths.vit, &mut paths.checkpoint);
    let error = model.error();
    assert!(
        error.contains("checkpoint_best.pth: was given as --vit")
            && error.contains("give it as --checkpoint"),
        "{error}"
    );
}

#[test]
fn a_parallel_wrapper_and_both_llava_layouts_give_the_same_bundle() {
    let model = Model::tiny();
    let expected = quick(model.paths.clone(), Precision::F32, &model.out()).unwrap();
    let mut paths = model.paths.clone();
    paths.checkpoint = model.directory.path().join("wrapped.safetensors");
    resave(&model.paths.checkpoint, &paths.checkpoint, |key| {
        format!("module.{key}")
    });
    for prefix in ["language_model.", "model.language_model."] {
        paths.llm = model
            .directory
            .path()
            .join(format!("llava-{}", prefix.len()));
        std::fs::create_dir(&paths.llm).unwrap();
        let index = std::fs::read_to_string(model.paths.llm.join("pytorch_model.bin.index.json"));
        let index: serde_json::Value = serde_json::from_str(&index.unwrap()).unwrap();
        let rename = |key: &str| match key.strip_prefix("model.") {
            Some(bare) if prefix.starts_with("model.") => format!("{prefix}{bare}"),
            None if prefix.starts_with("model.") => key.to_owned(),
            _ => format!("{prefix}{key}"),
        };
        let mut map = serde_json::Map::new();
        for (key, shard) in index["weight_map"].as_object().unwrap() {
            map.insert(
                rename(key),
                shard
                    .as_str()
                    .unwrap()
                    .replace(".bin", ".safetensors")
                    .into(),
            );
        }
        let map_of = index["weight_map"].as_object().unwrap();
        let shards: std::collections::BTreeSet<&str> = map_of
            .values()
            .map(|shard| shard.as_str().unwrap())
            .collect();
        for shard in shards {
            let to = paths.llm.join(shard.replace(".bin", ".safetensors"));
            resave(&model.paths.llm.join(shard), &to, rename);
        }
        let index = json!({"weight_map": map}).to_string();
        std::fs::write(paths.llm.join("model.safetensors.index.json"), index).unwrap();
        let config = std::fs::read_to_string(model.paths.llm.join("config.json")).unwrap();
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();
        let config = json!({"model_type": "llava", "text_config": config}).to_string();
        std::fs::write(paths.llm.join("config.json"), config).unwrap();
        std::fs::copy(
            model.paths.llm.join("tokenizer.model"),
            paths.llm.join("tokenizer.model"),
        )
        .unwrap();
        let out = model
            .directory
            .path()
            .join(format!("bundle-{}", prefix.len()));
        let found = quick(paths.clone(), Precision::F32, &out).unwrap();
        assert_eq!(ids(&found), ids(&expected), "{prefix}");
    }
}

/// A `text_config` stores only what differs from LLaMA's defaults.
#[test]
fn omitted_defaults_of_llava_are_those_of_llama() {
    let model = Model::tiny();
    let config = json!({"model_type": "llava", "text_config": {"max_position_embeddings": 4096}});
    std::fs::write(model.paths.llm.join("config.json"), config.to_string()).unwrap();
    // The tiny weights do not have these widths, which is what shows them.
    let error = model.error();
    assert!(
        error.contains("[600, 64]") && error.contains("4096"),
        "{error}"
    );
    // A plain config without them is one that was cut.
    std::fs::write(
        model.paths.llm.join("config.json"),
        "{\"model_type\": \"llama\"}",
    )
    .unwrap();
    let error = model.error();
    assert!(error.contains("`hidden_size` is missing"), "{error}");
}

#[test]
fn adapters_are_refused_and_unused_tensors_counted() {
    let model = Model::tiny();
    let key = b"vision_proj.weight";
    patch_pickle(&model.paths.checkpoint, b"", key, b"other_heads.weight");
    let overlay = CheckpointOverlay::open(&model.paths).unwrap();
    let [(path, keys)] = overlay.unused() else {
        panic!("{:?}", overlay.unused());
    };
    assert_eq!(
        (path, keys.as_slice()),
        (
            &model.paths.checkpoint,
            &["other_heads.weight".to_owned()][..]
        )
    );

    patch_pickle(
        &model.paths.checkpoint,
        b"",
        b"other_heads.weight",
        b"Qformer.b.lora_A.w",
    );
    let error = model.error();
    assert!(
        error.contains("`Qformer.b.lora_A.w`") && error.contains("merge_and_unload"),
        "{error}"
    );
}

#[test]
fn sources_name_every_file_and_the_next_command() {
    let output = Command::new(env!("CARGO_BIN_EXE_dvlm-export"))
        .arg("sources")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "eva_vit_g.pth",
        "hlwu/DeltaVLM",
        "lmsys/vicuna-7b-v1.5",
        "bert-base-uncased",
        "dvlm-export build originals",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
