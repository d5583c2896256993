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
use deltavlm_messages::Message;
use deltavlm_node::crc_log::{self, CrcLog, EncodedMessage};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
};

/// The journal is rewritten when it has grown to this many bytes more than it needs.
const COMPACT_AFTER_BYTES: u64 = 1 << 20;

/// The journal, open for appending.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    log: CrcLog,
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

impl Journal {
    /// Opens the journal at `path`, or starts one.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut state = JournalState::default();
        for line in crc_log::read_lines(path)? {
            match line {
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
        self.log.append(line)?;
        self.compact(COMPACT_AFTER_BYTES)
    }

    /// Rewrites a journal that is longer than it needs to be by more than `spare` bytes.
    fn compact(&mut self, spare: u64) -> io::Result<()> {
        let needed = self.state.records().try_fold(0, |sum, line| {
            Ok::<_, io::Error>(sum + crc_log::encode_line(&line)?.len() as u64)
        })?;
        if self.log.bytes() > spare + needed {
            let state = std::mem::take(&mut self.state);
            *self = Self::rewrite(&self.path, state)?;
        }
        Ok(())
    }

    /// Writes only what still matters, and opens the result.
    fn rewrite(path: &Path, state: JournalState) -> io::Result<Self> {
        let log = CrcLog::rewrite(path, state.records())?;
        Ok(Self {
            path: path.to_owned(),
            log,
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

#[cfg(test)]
mod tests;
