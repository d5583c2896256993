//! A weight file on disk: positioned reads and the recognition of files that
//! are something else.

use std::fs::File;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Error, Result};

/// An open file with its size; reads never move a shared position, so threads
/// may read at once and memory stays bounded by the buffers they bring.
#[derive(Debug)]
pub struct SourceFile {
    path: PathBuf,
    file: File,
    len: u64,
}

impl SourceFile {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be opened or is a directory.
    pub fn open(path: &Path) -> Result<Arc<Self>> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        let metadata = file.metadata().map_err(|e| Error::io(path, e))?;
        if !metadata.is_file() {
            return Err(Error::NotWeights {
                path: path.to_owned(),
                problem: "is not a regular file; name the weight file itself".to_owned(),
            });
        }
        Ok(Arc::new(Self {
            path: path.to_owned(),
            len: metadata.len(),
            file,
        }))
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Size in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the file has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Tells the system that a range will be read soon; without effect where it
    /// does not listen.
    pub(crate) fn expect(&self, offset: u64, len: u64) {
        let len = NonZeroU64::new(len);
        let _ = rustix::fs::fadvise(&self.file, offset, len, rustix::fs::Advice::WillNeed);
    }

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the file ends before.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(buffer, offset).map_err(|e| {
            if e.kind() == std::io::ErrorKind::UnexpectedEof {
                Error::damaged(
                    &self.path,
                    format!("ends before byte {}", offset + buffer.len() as u64),
                )
            } else {
                Error::io(&self.path, e)
            }
        })
    }

    /// The bytes of a range that must lie inside the file.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it does not.
    pub fn bytes(&self, offset: u64, len: u64) -> Result<Vec<u8>> {
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            let problem = format!(
                "bytes {offset}..{} are recorded but the file has {}",
                offset.saturating_add(len),
                self.len
            );
            return Err(Error::damaged(&self.path, problem));
        }
        let mut buffer = vec![0; len as usize];
        self.read_at(offset, &mut buffer)?;
        Ok(buffer)
    }
}

/// The formats that weights come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A zip archive with a pickle and raw storages, as `torch.save` writes.
    Torch,
    /// A JSON header and raw tensors.
    Safetensors,
}

/// Tells the format by content and says what a file is when it is no weight file.
///
/// # Errors
/// [`Error::NotWeights`] with the remedy.
pub fn recognise(file: &SourceFile) -> Result<Format> {
    let head = file.bytes(0, file.len().min(512))?;
    let not = |problem: &str| {
        Err(Error::NotWeights {
            path: file.path().to_owned(),
            problem: problem.to_owned(),
        })
    };
    if head.is_empty() {
        return not("is empty; download it again");
    }
    if head.starts_with(b"PK\x03\x04") {
        return Ok(Format::Torch);
    }
    if head.starts_with(b"version https://git-lfs") {
        return not("is a git-LFS pointer, not the weights; run `git lfs pull` in that clone");
    }
    let text = String::from_utf8_lossy(&head).trim_start().to_lowercase();
    if text.starts_with("<!doctype") || text.starts_with("<html") || text.starts_with("<?xml") {
        return not(
            "is a web page, most likely an error page saved under this name; download the file again",
        );
    }
    if head.starts_with(b"\x80\x02\x8a\x0a") || head.get(257..262) == Some(b"ustar") {
        return not(concat!(
            "is in the legacy format of PyTorch before 1.6; re-save it with: python -c \"import torch, sys; ",
            "p = sys.argv[1]; torch.save(torch.load(p, map_location='cpu', weights_only=True), p)\" FILE"
        ));
    }
    if head.len() > 8 && head[8] == b'{' {
        return Ok(Format::Safetensors);
    }
    if head[0] == 0x80 {
        return not(
            "is a bare pickle; only files written by `torch.save` (zip) and safetensors are read",
        );
    }
    if head.starts_with(b"PK") {
        return not("is an empty or split zip archive; download it again");
    }
    not("is neither a `torch.save` zip archive nor a safetensors file; download it again")
}
