//! What was decided about each pair, on disk before anything is done about it.
//!
//! A decision and its message are one transaction with what the link keeps: after a power cut at
//! any point each pair is in exactly one state. Not decided: it is looked at again, and nothing was
//! said about it. Decided: the link has its message, or the message waits here because the link had
//! no room; it is removed here in the transaction in which the link takes it.
//!
//! A pair of which nothing is to be told is decided with the next transaction, a second later at
//! the most: to look at it again does no harm.
//!
//! Decisions wait in memory while the disk fails. None is forgotten, and a restart before the disk
//! is well again looks at their pairs once more.

mod earlier;

use crate::pair_files::PairVersion;
use deltavlm_messages::Message;
use deltavlm_node::{
    crc_log::EncodedMessage,
    store::{Batch, Store, StoreError},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    path::Path,
};

const DECIDED: &str = "decided";
const PENDING: &str = "pending";
/// To look at a pair once more does no harm; to believe that it was decided, without the alert that
/// came of it, does.
pub const FORGETTABLE: &[&str] = &[DECIDED];
/// Decided pairs that are remembered although their pictures are gone: a card that is taken out and
/// put back with as many pictures is not looked at again.
const MAX_ABSENT: usize = 10_000;
/// Decisions between two times that the folders are asked for what is still there.
const PRUNE_AFTER: usize = 1000;

/// The journal, in the store.
#[derive(Debug)]
pub struct Journal {
    store: Store,
    /// The decided pairs, with the number of the decision.
    decided: HashMap<String, u64>,
    /// Messages that the link does not have yet, oldest first.
    pending: VecDeque<(u64, Message)>,
    /// Decisions that are not on disk yet, oldest first.
    undecided: VecDeque<Decision>,
    next_number: u64,
    prune_at: usize,
}

/// What was found about a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The pair's name.
    pub name: String,
    /// What tells it from a later one of the same name.
    pub version: PairVersion,
    /// What the ground is to be told, if anything.
    pub message: Option<Message>,
}

/// What was decided in earlier runs.
pub type DecidedPairs = HashMap<String, PairVersion>;

#[derive(Serialize, Deserialize)]
struct DecidedRecord {
    number: u64,
    #[serde(flatten)]
    version: PairVersion,
}

impl Journal {
    /// Reads the journal from the store. The journal of an earlier version in the directory is
    /// taken over, once.
    ///
    /// # Errors
    /// The store cannot be read, or not be written where there is something to take over.
    pub fn open(store: &Store, dir: &Path) -> Result<(Self, DecidedPairs), StoreError> {
        earlier::take_over(&dir.join("journal"), store)?;
        let mut pairs = DecidedPairs::new();
        let mut decided = HashMap::new();
        store.for_each(DECIDED, |key, value| {
            let record = serde_json::from_slice::<DecidedRecord>(value);
            if let (Ok(name), Ok(record)) = (str::from_utf8(key), record) {
                decided.insert(name.to_owned(), record.number);
                pairs.insert(name.to_owned(), record.version);
            }
        })?;
        let mut pending = VecDeque::new();
        store.for_each(PENDING, |key, value| {
            let number = key.try_into().map(u64::from_be_bytes);
            let message = serde_json::from_slice::<EncodedMessage>(value);
            let message = message.ok().and_then(|encoded| encoded.message());
            if let (Ok(number), Some(message)) = (number, message) {
                pending.push_back((number, message));
            }
        })?;
        let last = decided.values().copied().max();
        let last = last.max(pending.back().map(|(number, _)| *number));
        let prune_at = decided.len().max(MAX_ABSENT) + PRUNE_AFTER;
        let journal = Self {
            store: store.clone(),
            decided,
            pending,
            undecided: VecDeque::new(),
            next_number: last.map_or(0, |last| last + 1),
            prune_at,
        };
        Ok((journal, pairs))
    }

    /// Takes a decision; it is to be written with [`write`](Self::write).
    pub fn decide(&mut self, decision: Decision) {
        self.undecided.push_back(decision);
    }

    /// Writes what was decided and hands its messages over, oldest first: `send` gives the link a
    /// message and makes the changes in the same transaction. Returns when all is done, or when the
    /// link has no room or the disk fails; what is left is written with the next call.
    ///
    /// What the link will never take is given up, with a line in the log.
    pub fn write(&mut self, mut send: impl FnMut(&Message, Batch) -> Handover) {
        while let Some((number, message)) = self.pending.front() {
            let mut batch = Batch::default();
            batch.remove(PENDING, &number.to_be_bytes());
            match send(message, batch.clone()) {
                Handover::Taken => {}
                Handover::Later => break,
                Handover::Never if self.store.commit(&batch).is_err() => break,
                Handover::Never => {}
            }
            self.pending.pop_front();
        }
        while let Some(decision) = self.undecided.front().cloned() {
            let batch = self.batch(&decision);
            match &decision.message {
                None => self.store.defer(batch),
                Some(message) if self.hand_over(message, batch, &mut send) => {}
                Some(_) => break,
            }
            self.undecided.pop_front();
            self.decided.insert(decision.name, self.next_number);
            self.next_number += 1;
        }
    }

    /// Whether the decision is on disk, with its message in the link or behind the others here.
    fn hand_over(
        &mut self,
        message: &Message,
        mut batch: Batch,
        send: &mut impl FnMut(&Message, Batch) -> Handover,
    ) -> bool {
        if self.pending.is_empty() {
            match send(message, batch.clone()) {
                Handover::Taken => return true,
                Handover::Never => return self.store.commit(&batch).is_ok(),
                Handover::Later if self.store.is_failing() => return false,
                Handover::Later => {}
            }
        }
        let encoded = serde_json::to_vec(&EncodedMessage::new(message)).unwrap_or_default();
        batch.put(PENDING, &self.next_number.to_be_bytes(), &encoded);
        let written = self.store.commit(&batch).is_ok();
        if written {
            self.pending.push_back((self.next_number, message.clone()));
        }
        written
    }

    fn batch(&self, decision: &Decision) -> Batch {
        let record = DecidedRecord {
            number: self.next_number,
            version: decision.version,
        };
        let mut batch = Batch::default();
        let value = serde_json::to_vec(&record).unwrap_or_default();
        batch.put(DECIDED, decision.name.as_bytes(), &value);
        batch
    }

    /// Messages that the link does not have yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let undecided = self.undecided.iter();
        self.pending.len()
            + undecided
                .filter(|decision| decision.message.is_some())
                .count()
    }

    /// Whether it is time to [`prune`](Self::prune).
    #[must_use]
    pub fn wants_pruning(&self) -> bool {
        self.decided.len() >= self.prune_at
    }

    /// Forgets pairs of which no picture is `present` any more, except for the latest 10,000, and
    /// returns their names.
    pub fn prune(&mut self, present: &HashSet<String>) -> Vec<String> {
        let forgotten = self.forget_absent(present, MAX_ABSENT);
        self.prune_at = self.decided.len() + PRUNE_AFTER;
        forgotten
    }

    fn forget_absent(&mut self, present: &HashSet<String>, keep: usize) -> Vec<String> {
        let absent = self
            .decided
            .iter()
            .filter(|(name, _)| !present.contains(*name));
        let mut absent: Vec<(u64, String)> = absent
            .map(|(name, number)| (*number, name.clone()))
            .collect();
        absent.sort_unstable();
        absent.truncate(absent.len().saturating_sub(keep));
        let mut batch = Batch::default();
        for (_, name) in &absent {
            batch.remove(DECIDED, name.as_bytes());
            self.decided.remove(name);
        }
        self.store.defer(batch);
        absent.into_iter().map(|(_, name)| name).collect()
    }
}

/// What became of a message that the link was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handover {
    /// The link has it, and the changes are made.
    Taken,
    /// There is no room for it now, or the disk failed. Nothing was changed.
    Later,
    /// The link will never take it. Nothing was changed.
    Never,
}

#[cfg(test)]
mod tests;
