//! The record: every alert, fault and answer that came, on disk before it is shown.
//!
//! One line for each message, `CRC JSON`, appended and synchronised; only then is it shown,
//! and only then is the link told that it is dealt with. The record is also what tells
//! a message that comes twice: the link delivers once, but a board that lost power between
//! deciding on an alert and noting that the link has it sends the same alert again.

use deltavlm_carrier::disk;
use deltavlm_link::{MAX_MESSAGE, crc::crc32c};
use deltavlm_messages::{Message, QueryId};
use serde::{Deserialize, Serialize};
use std::{
    collections::{HashSet, VecDeque},
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
};

/// Answered queries that are remembered: their ids come round again after 65536.
const MAX_ANSWERED_IDS: usize = 4096;

/// The record, open for appending.
#[derive(Debug)]
pub struct Record {
    file: File,
    bytes: u64,
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
    kind: u8,
    body: String,
}

impl Record {
    /// Opens the record at `path`, or starts one. Damaged lines are left out; there is one at
    /// most, the last, unless somebody edited the file.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(path: &Path) -> io::Result<Self> {
        let content = match std::fs::read(path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let mut record = Self {
            file,
            bytes: content.len() as u64,
            seen: HashSet::new(),
            answered: VecDeque::new(),
            entries: Vec::new(),
        };
        // A line that a power cut broke must not swallow the next one.
        if !content.is_empty() && !content.ends_with(b"\n") {
            record.file.write_all(b"\n")?;
            record.bytes += 1;
        }
        disk::sync_folder(path)?;
        for line in content.split(|&byte| byte == b'\n') {
            if let Some(entry) = decode_line(line) {
                record.index(entry);
            }
        }
        Ok(record)
    }

    /// Puts a message on disk. False, and nothing happens, when it is there already.
    ///
    /// # Errors
    /// The disk failed or is full: the message is not in the record.
    pub fn add(&mut self, received: u64, message: &Message) -> io::Result<bool> {
        if self.holds(message) {
            return Ok(false);
        }
        let line = encode_line(received, message);
        if let Err(error) = self
            .file
            .write_all(&line)
            .and_then(|()| self.file.sync_data())
        {
            let _ = self.file.set_len(self.bytes);
            return Err(error);
        }
        self.bytes += line.len() as u64;
        self.index(RecordEntry {
            received,
            message: message.clone(),
        });
        Ok(true)
    }

    /// Everything in the record, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[RecordEntry] {
        &self.entries
    }

    fn holds(&self, message: &Message) -> bool {
        match message {
            Message::Answer(answer) => self.answered.contains(&answer.query),
            Message::Refusal(refusal) => self.answered.contains(&refusal.query),
            other => message_key(other).is_some_and(|key| self.seen.contains(&key)),
        }
    }

    /// Makes room for another answer to a query id that is used again.
    pub fn reopen(&mut self, query: QueryId) {
        self.answered.retain(|&answered| answered != query);
    }

    fn index(&mut self, entry: RecordEntry) {
        self.seen.extend(message_key(&entry.message));
        let query = match &entry.message {
            Message::Answer(answer) => Some(answer.query),
            Message::Refusal(refusal) => Some(refusal.query),
            _ => None,
        };
        if let Some(query) = query {
            self.answered.push_back(query);
            if self.answered.len() > MAX_ANSWERED_IDS {
                self.answered.pop_front();
            }
        }
        self.entries.push(entry);
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

fn encode_line(received: u64, message: &Message) -> Vec<u8> {
    let mut body = [0; MAX_MESSAGE];
    let length = message.encode(&mut body).unwrap_or(0);
    let body = body[..length]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let line = RecordLine {
        received,
        kind: message.kind() as u8,
        body,
    };
    // Serialising plain strings and numbers to memory cannot fail.
    let json = serde_json::to_string(&line).unwrap_or_default();
    format!("{:08x} {json}\n", crc32c(json.as_bytes())).into_bytes()
}

fn decode_line(line: &[u8]) -> Option<RecordEntry> {
    let (crc, json) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    if u32::from_str_radix(crc, 16).ok()? != crc32c(json.as_bytes()) {
        return None;
    }
    let line: RecordLine = serde_json::from_str(json).ok()?;
    let body: Option<Vec<u8>> = line
        .body
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    Some(RecordEntry {
        received: line.received,
        message: Message::decode(line.kind, &body?).ok()?,
    })
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
        assert!(record.add(1, &alert(1, 7)).unwrap());
        assert!(!record.add(2, &alert(1, 7)).unwrap());
        assert!(
            record.add(3, &alert(1, 8)).unwrap(),
            "another pair of the same tile"
        );
        let mut record = Record::open(&path).unwrap();
        assert!(!record.add(4, &alert(1, 8)).unwrap());
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
        assert!(record.add(1, &refusal).unwrap());
        assert!(!record.add(2, &refusal).unwrap());
        record.reopen(5);
        assert!(record.add(3, &refusal).unwrap());
    }

    /// A power cut may leave any prefix of the last line: the lines before it stand, the broken
    /// one comes again from the link, and what follows it is whole.
    #[test]
    fn a_cut_at_every_byte_loses_only_the_line_that_it_hit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        let mut record = Record::open(&path).unwrap();
        record.add(1, &alert(1, 1)).unwrap();
        let first = std::fs::read(&path).unwrap().len();
        record.add(2, &alert(2, 2)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in first..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let mut record = Record::open(&path).unwrap();
            assert!(!record.add(3, &alert(1, 1)).unwrap());
            let complete = length + 1 == whole.len();
            assert_eq!(
                record.add(3, &alert(2, 2)).unwrap(),
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
