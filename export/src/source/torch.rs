//! The tensors of a `torch.save` file, found without reading them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::file::SourceFile;
use super::pickle::Pickle;
use super::tensor::{Storage, Tensor};
use super::value::{PickleError, Value};
use super::zip::Archive;
use crate::{Error, Result};

/// A pickle of tensor names larger than this is not one of a checkpoint.
const MAX_PICKLE: u64 = 256 << 20;

/// The tensors of a file by key: of its `model` entry where it has one (a
/// training checkpoint), else of the file itself (a state dict). Whatever else
/// the file holds, the optimizer's state for one, is passed over. `skip` names
/// entries in which containers of configuration libraries are allowed.
///
/// # Errors
/// [`Error::Refused`] for a hostile pickle, [`Error::Damaged`] for a broken file.
pub(crate) fn read(file: &Arc<SourceFile>, skip: &[String]) -> Result<BTreeMap<String, Tensor>> {
    let path = file.path();
    let archive = Archive::open(file.clone())?;
    let prefix = prefix(&archive).ok_or_else(|| Error::NotWeights {
        path: path.to_owned(),
        problem: "is a zip archive without `data.pkl`, not one that `torch.save` wrote".to_owned(),
    })?;
    if let Some(order) = archive.content(&format!("{prefix}byteorder"), 16)?
        && order != b"little"
    {
        return Err(Error::NotWeights {
            path: path.to_owned(),
            problem: "was saved on a big-endian machine; re-save it on a little-endian one"
                .to_owned(),
        });
    }
    let bytes = archive
        .content(&format!("{prefix}data.pkl"), MAX_PICKLE)?
        .unwrap_or_default();
    let pickle = Pickle::read(&bytes, skip).map_err(|fault| match fault {
        PickleError::Refused(problem) => Error::Refused {
            path: path.to_owned(),
            problem,
        },
        PickleError::Malformed(problem) => Error::damaged(path, format!("its pickle {problem}")),
    })?;
    let root = pickle.root();
    let dict = match pickle
        .entry(root, "model")
        .or_else(|| pickle.entry(root, "state_dict"))
    {
        Some(model @ Value::Dict(_)) => model,
        _ => root,
    };
    let Value::Dict(entries) = dict else {
        return Err(Error::NotWeights {
            path: path.to_owned(),
            problem: "holds no dict of tensors; save the model's `state_dict()`".to_owned(),
        });
    };

    let mut storages: HashMap<&str, Arc<Storage>> = HashMap::new();
    let mut tensors = BTreeMap::new();
    for &(key, value) in entries {
        let (
            Value::Text(key),
            Value::Tensor {
                storage,
                offset,
                shape,
                strides,
            },
        ) = (pickle.value(key), pickle.value(value))
        else {
            continue;
        };
        let Value::Storage { name, element } = pickle.value(*storage) else {
            return Err(Error::damaged(
                path,
                format!("`{key}` is a tensor without a storage"),
            ));
        };
        let storage = match storages.get(name.as_str()) {
            Some(storage) => storage.clone(),
            None => {
                let entry = format!("{prefix}data/{name}");
                let found = archive.storage(&entry)?.ok_or_else(|| {
                    Error::damaged(path, format!("`{key}` lies in `{entry}`, which is missing"))
                })?;
                storages.entry(name).or_insert(Arc::new(found)).clone()
            }
        };
        let tensor = Tensor::new(
            key,
            *element,
            shape.clone(),
            strides.clone(),
            *offset,
            storage,
        )?;
        tensors.insert(key.clone(), tensor);
    }
    Ok(tensors)
}

/// The folder inside the archive, which is named after the file it was saved as.
fn prefix(archive: &Archive) -> Option<String> {
    let mut found: Vec<&str> = archive
        .names()
        .filter_map(|name| name.strip_suffix("data.pkl"))
        .collect();
    found.sort_unstable_by_key(|prefix| (prefix.len(), *prefix));
    found.first().map(|prefix| (*prefix).to_owned())
}
