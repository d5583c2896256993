//! The one table of the store: how it is opened, and how a record is read and written.

use deltavlm_link::crc::crc32c;
use rusqlite::{Connection, config::DbConfig, params};
use std::{path::Path, time::Duration};

/// Pages of 4 KiB after which the write-ahead log is copied back: bounds its length to about 1 MiB.
const CHECKPOINT_PAGES: u32 = 256;
/// Pages that are made in advance, in the database and in its write-ahead log: a little more than
/// the log needs between two times that it is copied back.
const RESERVED_PAGES: u32 = CHECKPOINT_PAGES + 64;
/// Fewer free pages than this are filled up again when the store is opened.
const MIN_RESERVED_PAGES: u32 = CHECKPOINT_PAGES / 2;
const PAGE_BYTES: u32 = 4096;
const RESERVE: &str = "reserve";

const SCHEMA: &str = "
    create table if not exists record (
        collection text not null,
        key blob not null,
        value blob not null,
        crc integer not null,
        primary key (collection, key)
    ) strict, without rowid;
    pragma user_version = 1;
";

/// One row of the table.
pub(super) struct Record {
    pub(super) collection: String,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    pub(super) crc: u32,
}

impl Record {
    pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            collection: row.get(0)?,
            key: row.get(1)?,
            value: row.get(2)?,
            crc: row.get(3)?,
        })
    }

    pub(super) fn is_sound(&self) -> bool {
        checksum(&self.collection, &self.key, &self.value) == self.crc
    }
}

fn checksum(collection: &str, key: &[u8], value: &[u8]) -> u32 {
    crc32c(&[collection.as_bytes(), &[0], key, &[0], value].concat())
}

pub(super) fn put(
    connection: &Connection,
    collection: &str,
    key: &[u8],
    value: &[u8],
) -> rusqlite::Result<()> {
    let crc = checksum(collection, key, value);
    connection
        .prepare_cached("insert or replace into record values (?, ?, ?, ?)")?
        .execute(params![collection, key, value, crc])
        .map(drop)
}

pub(super) fn remove(
    connection: &Connection,
    collection: &str,
    key: &[u8],
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("delete from record where collection = ? and key = ?")?
        .execute(params![collection, key])
        .map(drop)
}

/// What is wrong with the first record that fails its checksum.
pub(super) fn first_damaged(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare("select collection, key, value, crc from record")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let record = Record::read(row)?;
        if !record.is_sound() {
            let collection = record.collection;
            return Ok(Some(format!(
                "a record of `{collection}` fails its checksum"
            )));
        }
    }
    Ok(None)
}

/// Opens the database and brings it to the present schema.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::ZERO)?;
    // The write-ahead log is kept when the program ends: on a full disk it could not be made again.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    // Exclusive first: the write-ahead log then needs no shared memory.
    connection.pragma_update(None, "locking_mode", "exclusive")?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

/// Has free pages in the database, and a write-ahead log that is long enough, before they are
/// needed on a disk that is full.
pub(super) fn reserve(connection: &Connection) -> rusqlite::Result<()> {
    let free: u32 = connection.query_row("pragma freelist_count", [], |row| row.get(0))?;
    if free >= MIN_RESERVED_PAGES {
        return Ok(());
    }
    let filler = vec![0; (RESERVED_PAGES * PAGE_BYTES) as usize];
    put(connection, RESERVE, &[], &filler)?;
    remove(connection, RESERVE, &[])
}
