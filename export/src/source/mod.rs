//! Reading what is published: weight files of every layout, layered into one model.

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
    match recognise(file)? {
        Format::Torch => torch::read(file),
        Format::Safetensors => safetensors::read(file),
    }
}
