//! The record: every alert, fault and answer that came, on disk before it is shown.
//!
//! Each message is written to the store; only then is it shown, and only then is the link told that
//! it is dealt with. The record is also what tells a message that comes twice: the link delivers
//! once, but a board that has salvaged a damaged store sends again what it is not sure of.

use crate::queries::PendingQuery;
use deltavlm_messages::{Message, QueryId};
use deltavlm_node::{
    crc_log::{self, EncodedMessage},
    store::{Batch, Store, StoreError, set_aside},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{HashSet, VecDeque},
    path::Path,
};

const COLLECTION: &str = "record";
/// Answered queries that are remembered: their ids come round again after 65536.
const MAX_ANSWERED_IDS: usize = 4096;

/// The record, open for appending.
#[derive(Debug)]
pub struct Record {
    store: Store,
    next_number: u64,
    seen: HashSet<MessageKey>,
    answered: VecDeque<QueryId>,
    entries: Vec<RecordEntry>,
}

/// A message of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordEntry {
    /// When it came, in seconds since 1970 by the ground's clock.
    pub received: u64,
    /// What it says.
    pub message: Message,
    /// What it answers, as far as this station asked.
    pub pending: Option<PendingQuery>,
}

/// What makes two messages the same thing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum MessageKey {
    Alert {
        tile: u32,
        time: u32,
        pair: u16,
    },
    Fault {
        tile: u32,
        time: u32,
        reason: u8,
        detail: String,
    },
}

#[derive(Serialize, Deserialize)]
struct RecordLine {
    received: u64,
    #[serde(flatten)]
    message: EncodedMessage,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked: Option<PendingQuery>,
}

impl Record {
    /// Reads the record from the store. The record of an earlier version in the directory is taken
    /// over, once.
    ///
    /// # Errors
    /// The store cannot be read, or not be written where there is something to take over.
    pub fn open(store: &Store, dir: &Path) -> Result<Self, StoreError> {
        take_over(&dir.join("record"), store)?;
        let mut record = Self {
            store: store.clone(),
            next_number: 0,
            seen: HashSet::new(),
            answered: VecDeque::new(),
            entries: Vec::new(),
        };
        store.for_each(COLLECTION, |key, value| {
            record.next_number = key.try_into().map_or(0, u64::from_be_bytes) + 1;
            let line = serde_json::from_slice::<RecordLine>(value).ok();
            // A message of a later version stays in the store for it.
            if let Some(line) = line
                && let Some(message) = line.message.message()
            {
                record.index(RecordEntry {
                    received: line.received,
                    message,
                    pending: line.asked,
                });
            }
        })?;
        Ok(record)
    }

    /// Puts a message on disk, with the query that it answers. False, and nothing happens, when it
    /// is there already.
    ///
    /// # Errors
    /// The disk failed or is full: the message is not in the record.
    pub fn add(
        &mut self,
        received: u64,
        message: &Message,
        pending: Option<&PendingQuery>,
    ) -> Result<bool, StoreError> {
        if self.holds(message) {
            return Ok(false);
        }
        let entry = RecordEntry {
            received,
            message: message.clone(),
            pending: pending.cloned(),
        };
        let line = RecordLine {
            received,
            message: EncodedMessage::new(message),
            asked: entry.pending.clone(),
        };
        let mut batch = Batch::default();
        line.put(self.next_number, &mut batch);
        self.store.commit(&batch)?;
        self.next_number += 1;
        self.index(entry);
        Ok(true)
    }

    /// The latest entry that says the same as `message`.
    #[must_use]
    pub fn find(&self, message: &Message) -> Option<&RecordEntry> {
        let query = answered_query(message);
        let key = message_key(message);
        self.entries.iter().rev().find(|entry| match query {
            Some(_) => answered_query(&entry.message) == query,
            None => key.is_some() && message_key(&entry.message) == key,
        })
    }

    /// The query that the latest answer or refusal is about.
    #[must_use]
    pub fn last_query(&self) -> Option<QueryId> {
        self.answered.back().copied()
    }

    /// Everything in the record, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[RecordEntry] {
        &self.entries
    }

    fn holds(&self, message: &Message) -> bool {
        match answered_query(message) {
            Some(query) => self.answered.contains(&query),
            None => message_key(message).is_some_and(|key| self.seen.contains(&key)),
        }
    }

    /// Makes room for another answer to a query id that is used again.
    pub fn reopen(&mut self, query: QueryId) {
        self.answered.retain(|&answered| answered != query);
    }

    fn index(&mut self, entry: RecordEntry) {
        self.seen.extend(message_key(&entry.message));
        if let Some(query) = answered_query(&entry.message) {
            self.answered.push_back(query);
            if self.answered.len() > MAX_ANSWERED_IDS {
                self.answered.pop_front();
            }
        }
        self.entries.push(entry);
    }
}

impl RecordLine {
    fn put(&self, number: u64, batch: &mut Batch) {
        let value = serde_json::to_vec(self).unwrap_or_default();
        batch.put(COLLECTION, &number.to_be_bytes(), &value);
    }
}

/// Writes the lines of the file to the store in one transaction, and renames it to `*.imported`.
/// A damaged line is left out; there is one at most, the last, unless somebody edited the file.
fn take_over(path: &Path, store: &Store) -> Result<(), StoreError> {
    if !path.exists() {
        return Ok(());
    }
    let lines = crc_log::read_lines::<RecordLine>(path).map_err(|source| StoreError::File {
        path: path.to_owned(),
        source,
    })?;
    let mut batch = Batch::default();
    for (number, line) in lines.into_iter().flatten().enumerate() {
        line.put(number as u64, &mut batch);
    }
    store.commit(&batch)?;
    set_aside(path)
}

/// The query that a message ends.
pub(crate) fn answered_query(message: &Message) -> Option<QueryId> {
    match message {
        Message::Answer(answer) => Some(answer.query),
        Message::Refusal(refusal) => Some(refusal.query),
        _ => None,
    }
}

fn message_key(message: &Message) -> Option<MessageKey> {
    match message {
        Message::Alert(alert) => Some(MessageKey::Alert {
            tile: alert.tile,
            time: alert.time,
            pair: alert.pair,
        }),
        Message::PairFault(fault) => Some(MessageKey::Fault {
            tile: fault.tile,
            time: fault.time,
            reason: fault.reason as u8,
            detail: fault.detail.as_str().to_owned(),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deltavlm_messages::{Alert, CellSet, Confidence, Refusal, RefusalReason};

    fn alert(tile: u32, pair: u16) -> Message {
        Message::Alert(Alert {
            tile,
            time: 1_700_000_000,
            confidence: Confidence::from_fraction(0.9),
            roads: 1,
            buildings: 2,
            roads_grid: CellSet::from_bits(0b1),
            buildings_grid: CellSet::from_bits(0b110),
            pair,
        })
    }

    fn open(dir: &Path) -> Record {
        let (store, _) = Store::open(&dir.join("store"), &[]).unwrap();
        Record::open(&store, dir).unwrap()
    }

    #[test]
    fn an_alert_is_taken_once_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = open(dir.path());
        assert!(record.add(1, &alert(1, 7), None).unwrap());
        assert!(!record.add(2, &alert(1, 7), None).unwrap());
        assert!(
            record.add(3, &alert(1, 8), None).unwrap(),
            "another pair of the same tile"
        );
        drop(record);
        let mut record = open(dir.path());
        assert!(!record.add(4, &alert(1, 8), None).unwrap());
        assert!(record.add(5, &alert(2, 1), None).unwrap());
        drop(record);
        let record = open(dir.path());
        let entries = record.entries().iter();
        let received: Vec<u64> = entries.map(|entry| entry.received).collect();
        assert_eq!(received, [1, 3, 5]);
        assert_eq!(record.entries()[0].message, alert(1, 7));
    }

    #[test]
    fn a_query_is_answered_once_until_its_id_is_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = open(dir.path());
        let refusal = Message::Refusal(Refusal {
            query: 5,
            reason: RefusalReason::Busy,
        });
        assert!(record.add(1, &refusal, None).unwrap());
        assert!(!record.add(2, &refusal, None).unwrap());
        record.reopen(5);
        assert!(record.add(3, &refusal, None).unwrap());
    }

    /// An earlier version wrote lines to a file; the last may be broken by a power cut.
    #[test]
    fn the_record_of_an_earlier_version_is_taken_over_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        let mut lines = Vec::new();
        for number in 1..=3 {
            let line = RecordLine {
                received: number,
                message: EncodedMessage::new(&alert(number as u32, 1)),
                asked: None,
            };
            lines.extend(crc_log::encode_line(&line).unwrap());
        }
        std::fs::write(&path, &lines[..lines.len() - 9]).unwrap();
        for _ in 0..2 {
            let record = open(dir.path());
            let entries = record.entries().iter();
            let received: Vec<u64> = entries.map(|entry| entry.received).collect();
            assert_eq!(received, [1, 2]);
            assert!(!path.exists());
        }
    }
}
