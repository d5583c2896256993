//! The safetensors format: a JSON header, then raw tensors.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::file::SourceFile;
use super::tensor::{Element, Storage, Tensor};
use crate::{Error, Result};

/// The format's own limit for a header.
const MAX_HEADER: u64 = 100 << 20;

#[derive(Deserialize)]
struct Header {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

/// The tensors of a file by key.
///
/// # Errors
/// [`Error::Damaged`] when the header contradicts itself or the file.
pub(crate) fn read(file: &Arc<SourceFile>) -> Result<BTreeMap<String, Tensor>> {
    let damaged = |problem: String| Error::damaged(file.path(), problem);
    let raw = file.bytes(0, 8)?;
    let len = u64::from_le_bytes(raw.try_into().expect("eight bytes"));
    if len > MAX_HEADER {
        return Err(damaged(format!("its header is said to be {len} bytes")));
    }
    let header = file.bytes(8, len)?;
    let entries: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&header)
        .map_err(|e| damaged(format!("its header is not JSON: {e}")))?;
    let start = 8 + len;
    let mut tensors = BTreeMap::new();
    for (key, entry) in entries {
        if key == "__metadata__" {
            continue;
        }
        let entry: Header = serde_json::from_value(entry)
            .map_err(|e| damaged(format!("`{key}` in its header: {e}")))?;
        let element = match entry.dtype.as_str() {
            "F64" => Element::F64,
            "F32" => Element::F32,
            "F16" => Element::F16,
            "BF16" => Element::Bf16,
            "I64" | "U64" => Element::Other(8),
            "I32" | "U32" => Element::Other(4),
            "I16" | "U16" => Element::Other(2),
            "I8" | "U8" | "BOOL" => Element::Other(1),
            other => {
                return Err(damaged(format!(
                    "`{key}` has the type {other}, which weights never have"
                )));
            }
        };
        let [from, to] = entry.data_offsets;
        let end = start.checked_add(to);
        if from > to || end.is_none_or(|end| end > file.len()) {
            return Err(damaged(format!(
                "`{key}` is recorded at bytes {from}..{to} of {}",
                file.len() - start
            )));
        }
        let size = entry
            .shape
            .iter()
            .try_fold(1u64, |n, &d| n.checked_mul(d as u64));
        if size.and_then(|n| n.checked_mul(element.size() as u64)) != Some(to - from) {
            return Err(damaged(format!(
                "`{key}` of shape {:?} takes {} bytes",
                entry.shape,
                to - from
            )));
        }
        let strides = row_major(&entry.shape);
        let storage = Arc::new(Storage::new(file.clone(), start + from, to - from, None));
        let tensor = Tensor::new(&key, element, entry.shape, strides, 0, storage)?;
        tensors.insert(key, tensor);
    }
    Ok(tensors)
}

/// Strides of a dense tensor.
fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}
