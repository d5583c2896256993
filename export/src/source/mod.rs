//! Reading what is published: weight files of every layout, layered into one model.

mod discover;
mod file;
mod opcode;
mod overlay;
mod pickle;
mod pickle_vm;
mod safetensors;
mod scan;
mod tensor;
mod torch;
mod value;
mod zip;

pub use discover::{Given, discover};
pub use file::{Format, SourceFile, recognise};
pub use overlay::{CheckpointOverlay, SourcePaths};
pub(crate) use scan::Scan;
pub use tensor::{Element, Storage, Tensor};

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Result;

/// The tensors of a weight file by key, whatever its format.
///
/// # Errors
/// When the file is no weight file, damaged, or hostile.
pub fn read(file: &Arc<SourceFile>) -> Result<BTreeMap<String, Tensor>> {
    read_with(file, &[])
}

/// As [`read`]; inside the named entries of a checkpoint, which nothing reads,
/// containers of configuration libraries are passed over instead of refused.
///
/// # Errors
/// As [`read`].
pub fn read_with(file: &Arc<SourceFile>, skip: &[String]) -> Result<BTreeMap<String, Tensor>> {
    match recognise(file)? {
        Format::Torch => torch::read(file, skip),
        Format::Safetensors => safetensors::read(file),
    }
}
