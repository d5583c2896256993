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

use crate::pair::Stamp;
use deltavlm_carrier::disk;
use deltavlm_link::{MAX_MESSAGE, crc::crc32c, message::Message};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The journal is rewritten when it has grown to this many bytes more than it needs.
const SLACK: u64 = 1 << 20;

/// The journal, open for appending.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
    state: State,
}

/// What the journal says after all of its lines.
#[derive(Debug, Default)]
struct State {
    done: HashMap<String, Stamp>,
    /// Messages that the link does not have yet, oldest first.
    pending: Vec<Pending>,
    broken_lines: usize,
}

/// A message that waits to be handed to the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The pair's name.
    pub name: String,
    /// The message.
    pub message: Message,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Decided {
        name: String,
        stamp: Stamp,
        message: Option<Packed>,
    },
    HandedOver {
        name: String,
    },
}

/// A message as the link encodes it.
#[derive(Serialize, Deserialize)]
struct Packed {
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
        let mut state = State::default();
        for line in content
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            match unseal(line) {
                Some(line) => state.apply(line),
                None => state.broken_lines += 1,
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
        stamp: Stamp,
        message: Option<&Message>,
    ) -> io::Result<()> {
        let packed = message.map(Packed::new);
        self.append(&Line::Decided {
            name: name.to_owned(),
            stamp,
            message: packed,
        })?;
        self.state.done.insert(name.to_owned(), stamp);
        if let Some(message) = message {
            self.state.pending.push(Pending {
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
        self.append(&Line::HandedOver {
            name: first.name.clone(),
        })?;
        self.state.pending.remove(0);
        Ok(())
    }

    /// The pairs that were decided on, by name.
    #[must_use]
    pub fn done(&self) -> &HashMap<String, Stamp> {
        &self.state.done
    }

    /// The messages that the link does not have yet, oldest first.
    #[must_use]
    pub fn pending(&self) -> &[Pending] {
        &self.state.pending
    }

    /// Lines that were found damaged when the journal was opened.
    #[must_use]
    pub fn broken_lines(&self) -> usize {
        self.state.broken_lines
    }

    fn append(&mut self, line: &Line) -> io::Result<()> {
        let sealed = seal(line);
        if let Err(error) = self
            .file
            .write_all(&sealed)
            .and_then(|()| self.file.sync_data())
        {
            // Whatever part of the line is there must not run into the next one.
            let _ = self.file.set_len(self.bytes);
            return Err(error);
        }
        self.bytes += sealed.len() as u64;
        if self.bytes
            > SLACK
                + self
                    .state
                    .lines()
                    .map(|line| seal(&line).len() as u64)
                    .sum::<u64>()
        {
            let state = std::mem::take(&mut self.state);
            *self = Self::rewrite(&self.path, state)?;
        }
        Ok(())
    }

    /// Writes only what still matters, and opens the result.
    fn rewrite(path: &Path, state: State) -> io::Result<Self> {
        let content: Vec<u8> = state.lines().flat_map(|line| seal(&line)).collect();
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

impl State {
    fn apply(&mut self, line: Line) {
        match line {
            Line::Decided {
                name,
                stamp,
                message,
            } => {
                self.done.insert(name.clone(), stamp);
                if let Some(message) = message.and_then(|packed| packed.message()) {
                    self.pending.push(Pending { name, message });
                }
            }
            // Messages are handed over in order, so it is the oldest of that name.
            Line::HandedOver { name } => {
                if let Some(place) = self.pending.iter().position(|pending| pending.name == name) {
                    self.pending.remove(place);
                }
            }
        }
    }

    fn lines(&self) -> impl Iterator<Item = Line> {
        let done = self.done.iter().map(|(name, &stamp)| Line::Decided {
            name: name.clone(),
            stamp,
            message: None,
        });
        let pending = self.pending.iter().filter_map(|pending| {
            Some(Line::Decided {
                name: pending.name.clone(),
                stamp: *self.done.get(&pending.name)?,
                message: Some(Packed::new(&pending.message)),
            })
        });
        done.chain(pending)
    }
}

impl Packed {
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

fn seal(line: &Line) -> Vec<u8> {
    // Serialising plain strings and numbers to memory cannot fail.
    let json = serde_json::to_string(line).unwrap_or_default();
    format!("{:08x} {json}\n", crc32c(json.as_bytes())).into_bytes()
}

fn unseal(line: &[u8]) -> Option<Line> {
    let (crc, json) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let crc = u32::from_str_radix(crc, 16).ok()?;
    (crc == crc32c(json.as_bytes())).then(|| serde_json::from_str(json).ok())?
}

#[cfg(test)]
mod tests;
