//! Takes over what earlier versions kept in files of their own.

use super::{LinkStorage, Store, StoreError, salvage::with_suffix};
use deltavlm_link::storage::{
    FileDisk, FileStorage, Register, Storage,
    log::{LogError, LogStorage},
};
use std::{fs, path::Path};

/// Takes over the link's log of an earlier version, once: everything in it is written to the store
/// in one transaction, and the log is renamed to `*.imported`. Of a damaged log what can be read is
/// taken. Its counters are not gone on with: earlier versions gave them another meaning. Returns the
/// number of messages.
///
/// # Errors
/// The log cannot be read, another program uses it, or the store failed: neither is changed.
pub fn import_log(path: &Path, store: &Store) -> Result<usize, StoreError> {
    if !path.exists() {
        return Ok(0);
    }
    let earlier = |source| StoreError::EarlierLog {
        path: path.to_owned(),
        source,
    };
    let mut log = match FileStorage::at(path) {
        Ok(log) => log,
        Err(error @ (LogError::Damaged { .. } | LogError::NotALog)) => {
            log::error!("{}: {error}; keeping what can be read", path.display());
            let disk = FileDisk::open(path).map_err(LogError::Disk);
            disk.and_then(LogStorage::open_damaged).map_err(earlier)?
        }
        Err(source) => return Err(earlier(source)),
    };
    let mut entries = Vec::new();
    // Neither call fails on a log that is open: both read memory.
    let _ = log.recover(&mut |key, length| entries.push((key, vec![0; length])));
    for (key, bytes) in &mut entries {
        let _ = log.read(*key, 0, bytes);
    }
    let numbers = 0..Register::COUNT as u8;
    let registers = numbers
        .filter_map(Register::from_number)
        .filter_map(|register| Some((register, log.get(register).ok().flatten()?)));
    let mut batch = LinkStorage::import(&entries, registers);
    LinkStorage::put_salvaged(&mut batch);
    store.commit(&batch)?;
    drop(log);
    set_aside(path)?;
    Ok(entries.len())
}

/// Renames a file that was taken over.
///
/// # Errors
/// The file cannot be renamed.
pub fn set_aside(path: &Path) -> Result<(), StoreError> {
    fs::rename(path, with_suffix(path, ".imported")).map_err(|source| StoreError::File {
        path: path.to_owned(),
        source,
    })
}
