//! Keeps what can be read of a damaged store, record by record.
//!
//! The damaged file is set aside under another name, never deleted. Its records are read in two
//! ways: by SQLite, from both ends of the table towards the damage; and, where SQLite cannot get
//! past a damaged page, by looking for records in the raw bytes. Each is kept only if its checksum
//! holds.
//!
//! The raw bytes may also hold records that were removed or replaced, or that belong to a
//! transaction which was never complete. For most that is the safe side: a message that is sent
//! again is recognised by its receiver, one that is lost is lost. Of several values of one register
//! the highest is kept, because registers count upwards. Where it is not, as for "this pair is
//! decided" without the message that came of it, a record that the write-ahead log alone has is
//! left out.

use super::{
    StoreError,
    link_storage::REGISTERS,
    table::{Record, connect, put},
};
use rusqlite::{Connection, config::DbConfig};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

/// What was saved from a damaged store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Salvage {
    /// Records that were kept.
    pub kept: usize,
    /// Where the damaged file is now.
    pub quarantine: PathBuf,
}

type Records = BTreeMap<(String, Vec<u8>), Vec<u8>>;

/// Replaces the damaged store at `path` by a new one with all that can be read of it.
pub(super) fn salvage(path: &Path, forgettable: &[&str]) -> Result<Salvage, StoreError> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| StoreError::File { path, source }
    };
    let quarantine = free_name(path);
    let successor = with_suffix(path, "-salvaged");
    copy_store(path, &quarantine).map_err(file(&quarantine))?;

    let mut records = Records::new();
    read_with_sqlite(&quarantine, &mut records);
    let log = with_suffix(&quarantine, "-wal");
    for (raw, is_log) in [(&quarantine, false), (&log, true)] {
        for record in fs::read(raw).iter().flat_map(|bytes| raw_records(bytes)) {
            let known = (record.collection.clone(), record.key.clone());
            let counts = is_counter(&record.collection);
            let is_wanted = !is_log || !forgettable.contains(&record.collection.as_str());
            if counts || is_wanted && !records.contains_key(&known) {
                keep(record, &mut records);
            }
        }
    }

    remove_if_there(&successor).map_err(file(&successor))?;
    let written = write_store(&successor, &records);
    written.map_err(|source| StoreError::at(&successor, source))?;
    // The old write-ahead log must not be applied to the new file.
    remove_if_there(&with_suffix(path, "-wal")).map_err(file(path))?;
    fs::rename(&successor, path).map_err(file(path))?;
    sync_directory(path).map_err(file(path))?;
    Ok(Salvage {
        kept: records.len(),
        quarantine,
    })
}

/// Reads the table forwards until it fails, then backwards until it fails.
fn read_with_sqlite(path: &Path, records: &mut Records) {
    for order in ["asc", "desc"] {
        let Ok(connection) = Connection::open(path) else {
            return;
        };
        // Closing it must not throw the damaged log away.
        let keep_log = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        if connection.set_db_config(keep_log, true).is_err() {
            return;
        }
        let query = format!(
            "select collection, key, value, crc from record order by collection {order}, key {order}"
        );
        let Ok(mut statement) = connection.prepare(&query) else {
            return;
        };
        let Ok(mut rows) = statement.query([]) else {
            return;
        };
        while let Ok(Some(row)) = rows.next() {
            if let Ok(record) = Record::read(row) {
                keep(record, records);
            }
        }
    }
}

/// Every record whose checksum holds, in the SQLite record format of a row of ours, at any offset.
fn raw_records(bytes: &[u8]) -> impl Iterator<Item = Record> {
    (0..bytes.len()).filter_map(|at| {
        // A header of five one- or two-byte numbers: its own length and four types.
        (5..=9)
            .contains(&bytes[at])
            .then(|| raw_record(&bytes[at..]))?
            .filter(Record::is_sound)
    })
}

fn is_counter(collection: &str) -> bool {
    collection == REGISTERS
}

fn keep(record: Record, records: &mut Records) {
    if !record.is_sound() {
        return;
    }
    let counts = is_counter(&record.collection);
    let kept = records.entry((record.collection, record.key)).or_default();
    // Registers are little-endian numbers: compared from their last byte on.
    if !counts || record.value.iter().rev().ge(kept.iter().rev()) {
        *kept = record.value;
    }
}

/// Reads a record in SQLite's format (file format, section 2.1) with the four columns of the table.
fn raw_record(bytes: &[u8]) -> Option<Record> {
    let mut header = bytes;
    let header_length = varint(&mut header)?;
    let types: Vec<u64> = (0..4).map(|_| varint(&mut header)).collect::<Option<_>>()?;
    if bytes.len() - header.len() != usize::try_from(header_length).ok()? {
        return None;
    }
    let mut body = header;
    let mut take = |count: u64| {
        let (front, rest) = body.split_at_checked(usize::try_from(count).ok()?)?;
        body = rest;
        Some(front)
    };
    let blob = |kind: u64| (kind >= 12 && kind.is_multiple_of(2)).then(|| (kind - 12) / 2);
    let text = |kind: u64| (kind >= 13 && kind % 2 == 1).then(|| (kind - 13) / 2);
    let collection = take(text(types[0])?)?;
    let key = take(blob(types[1])?)?;
    let value = take(blob(types[2])?)?;
    let crc = match types[3] {
        8 => 0,
        9 => 1,
        kind @ 1..=6 => {
            let width = [1, 2, 3, 4, 6, 8][usize::try_from(kind).ok()? - 1];
            take(width)?
                .iter()
                .fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte))
        }
        _ => return None,
    };
    Some(Record {
        collection: str::from_utf8(collection).ok()?.to_owned(),
        key: key.to_vec(),
        value: value.to_vec(),
        // Small numbers are stored in fewer bytes and sign-extended; a CRC never is negative.
        crc: u32::try_from(crc).ok()?,
    })
}

/// SQLite's variable-length integer, of at most three bytes: no length here is longer.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for _ in 0..3 {
        let (&first, rest) = bytes.split_first()?;
        *bytes = rest;
        value = value << 7 | u64::from(first & 0x7F);
        if first < 0x80 {
            return Some(value);
        }
    }
    None
}

fn write_store(path: &Path, records: &Records) -> rusqlite::Result<()> {
    let mut connection = connect(path)?;
    let transaction = connection.transaction()?;
    for ((collection, key), value) in records {
        put(&transaction, collection, key, value)?;
    }
    transaction.commit()?;
    // Everything into the one file that is renamed.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    connection.pragma_update(None, "journal_mode", "delete")
}

/// `store.damaged-1`, or the first number that is free.
fn free_name(path: &Path) -> PathBuf {
    (1_u32..)
        .map(|number| with_suffix(path, &format!(".damaged-{number}")))
        .find(|name| !name.exists())
        .unwrap_or_else(|| with_suffix(path, ".damaged"))
}

fn copy_store(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    let wal = with_suffix(from, "-wal");
    if wal.exists() {
        fs::copy(&wal, with_suffix(to, "-wal"))?;
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
