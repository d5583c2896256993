//! The record: every alert, fault and answer that came, on disk before it is shown.
//!
//! One line for each message, `CRC JSON`, appended and synchronised; only then is it shown,
//! and only then is the link told that it is dealt with. The record is also what tells
//! a message that comes twice: the link delivers once, but a board that lost power between
//! deciding on an alert and noting that the link has it sends the same alert again.

use crate::queries::PendingQuery;
use deltavlm_messages::{Message, QueryId};
use deltavlm_node::crc_log::{self, CrcLog, EncodedMessage};
use serde::{Deserialize, Serialize};
use std::{
    collections::{HashSet, VecDeque},
    io,
    path::Path,
};

/// Answered queries that are remembered: their ids come round again after 65536.
const MAX_ANSWERED_IDS: usize = 4096;

/// The record, open for appending.
#[derive(Debug)]
pub struct Record {
    log: CrcLog,
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
    /// Opens the record at `path`, or starts one. Damaged lines are left out; there is one at
    /// most, the last, unless somebody edited the file.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(path: &Path) -> io::Result<Self> {
        let log = CrcLog::open(path)?;
        let mut record = Self {
            log,
            seen: HashSet::new(),
            answered: VecDeque::new(),
            entries: Vec::new(),
        };
        for line in crc_log::read_lines::<RecordLine>(path)?
            .into_iter()
            .flatten()
        {
            // A message of a later version stays in the file for it.
            if let Some(message) = line.message.message() {
                record.index(RecordEntry {
                    received: line.received,
                    message,
                    pending: line.asked,
                });
            }
        }
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
    ) -> io::Result<bool> {
        if self.holds(message) {
            return Ok(false);
        }
        let entry = RecordEntry {
            received,
            message: message.clone(),
            pending: pending.cloned(),
        };
        self.log.append(&RecordLine {
            received,
            message: EncodedMessage::new(message),
            asked: entry.pending.clone(),
        })?;
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

    #[test]
    fn an_alert_is_taken_once_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        let mut record = Record::open(&path).unwrap();
        assert!(record.add(1, &alert(1, 7), None).unwrap());
        assert!(!record.add(2, &alert(1, 7), None).unwrap());
        assert!(
            record.add(3, &alert(1, 8), None).unwrap(),
            "another pair of the same tile"
        );
        let mut record = Record::open(&path).unwrap();
        assert!(!record.add(4, &alert(1, 8), None).unwrap());
        let received: Vec<u64> = record
            .entries()
            .iter()
            .map(|entry| entry.received)
            .collect();
        assert_eq!(received, [1, 3]);
        assert_eq!(record.entries()[0].message, alert(1, 7));
    }

    #[test]
    fn a_query_is_answered_once_until_its_id_is_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = Record::open(&dir.path().join("record")).unwrap();
        let refusal = Message::Refusal(Refusal {
            query: 5,
            reason: RefusalReason::Busy,
        });
        assert!(record.add(1, &refusal, None).unwrap());
        assert!(!record.add(2, &refusal, None).unwrap());
        record.reopen(5);
        assert!(record.add(3, &refusal, None).unwrap());
    }

    /// A power cut may leave any prefix of the last line: the lines before it stand, the broken
    /// one comes again from the link, and what follows it is whole.
    #[test]
    fn a_cut_at_every_byte_loses_only_the_line_that_it_hit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        let mut record = Record::open(&path).unwrap();
        record.add(1, &alert(1, 1), None).unwrap();
        let first = std::fs::read(&path).unwrap().len();
        record.add(2, &alert(2, 2), None).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in first..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let mut record = Record::open(&path).unwrap();
            assert!(!record.add(3, &alert(1, 1), None).unwrap());
            let complete = length + 1 == whole.len();
            assert_eq!(
                record.add(3, &alert(2, 2), None).unwrap(),
                !complete,
                "cut at {length}"
            );
            assert_eq!(
                Record::open(&path).unwrap().entries().len(),
                2,
                "cut at {length}"
            );
        }
    }
}
