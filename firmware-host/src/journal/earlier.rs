//! The journal that earlier versions kept in a file of its own.
//!
//! One line for each event, `CRC JSON`: a pair was decided, with the message for the ground; the
//! link has that message. A line that a power cut broke fails its CRC and counts as not written.

use super::{DECIDED, DecidedRecord, PENDING};
use crate::pair_files::PairVersion;
use deltavlm_node::{
    crc_log::{self, EncodedMessage},
    store::{Batch, Store, StoreError, set_aside},
};
use serde::Deserialize;
use std::{collections::HashMap, path::Path};

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Decided {
        name: String,
        #[serde(rename = "stamp")]
        version: PairVersion,
        message: Option<EncodedMessage>,
    },
    HandedOver {
        name: String,
    },
}

/// Writes what the file says to the store in one transaction, and renames it to `*.imported`.
pub(super) fn take_over(path: &Path, store: &Store) -> Result<(), StoreError> {
    if !path.exists() {
        return Ok(());
    }
    let lines = crc_log::read_lines(path).map_err(|source| StoreError::File {
        path: path.to_owned(),
        source,
    })?;
    let mut decided = HashMap::new();
    let mut pending: Vec<(String, EncodedMessage)> = Vec::new();
    let mut damaged = 0;
    for line in lines {
        match line {
            None => damaged += 1,
            Some(Line::Decided {
                name,
                version,
                message,
            }) => {
                pending.extend(message.map(|message| (name.clone(), message)));
                decided.insert(name, version);
            }
            // Messages are handed over in order, so it is the oldest of that name.
            Some(Line::HandedOver { name }) => {
                if let Some(place) = pending.iter().position(|(of, _)| *of == name) {
                    pending.remove(place);
                }
            }
        }
    }
    if damaged > 0 {
        log::warn!("{}: {damaged} damaged lines were left out", path.display());
    }
    let mut batch = Batch::default();
    for (number, (name, version)) in decided.into_iter().enumerate() {
        let number = number as u64;
        let value = serde_json::to_vec(&DecidedRecord { number, version }).unwrap_or_default();
        batch.put(DECIDED, name.as_bytes(), &value);
    }
    for (number, (_, message)) in pending.iter().enumerate() {
        let value = serde_json::to_vec(message).unwrap_or_default();
        batch.put(PENDING, &(number as u64).to_be_bytes(), &value);
    }
    store.commit(&batch)?;
    set_aside(path)
}
