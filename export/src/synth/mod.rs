//! `dvlm-export synth`: random weights in exactly the published layouts.
//!
//! For measuring a board without the weights, and for tests. Weights are drawn so
//! that activations keep their size through any number of layers: a linear map's
//! deviation is the inverse root of its inputs, what is added to a residual
//! stream is divided by the root of the number of additions.

mod pickle;
mod shapes;
mod tokenizers;
mod torch_file;

use std::path::{Path, PathBuf};

use crate::progress::Progress;
use crate::staging_dir::StagingDir;
use crate::{Error, Result};

pub use shapes::{Draw, Entry, Shapes};

use torch_file::TorchFile;

/// Sizes of a synthetic model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// A few hundred thousand weights: for tests.
    Tiny,
    /// Full widths with 4 vision blocks and 4 language-model layers: for benches.
    Mid,
    /// Every layer: about 18 GB.
    Full,
}

/// The file that marks a directory as written by [`synth`].
const MARK: &str = "synthetic.json";

/// Writes a synthetic model. The same shapes and seed give the same bytes.
///
/// # Errors
/// When the directory cannot be written or the disk is too small.
pub fn synth(
    shapes: &Shapes,
    seed: u64,
    out: &Path,
    threads: usize,
    show_progress: bool,
) -> Result<()> {
    let folder = StagingDir::create(out, MARK)?;
    let files = files(shapes, folder.path(), seed)?;
    let bytes: u64 = files.iter().map(TorchFile::len).sum();
    folder.need(bytes + (16 << 20))?;
    let progress = if show_progress {
        Progress::new("writing", bytes)
    } else {
        Progress::hidden()
    };
    torch_file::write(&files, threads, &progress)?;
    progress.finish();

    let text = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).map_err(|e| Error::io(&path, e))
    };
    text(
        "llm/tokenizer.model",
        &tokenizers::sentencepiece(shapes.llm_rows),
    )?;
    text(
        "bert/vocab.txt",
        tokenizers::wordpiece(shapes.bert_rows - 1).as_bytes(),
    )?;
    text("llm/config.json", pretty(&shapes.llm_config()).as_bytes())?;
    text(
        "llm/pytorch_model.bin.index.json",
        pretty(&index(shapes)).as_bytes(),
    )?;
    text("deltavlm.json", pretty(&shapes.config()).as_bytes())?;
    let mark = serde_json::json!({"synthetic": true, "seed": seed});
    text(MARK, pretty(&mark).as_bytes())?;
    folder.publish()
}

fn files(shapes: &Shapes, directory: &Path, seed: u64) -> Result<Vec<TorchFile>> {
    for name in ["llm", "bert"] {
        let path = directory.join(name);
        std::fs::create_dir(&path).map_err(|e| Error::io(&path, e))?;
    }
    let path = |name: &str| directory.join(name);
    let mut files = vec![
        TorchFile::state_dict(path("eva_vit_g.pth"), "eva_vit_g", shapes.vit(), seed),
        TorchFile::checkpoint(
            path("checkpoint_best.pth"),
            "checkpoint_best",
            shapes.checkpoint(),
            seed,
        ),
    ];
    for (number, entries) in shapes.shards().into_iter().enumerate() {
        let name = shard_name(shapes, number);
        let stem = name.trim_end_matches(".bin").to_owned();
        files.push(TorchFile::state_dict(
            path("llm").join(&name),
            &stem,
            entries,
            seed,
        ));
    }
    Ok(files)
}

fn shard_name(shapes: &Shapes, number: usize) -> String {
    format!(
        "pytorch_model-{:05}-of-{:05}.bin",
        number + 1,
        shapes.shards().len()
    )
}

fn index(shapes: &Shapes) -> serde_json::Value {
    let mut map = serde_json::Map::new();
    let mut total = 0;
    for (number, entries) in shapes.shards().into_iter().enumerate() {
        for entry in entries {
            total += entry.size() * 2;
            map.insert(entry.key, shard_name(shapes, number).into());
        }
    }
    serde_json::json!({"metadata": {"total_size": total}, "weight_map": map})
}

fn pretty(value: &serde_json::Value) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("plain data");
    text.push('\n');
    text
}

/// Where [`synth`] puts each file.
pub fn paths(directory: &Path) -> crate::source::SourcePaths {
    let path = |name: &str| -> PathBuf { directory.join(name) };
    crate::source::SourcePaths {
        vit: path("eva_vit_g.pth"),
        instructblip: None,
        checkpoint: path("checkpoint_best.pth"),
        llm: path("llm"),
        bert_vocab: path("bert/vocab.txt"),
        config: Some(path("deltavlm.json")),
        skip: Vec::new(),
    }
}
