//! What was decided about each pair, on disk before anything is done about it.
//!
//! One line for each event, `CRC JSON`, appended and synchronised:
//!
//! - *decided*: a pair was looked at; with the message for the ground, if there is one;
//! - *handed over*: the link has that message in its own storage.
//!
//! After a power cut at any point each pair is in exactly one state. Not decided: it is
//! looked at again, and nothing was said about it. Decided and not handed over: its message
//! is handed over again; if the link had it already, both carry the same tile, time and
//! pair, and the ground shows one. Handed over: the link keeps it until the ground has it.
//! A line that the power cut broke fails its CRC and counts as not written.

use crate::pair_files::PairVersion;
use deltavlm_carrier::disk;
use deltavlm_link::{MAX_MESSAGE, crc::crc32c};
use deltavlm_messages::Message;
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The journal is rewritten when it has grown to this many bytes more than it needs.
const COMPACT_AFTER_BYTES: u64 = 1 << 20;

/// The journal, open for appending.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
    state: JournalState,
}

/// What the journal says after all of its lines.
#[derive(Debug, Default)]
struct JournalState {
    decided: HashMap<String, PairVersion>,
    /// Messages that the link does not have yet, oldest first.
    pending: Vec<PendingMessage>,
    damaged_lines: usize,
}

/// A message that waits to be handed to the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingMessage {
    /// The pair's name.
    pub name: String,
    /// The message.
    pub message: Message,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum JournalRecord {
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

/// A message as the link encodes it.
#[derive(Serialize, Deserialize)]
struct EncodedMessage {
    kind: u8,
    body: String,
}

impl Journal {
    /// Opens the journal at `path`, or starts one.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(path: &Path) -> io::Result<Self> {
        let content = match std::fs::read(path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut state = JournalState::default();
        for line in content
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            match decode_line(line) {
                Some(line) => state.apply(line),
                None => state.damaged_lines += 1,
            }
        }
        Self::rewrite(path, state)
    }

    /// Notes what was decided about a pair; `message` waits to be handed over from now on.
    ///
    /// # Errors
    /// The disk failed or is full: nothing was noted.
    pub fn decide(
        &mut self,
        name: &str,
        version: PairVersion,
        message: Option<&Message>,
    ) -> io::Result<()> {
        let encoded = message.map(EncodedMessage::new);
        self.append(&JournalRecord::Decided {
            name: name.to_owned(),
            version,
            message: encoded,
        })?;
        self.state.decided.insert(name.to_owned(), version);
        if let Some(message) = message {
            self.state.pending.push(PendingMessage {
                name: name.to_owned(),
                message: message.clone(),
            });
        }
        Ok(())
    }

    /// Notes that the link has the oldest message that waited.
    ///
    /// # Errors
    /// The disk failed or is full: the message is still pending.
    pub fn handed_over(&mut self) -> io::Result<()> {
        let Some(first) = self.state.pending.first() else {
            return Ok(());
        };
        self.append(&JournalRecord::HandedOver {
            name: first.name.clone(),
        })?;
        self.state.pending.remove(0);
        Ok(())
    }

    /// The pairs that were decided on, by name.
    #[must_use]
    pub fn decided(&self) -> &HashMap<String, PairVersion> {
        &self.state.decided
    }

    /// The messages that the link does not have yet, oldest first.
    #[must_use]
    pub fn pending(&self) -> &[PendingMessage] {
        &self.state.pending
    }

    /// Lines that were found damaged when the journal was opened.
    #[must_use]
    pub fn damaged_lines(&self) -> usize {
        self.state.damaged_lines
    }

    fn append(&mut self, line: &JournalRecord) -> io::Result<()> {
        let encoded = encode_line(line);
        if let Err(error) = self
            .file
            .write_all(&encoded)
            .and_then(|()| self.file.sync_data())
        {
            // Whatever part of the line is there must not run into the next one.
            let _ = self.file.set_len(self.bytes);
            return Err(error);
        }
        self.bytes += encoded.len() as u64;
        if self.bytes
            > COMPACT_AFTER_BYTES
                + self
                    .state
                    .records()
                    .map(|line| encode_line(&line).len() as u64)
                    .sum::<u64>()
        {
            let state = std::mem::take(&mut self.state);
            *self = Self::rewrite(&self.path, state)?;
        }
        Ok(())
    }

    /// Writes only what still matters, and opens the result.
    fn rewrite(path: &Path, state: JournalState) -> io::Result<Self> {
        let content: Vec<u8> = state
            .records()
            .flat_map(|line| encode_line(&line))
            .collect();
        disk::replace(path, &content)?;
        let file = OpenOptions::new().append(true).open(path)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            bytes: content.len() as u64,
            state,
        })
    }
}

impl JournalState {
    fn apply(&mut self, line: JournalRecord) {
        match line {
            JournalRecord::Decided {
                name,
                version,
                message,
            } => {
                self.decided.insert(name.clone(), version);
                if let Some(message) = message.and_then(|encoded| encoded.message()) {
                    self.pending.push(PendingMessage { name, message });
                }
            }
            // Messages are handed over in order, so it is the oldest of that name.
            JournalRecord::HandedOver { name } => {
                if let Some(place) = self.pending.iter().position(|pending| pending.name == name) {
                    self.pending.remove(place);
                }
            }
        }
    }

    fn records(&self) -> impl Iterator<Item = JournalRecord> {
        let decided = self
            .decided
            .iter()
            .map(|(name, &version)| JournalRecord::Decided {
                name: name.clone(),
                version,
                message: None,
            });
        let pending = self.pending.iter().filter_map(|pending| {
            Some(JournalRecord::Decided {
                name: pending.name.clone(),
                version: *self.decided.get(&pending.name)?,
                message: Some(EncodedMessage::new(&pending.message)),
            })
        });
        decided.chain(pending)
    }
}

impl EncodedMessage {
    fn new(message: &Message) -> Self {
        let mut body = [0; MAX_MESSAGE];
        let length = message.encode(&mut body).unwrap_or(0);
        let body = body[..length]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self {
            kind: message.kind() as u8,
            body,
        }
    }

    fn message(&self) -> Option<Message> {
        let digits = self.body.as_bytes();
        let body: Option<Vec<u8>> = digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        Message::decode(self.kind, &body?).ok()
    }
}

fn encode_line(line: &JournalRecord) -> Vec<u8> {
    // Serialising plain strings and numbers to memory cannot fail.
    let json = serde_json::to_string(line).unwrap_or_default();
    format!("{:08x} {json}\n", crc32c(json.as_bytes())).into_bytes()
}

fn decode_line(line: &[u8]) -> Option<JournalRecord> {
    let (crc, json) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let crc = u32::from_str_radix(crc, 16).ok()?;
    (crc == crc32c(json.as_bytes())).then(|| serde_json::from_str(json).ok())?
}

#[cfg(test)]
mod tests;
