//! Storage as a log of records on a disk that may lose power at any byte.
//!
//! # Format
//!
//! Eight bytes `DVLMLNK` and the format version (1), then records:
//!
//! | bytes | field |
//! |---|---|
//! | 2 | length of the payload, little-endian |
//! | 1 | type: 1 entry, 2 entry forgotten, 3 register |
//! | length | payload |
//! | 4 | CRC-32C of all before, little-endian |
//!
//! An entry's payload is its key and its bytes, a forgotten entry's the key, a register's its number
//! and its 12 bytes. A key is one byte (class, plus 128 for inbound) and the sequence number in
//! four, little-endian.
//!
//! # Why a power cut does no harm
//!
//! 1. A record is written behind the last one and synchronised before the call returns. The next
//!    record is not begun before that. So at any moment at most one record, the last, is incomplete.
//! 2. An incomplete record fails its CRC (or is shorter than it says), so opening drops it. Its
//!    call never returned: nothing that was promised is lost, and no call has half an effect,
//!    because a call is one record.
//! 3. A bad record that is followed by a good one cannot come from a power cut. Opening fails then,
//!    rather than drop what was promised.
//! 4. When most of the log is out of date, it is written anew into a second file, synchronised, and
//!    renamed over the first. A cut leaves the old log or the new one, both complete.
//! 5. A write that fails is undone by cutting the file back. Where even that fails, or where
//!    synchronising fails, the storage refuses all further work: nobody knows what is on the disk.
//!
//! Entries of classes where the newest wins are not written at all.

use std::{vec, vec::Vec};

use super::{Direction, Key, Register, Storage, StorageError, Value, copy_from};
use crate::{class::Class, crc::crc32c};

const MAGIC: [u8; 8] = *b"DVLMLNK\x01";
const ENTRY: u8 = 1;
const FORGOTTEN: u8 = 2;
const REGISTER: u8 = 3;
/// Length and type in front, CRC behind.
const FRAME: usize = 7;
/// The log is not written anew below this length.
const COMPACT_FROM: u64 = 16 * 1024;

/// A file, as far as the log needs one.
pub trait Disk {
    /// What it reports when it fails.
    type Error: core::fmt::Debug;

    /// The whole content.
    fn read(&mut self) -> Result<Vec<u8>, Self::Error>;
    /// Writes at `offset`, which is the end of the content.
    fn append(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Self::Error>;
    /// Cuts the content off at `length`.
    fn truncate(&mut self, length: u64) -> Result<(), Self::Error>;
    /// Returns when all written bytes survive a power cut.
    fn sync(&mut self) -> Result<(), Self::Error>;
    /// Replaces the whole content: after a power cut either the old or the new one is there.
    fn replace(&mut self, content: &[u8]) -> Result<(), Self::Error>;
}

/// Why a log could not be opened or used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogError<E> {
    /// The disk failed.
    Disk(E),
    /// The file is something else, or of another version.
    NotALog,
    /// The record at this offset is damaged, and not by a power cut.
    Damaged {
        /// Where it begins in the file.
        offset: u64,
    },
    /// An earlier failure left the file in an unknown state; opening it again finds out.
    Poisoned,
}

impl<E: core::fmt::Display> core::fmt::Display for LogError<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Disk(error) => error.fmt(f),
            Self::NotALog => f.write_str("not a link log, or one of another version"),
            Self::Damaged { offset } => write!(
                f,
                "the record at byte {offset} is damaged, and not by a power cut"
            ),
            Self::Poisoned => f.write_str("an earlier failure left the log in an unknown state"),
        }
    }
}

impl<E: core::error::Error> core::error::Error for LogError<E> {}

/// A log of records on `D`.
#[derive(Debug)]
pub struct LogStorage<D> {
    disk: D,
    /// Length of the log. Invariant: all before is synchronised and good.
    length: u64,
    /// Length that the log would have if it were written anew.
    live: u64,
    poisoned: bool,
    /// Oldest first.
    entries: Vec<(Key, Vec<u8>)>,
    registers: [Option<Value>; Register::COUNT],
}

impl<D: Disk> LogStorage<D> {
    /// Opens the log on `disk`, or begins one on an empty disk.
    pub fn open(mut disk: D) -> Result<Self, LogError<D::Error>> {
        let content = disk.read().map_err(LogError::Disk)?;
        let mut log = Self::empty(disk);
        if content.len() < MAGIC.len() {
            if !MAGIC.starts_with(&content) {
                return Err(LogError::NotALog);
            }
            // Nothing was ever promised on a log whose first write did not end.
            log.disk.replace(&MAGIC).map_err(LogError::Disk)?;
            return Ok(log);
        }
        if !content.starts_with(&MAGIC) {
            return Err(LogError::NotALog);
        }
        let mut at = MAGIC.len();
        while let Some((kind, payload)) = record(&content[at..]) {
            log.apply(kind, payload)
                .ok_or(LogError::Damaged { offset: at as u64 })?;
            at += FRAME + payload.len();
        }
        if at < content.len() {
            let is_followed =
                (at + 1..content.len()).any(|next| record(&content[next..]).is_some());
            if is_followed {
                return Err(LogError::Damaged { offset: at as u64 });
            }
            log.disk.truncate(at as u64).map_err(LogError::Disk)?;
            log.disk.sync().map_err(LogError::Disk)?;
        }
        log.length = at as u64;
        Ok(log)
    }

    /// Opens a damaged log with every record of it whose checksum holds, and writes it anew without
    /// the rest. What the registers then hold may be out of date: the endpoint is to be told, with
    /// [`Config::storage_salvaged`](crate::Config::storage_salvaged).
    pub fn open_damaged(mut disk: D) -> Result<Self, LogError<D::Error>> {
        let content = disk.read().map_err(LogError::Disk)?;
        let mut log = Self::empty(disk);
        let mut at = 0;
        while at < content.len() {
            at += match record(&content[at..]) {
                Some((kind, payload)) if log.apply(kind, payload).is_some() => {
                    FRAME + payload.len()
                }
                _ => 1,
            };
        }
        let content = log.content();
        log.disk.replace(&content).map_err(LogError::Disk)?;
        log.length = content.len() as u64;
        log.live = log.length;
        Ok(log)
    }

    fn empty(disk: D) -> Self {
        Self {
            disk,
            length: MAGIC.len() as u64,
            live: MAGIC.len() as u64,
            poisoned: false,
            entries: Vec::new(),
            registers: [None; Register::COUNT],
        }
    }

    /// The disk.
    pub fn into_disk(self) -> D {
        self.disk
    }

    /// Length of the log in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    fn apply(&mut self, kind: u8, payload: &[u8]) -> Option<()> {
        match kind {
            ENTRY => {
                let (key, bytes) = read_key(payload)?;
                self.live += (FRAME + payload.len()) as u64;
                self.entries.push((key, bytes.to_vec()));
            }
            FORGOTTEN => {
                let (key, _) = read_key(payload)?;
                self.forget(key);
            }
            REGISTER => {
                let (&number, value) = payload.split_first()?;
                let place = self
                    .registers
                    .get_mut(usize::from(Register::from_number(number)?.number()))?;
                if place.is_none() {
                    self.live += (FRAME + payload.len()) as u64;
                }
                *place = Some(*value.first_chunk()?);
            }
            _ => return None,
        }
        Some(())
    }

    fn forget(&mut self, key: Key) {
        if let Some(at) = self.entries.iter().position(|(found, _)| *found == key) {
            let (_, bytes) = self.entries.remove(at);
            if !key.class.latest_wins() {
                self.live -= (FRAME + 5 + bytes.len()) as u64;
            }
        }
    }

    fn write(&mut self, kind: u8, parts: &[&[u8]]) -> Result<(), StorageError<LogError<D::Error>>> {
        if self.poisoned {
            return Err(StorageError::Device(LogError::Poisoned));
        }
        let mut bytes = vec![];
        push_record(&mut bytes, kind, parts);
        if let Err(error) = self.disk.append(self.length, &bytes) {
            self.poisoned = self
                .disk
                .truncate(self.length)
                .and_then(|()| self.disk.sync())
                .is_err();
            return Err(StorageError::Device(LogError::Disk(error)));
        }
        if let Err(error) = self.disk.sync() {
            self.poisoned = true;
            return Err(StorageError::Device(LogError::Disk(error)));
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Writes the log anew when most of it is out of date. The record that led here is safe already,
    /// so a failure is no failure of the call; it only must not go on with a log half replaced.
    fn compact(&mut self) {
        if self.length < COMPACT_FROM || self.length / 4 < self.live {
            return;
        }
        let content = self.content();
        match self.disk.replace(&content) {
            Ok(()) => {
                self.length = content.len() as u64;
                self.live = self.length;
            }
            Err(_) => self.poisoned = true,
        }
    }

    /// The log with nothing out of date in it.
    fn content(&self) -> Vec<u8> {
        let mut content = MAGIC.to_vec();
        for (number, value) in self.registers.iter().enumerate() {
            if let Some(value) = value {
                push_record(&mut content, REGISTER, &[&[number as u8], value]);
            }
        }
        for (key, bytes) in self
            .entries
            .iter()
            .filter(|(key, _)| !key.class.latest_wins())
        {
            push_record(&mut content, ENTRY, &[&key_bytes(*key), bytes]);
        }
        content
    }
}

impl<D: Disk> Storage for LogStorage<D> {
    type Error = LogError<D::Error>;

    fn append(&mut self, key: Key, parts: &[&[u8]]) -> Result<(), StorageError<Self::Error>> {
        let bytes = parts.concat();
        if bytes.len() > usize::from(u16::MAX) - 5 {
            return Err(StorageError::Full);
        }
        if !key.class.latest_wins() {
            self.write(ENTRY, &[&key_bytes(key), &bytes])?;
            self.live += (FRAME + 5 + bytes.len()) as u64;
        }
        self.entries.push((key, bytes));
        self.compact();
        Ok(())
    }

    fn acknowledge(&mut self, key: Key) -> Result<(), StorageError<Self::Error>> {
        if !self.entries.iter().any(|(found, _)| *found == key) {
            return Ok(());
        }
        if !key.class.latest_wins() {
            self.write(FORGOTTEN, &[&key_bytes(key)])?;
        }
        self.forget(key);
        self.compact();
        Ok(())
    }

    fn read(
        &mut self,
        key: Key,
        offset: usize,
        into: &mut [u8],
    ) -> Result<usize, StorageError<Self::Error>> {
        let Some((_, bytes)) = self.entries.iter().find(|(found, _)| *found == key) else {
            return Ok(0);
        };
        Ok(copy_from(bytes, offset, into))
    }

    fn recover(
        &mut self,
        each: &mut dyn FnMut(Key, usize),
    ) -> Result<(), StorageError<Self::Error>> {
        self.entries
            .iter()
            .for_each(|(key, bytes)| each(*key, bytes.len()));
        Ok(())
    }

    fn set(&mut self, register: Register, value: Value) -> Result<(), StorageError<Self::Error>> {
        self.write(REGISTER, &[&[register.number()], &value])?;
        let place = &mut self.registers[usize::from(register.number())];
        if place.is_none() {
            self.live += (FRAME + 1 + value.len()) as u64;
        }
        *place = Some(value);
        self.compact();
        Ok(())
    }

    fn get(&mut self, register: Register) -> Result<Option<Value>, StorageError<Self::Error>> {
        Ok(self.registers[usize::from(register.number())])
    }
}

/// The record that `bytes` begin with, if it is complete and good.
fn record(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let &[l0, l1, kind, ..] = bytes else {
        return None;
    };
    let end = 3 + usize::from(u16::from_le_bytes([l0, l1]));
    let crc = bytes.get(end..)?.first_chunk()?;
    (crc32c(&bytes[..end]) == u32::from_le_bytes(*crc)).then(|| (kind, &bytes[3..end]))
}

fn push_record(into: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    let start = into.len();
    let length: usize = parts.iter().map(|part| part.len()).sum();
    into.extend_from_slice(&(length as u16).to_le_bytes());
    into.push(kind);
    parts.iter().for_each(|part| into.extend_from_slice(part));
    let crc = crc32c(&into[start..]);
    into.extend_from_slice(&crc.to_le_bytes());
}

fn key_bytes(key: Key) -> [u8; 5] {
    let [a, b, c, d] = key.sequence.to_le_bytes();
    [(key.direction as u8) << 7 | key.class as u8, a, b, c, d]
}

fn read_key(payload: &[u8]) -> Option<(Key, &[u8])> {
    let (&[kind, a, b, c, d], rest) = payload.split_first_chunk()?;
    let direction = if kind & 0x80 == 0 {
        Direction::Outbound
    } else {
        Direction::Inbound
    };
    let class = Class::from_number(kind & 0x7F)?;
    Some((
        Key {
            direction,
            class,
            sequence: u32::from_le_bytes([a, b, c, d]),
        },
        rest,
    ))
}
