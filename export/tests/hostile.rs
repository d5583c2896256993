//! Broken and hostile inputs: each a clear error, none a panic, none executed.

mod common;

use std::path::Path;

use common::{Model, patch_pickle, quick};
use deltavlm_bundle::Precision;
use deltavlm_export::random::Random;

fn overwrite(path: &Path, content: &[u8]) {
    std::fs::write(path, content).unwrap();
}

#[test]
fn what_is_no_weight_file_is_recognised() {
    for (content, expected) in [
        (
            &b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n"[..],
            "git lfs pull",
        ),
        (
            b"\n<!DOCTYPE html><html><body>403</body></html>",
            "web page",
        ),
        (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "re-save"),
        (b"\x80\x04cos\nsystem\n.", "bare pickle"),
        (b"", "empty"),
        (b"hello", "neither"),
        (b"PK\x05\x06", "zip"),
    ] {
        let model = Model::tiny();
        overwrite(&model.paths.vit, content);
        let error = model.error();
        assert!(
            error.contains(expected) && error.contains("eva_vit_g.pth"),
            "{error}"
        );
    }
}

#[test]
fn a_hostile_pickle_is_refused_by_name() {
    let model = Model::tiny();
    // The name of a harmless global becomes that of a dangerous one of equal length.
    patch_pickle(
        &model.paths.checkpoint,
        b"",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"cposix\nsystem\n0000000000000000000",
    );
    let error = model.error();
    assert!(
        error.contains("refused")
            && error.contains("posix.system")
            && error.contains("checkpoint_best.pth"),
        "{error}"
    );
}

#[test]
fn a_missing_key_names_the_key_and_the_file_expected_to_hold_it() {
    let model = Model::tiny();
    patch_pickle(
        &model.paths.vit,
        b"",
        b"blocks.0.norm1.weight",
        b"blocks.0.norm9.weight",
    );
    let error = model.error();
    assert!(
        error.contains("visual_encoder.blocks.0.norm1.weight") && error.contains("eva_vit_g.pth"),
        "{error}"
    );

    let model = Model::tiny();
    patch_pickle(
        &model.paths.checkpoint,
        b"",
        b"context3.weight",
        b"contextX.weight",
    );
    let error = model.error();
    assert!(
        error.contains("`context3.weight`") && error.contains("checkpoint_best.pth"),
        "{error}"
    );

    let model = Model::tiny();
    patch_pickle(
        &model.shard(),
        b"",
        b"model.layers.1.mlp.up_proj",
        b"model.layers.1.mlp.xx_proj",
    );
    let error = model.error();
    assert!(
        error.contains("model.layers.1.mlp.up_proj.weight")
            && error.contains("pytorch_model-00001-of-00002.bin"),
        "{error}"
    );

    let model = Model::tiny();
    std::fs::remove_file(model.shard()).unwrap();
    let error = model.error();
    assert!(
        error.contains("pytorch_model-00001-of-00002.bin") && error.contains("index"),
        "{error}"
    );
}

#[test]
fn a_wrong_shape_names_both_shapes() {
    let model = Model::tiny();
    // 64 rows become 63 in the shape of `blocks.0.attn.q_bias`.
    patch_pickle(
        &model.paths.vit,
        b"blocks.0.attn.q_bias",
        b"J\x40\0\0\0t(",
        b"J\x3f\0\0\0t(",
    );
    let error = model.error();
    assert!(
        error.contains("[63]") && error.contains("[64]") && error.contains("q_bias"),
        "{error}"
    );
}

#[test]
fn impossible_configurations_are_named() {
    for (content, expected) in [
        (r#"{"vision": {"hedas": 4}}"#, "hedas"),
        (
            r#"{"vision": {"heads": 5}, "qformer": {"heads": 4}}"#,
            "vision.heads 5",
        ),
        (r#"{"qformer": {"heads": 4}}"#, "head width 88"),
        (
            r#"{"vision": {"heads": 4, "image_size": 57}, "qformer": {"heads": 4}}"#,
            "57",
        ),
        (
            r#"{"vision": {"heads": 4, "depth": 99}, "qformer": {"heads": 4}}"#,
            "blocks.3",
        ),
        ("[", "deltavlm.json"),
    ] {
        let model = Model::tiny();
        overwrite(model.paths.config.as_deref().unwrap(), content.as_bytes());
        let error = model.error();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_optimizers_state_is_never_read() {
    let model = Model::tiny();
    let mut bytes = std::fs::read(&model.paths.checkpoint).unwrap();
    // The two moments are the last two thirds of the file; only the directory follows.
    let (from, to) = (bytes.len() / 2, bytes.len() / 2 + 1000);
    assert!(bytes[from..to].iter().filter(|&&byte| byte == 0).count() > 900);
    bytes[from..to]
        .iter_mut()
        .for_each(|byte| *byte ^= if *byte == 0 { 0x5a } else { 0 });
    overwrite(&model.paths.checkpoint, &bytes);
    quick(model.paths.clone(), Precision::Int4, &model.out()).unwrap();
}

#[test]
fn a_flipped_bit_in_a_weight_is_noticed() {
    let model = Model::tiny();
    let mut bytes = std::fs::read(&model.paths.vit).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    overwrite(&model.paths.vit, &bytes);
    assert!(model.error().contains("CRC-32"));
}

/// Every file, cut, flipped, blanked and shuffled at random: a build ends with a
/// bundle or an error, and a cut weight file is always an error.
#[test]
fn three_hundred_damaged_files_give_errors_and_no_panic() {
    let model = Model::tiny();
    let config = model.paths.config.clone().unwrap();
    let llm = &model.paths.llm;
    let weights = [
        model.paths.vit.clone(),
        model.paths.checkpoint.clone(),
        model.shard(),
    ];
    let texts = [
        config,
        llm.join("config.json"),
        llm.join("pytorch_model.bin.index.json"),
        llm.join("tokenizer.model"),
        model.paths.bert_vocab.clone(),
    ];
    let mut random = Random::new(3);
    let mut pick = |below: usize| (random.next() % below as u64) as usize;
    let (mut failed, mut built) = (0, 0);
    for round in 0..300 {
        let is_weights = round % 2 == 0;
        let path = if is_weights {
            &weights[round / 2 % 3]
        } else {
            &texts[round / 2 % 5]
        };
        let whole = std::fs::read(path).unwrap();
        let mut bytes = whole.clone();
        let damage = pick(5);
        // Damage near either end meets headers and directories.
        let place = match pick(3) {
            0 => pick(whole.len().min(4096)),
            1 => whole.len() - 1 - pick(whole.len().min(4096)),
            _ => pick(whole.len()),
        };
        match damage {
            0 => bytes.truncate(place),
            1 => bytes[place] ^= 1 << pick(8),
            2 => bytes[place..]
                .iter_mut()
                .take(64)
                .for_each(|byte| *byte = 0),
            3 => bytes[place..]
                .iter_mut()
                .take(4)
                .for_each(|byte| *byte = 0xff),
            _ => {
                let chunk: Vec<u8> = bytes[pick(whole.len())..]
                    .iter()
                    .copied()
                    .take(32)
                    .collect();
                bytes.splice(place..place, chunk);
            }
        }
        overwrite(path, &bytes);
        match quick(model.paths.clone(), Precision::Int4, &model.out()) {
            Ok(_) => {
                assert!(
                    !(is_weights && damage == 0),
                    "a file cut at {place} of {} was accepted",
                    whole.len()
                );
                std::fs::remove_dir_all(model.out()).unwrap();
                built += 1;
            }
            Err(error) => {
                assert!(
                    error.to_string().len() > 20 && !model.out().exists(),
                    "{error}"
                );
                failed += 1;
            }
        }
        overwrite(path, &whole);
    }
    assert!(failed > 150, "{failed} errors, {built} bundles");
}
