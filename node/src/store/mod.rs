//! One transactional store for all that an end keeps on disk.
//!
//! The link keeps the messages that are under way and its counters; the program around it keeps
//! what it has decided. Both live in one SQLite database, so that "this pair is decided" and "the
//! link has its alert" are one transaction: after a power cut both are true or neither is.
//!
//! # Layout
//!
//! One table of records, `(collection, key) -> value`, each with the CRC-32C of the three. SQLite
//! detects torn writes (its write-ahead log is checksummed) but not a bit that flips later; the
//! CRC does, and lets [`Salvage`] tell good records from bad ones one by one.
//!
//! A mebibyte of free pages and a write-ahead log of the same length are made in advance, so that
//! on a full disk there is still room for what has to be written down.
//!
//! # Invariants
//!
//! - What [`Store::commit`] returned `Ok` for survives a power cut (write-ahead log, synchronised
//!   at each commit).
//! - A commit that failed changed nothing, and the next one may succeed: no failure is final.
//!   Repeating a commit that failed leaves the same as if it had succeeded at first.
//! - What was [deferred](Store::defer) is on disk with the next commit, in the same transaction,
//!   and after [`DEFER_LIMIT`] at the latest.
//! - One program at a time: the database is opened with an exclusive lock.

mod availability;
mod batch;
mod error;
mod faults;
mod import;
mod link_storage;
mod salvage;
mod table;
#[cfg(test)]
mod tests;
mod wal;

pub use batch::Batch;
pub use error::StoreError;
pub use faults::{Fault, Faults};
pub use import::{import_log, set_aside};
pub use link_storage::LinkStorage;
pub use salvage::Salvage;

use availability::Availability;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The longest time that a deferred change waits for a commit to go with.
pub const DEFER_LIMIT: Duration = Duration::from_secs(1);

/// A handle to the store; clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Mutex<Shared>>,
    path: Arc<Path>,
}

#[derive(Debug)]
struct Shared {
    path: Arc<Path>,
    connection: Connection,
    deferred: Batch,
    deferred_since: Option<Instant>,
    availability: Availability,
    faults: Faults,
}

/// What opening a store found.
#[derive(Debug, Default)]
pub struct OpenReport {
    /// The store did not exist before.
    pub created: bool,
    /// The store was damaged; what could be read was kept.
    pub salvage: Option<Salvage>,
}

impl Store {
    /// Opens the store at `path`, or creates one there. A damaged store is salvaged, and the link
    /// goes on under another name, with counters of its own.
    ///
    /// Of a damaged store, records of the collections in `forgettable` are kept only if they are
    /// certainly part of a complete transaction: those of which one too many does more harm than
    /// one too few.
    ///
    /// # Errors
    /// Another program has it open, or the file cannot be read or written.
    pub fn open(path: &Path, forgettable: &[&str]) -> Result<(Self, OpenReport), StoreError> {
        let created = !path.exists();
        let tail = wal::tail(path);
        if tail != wal::Tail::Damaged {
            match Self::open_sound(path) {
                Ok(store) => {
                    if tail == wal::Tail::Incomplete {
                        store.mark_salvaged()?;
                    }
                    return Ok((
                        store,
                        OpenReport {
                            created,
                            salvage: None,
                        },
                    ));
                }
                Err(error) if error.is_damage() => {
                    log::error!("{error}; keeping what can be read");
                }
                Err(error) => return Err(error),
            }
        } else {
            log::error!(
                "{}: its write-ahead log is damaged; keeping what can be read",
                path.display()
            );
        }
        let salvage = salvage::salvage(path, forgettable)?;
        let store = Self::open_sound(path)?;
        store.mark_salvaged()?;
        Ok((
            store,
            OpenReport {
                created: false,
                salvage: Some(salvage),
            },
        ))
    }

    fn mark_salvaged(&self) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        LinkStorage::put_salvaged(&mut batch);
        self.commit(&batch)
    }

    /// Reads every record of a store, without changing anything.
    ///
    /// # Errors
    /// It is damaged, another program has it open, or it cannot be read or written.
    pub fn check(path: &Path) -> Result<(), StoreError> {
        if wal::tail(path) == wal::Tail::Damaged {
            let detail = "its write-ahead log".to_owned();
            let path = path.to_owned();
            return Err(StoreError::Damaged { path, detail });
        }
        Self::open_sound(path).map(drop)
    }

    /// Opens a store and fails where any of it is damaged.
    fn open_sound(path: &Path) -> Result<Self, StoreError> {
        let at = |source| StoreError::at(path, source);
        let connection = table::connect(path).map_err(at)?;
        let sound: String = connection
            .query_row("pragma quick_check(1)", [], |row| row.get(0))
            .map_err(at)?;
        let damaged = match sound.as_str() {
            "ok" => table::first_damaged(&connection).map_err(at)?,
            _ => Some(sound),
        };
        if let Some(detail) = damaged {
            let path = path.to_owned();
            return Err(StoreError::Damaged { path, detail });
        }
        if let Err(error) = table::reserve(&connection) {
            let path = path.display();
            log::warn!("{path}: no room is kept free for a full disk: {error}");
        }
        let path: Arc<Path> = path.into();
        Ok(Self {
            shared: Arc::new(Mutex::new(Shared {
                path: Arc::clone(&path),
                connection,
                deferred: Batch::default(),
                deferred_since: None,
                availability: Availability::default(),
                faults: Faults::default(),
            })),
            path,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The value of a record. Deferred changes are not seen.
    ///
    /// # Errors
    /// The disk failed.
    pub fn get(&self, collection: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let shared = self.lock();
        shared
            .connection
            .prepare_cached("select value from record where collection = ? and key = ?")
            .and_then(|mut statement| {
                statement
                    .query_row(params![collection, key], |row| row.get(0))
                    .optional()
            })
            .map_err(|error| StoreError::at(&self.path, error))
    }

    /// Calls `each` with the key and value of every record of a collection, in the order of their
    /// keys. Deferred changes are not seen.
    ///
    /// # Errors
    /// The disk failed.
    pub fn for_each(
        &self,
        collection: &str,
        mut each: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), StoreError> {
        let shared = self.lock();
        let mut read = || {
            let mut statement = shared.connection.prepare_cached(
                "select key, value from record where collection = ? order by key",
            )?;
            let mut rows = statement.query([collection])?;
            while let Some(row) = rows.next()? {
                each(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
            }
            Ok(())
        };
        read().map_err(|error| StoreError::at(&self.path, error))
    }

    /// Makes all of these changes, and the deferred ones, in one transaction.
    ///
    /// # Errors
    /// The disk failed or is full, or did so a moment ago and is not tried again yet: nothing
    /// changed.
    pub fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.lock().commit(batch)
    }

    /// Has the changes made with the next commit: a power cut before that undoes them, the latest
    /// first.
    pub fn defer(&self, batch: Batch) {
        let mut shared = self.lock();
        shared.deferred.append(batch);
        shared.deferred_since.get_or_insert_with(Instant::now);
    }

    /// Commits what was deferred, once it has waited for [`DEFER_LIMIT`]. A failure is not told
    /// here: the changes wait on, and [`is_failing`](Self::is_failing) says so.
    pub fn flush_due(&self) {
        let mut shared = self.lock();
        if shared
            .flush_at()
            .is_some_and(|flush_at| flush_at <= Instant::now())
        {
            let _ = shared.commit(&Batch::default());
        }
    }

    /// When [`flush_due`](Self::flush_due) has something to do.
    #[must_use]
    pub fn flush_at(&self) -> Option<Instant> {
        self.lock().flush_at()
    }

    /// Whether the latest attempt to write failed.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.lock().availability.is_failing()
    }

    /// When a commit is worth another attempt; `None` when the store is not failing.
    #[must_use]
    pub fn retry_at(&self) -> Option<Instant> {
        self.lock().availability.retry_at()
    }

    /// The link's part of the store.
    ///
    /// # Errors
    /// The disk failed.
    pub fn link_storage(&self) -> Result<LinkStorage, StoreError> {
        LinkStorage::read(self)
    }

    /// Has writes fail from now on, for tests of what lies above.
    pub fn inject(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// Has SQLite report a full disk wherever the database would have to grow.
    #[cfg(test)]
    fn freeze_size(&self) {
        let shared = self.lock();
        let pages: u32 = shared
            .connection
            .query_row("pragma page_count", [], |row| row.get(0))
            .unwrap();
        shared
            .connection
            .pragma_update(None, "max_page_count", pages)
            .unwrap();
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // The connection is sound whatever a panicking holder did: a transaction is atomic.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn flush_at(&self) -> Option<Instant> {
        let due = self.deferred_since? + DEFER_LIMIT;
        Some(self.availability.retry_at().map_or(due, |at| at.max(due)))
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        if self.deferred.is_empty() && batch.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        if !self.availability.may_try(now) {
            return Err(StoreError::Unavailable {
                path: self.path.to_path_buf(),
            });
        }
        match self.write(batch) {
            Ok(()) => {
                self.deferred = Batch::default();
                self.deferred_since = None;
                self.availability.succeeded(&self.path, now);
                Ok(())
            }
            Err(source) => {
                let error = StoreError::at(&self.path, source);
                self.availability.failed(&error, now);
                Err(error)
            }
        }
    }

    fn write(&mut self, batch: &Batch) -> rusqlite::Result<()> {
        self.faults.check()?;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (collection, key, value) in self.deferred.changes().chain(batch.changes()) {
            self.faults.check()?;
            match value {
                Some(value) => table::put(&transaction, collection, key, value)?,
                None => table::remove(&transaction, collection, key)?,
            }
        }
        self.faults.check()?;
        transaction.commit()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // What was deferred may be forgotten; it only saves work after the next start.
        let _ = self.commit(&Batch::default());
    }
}
