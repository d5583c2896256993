//! What was asked and is not answered yet, kept over restarts.

use deltavlm_link::{Class, MessageId};
use deltavlm_messages::QueryId;
use deltavlm_node::atomic_file;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// A question that waits for its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingQuery {
    /// The tile as the user named it.
    pub tile: String,
    /// `classify`, `count`, `localize`, `caption`, `survey`, `question`, `chip`, `set`.
    pub instruction: String,
    /// The question in free words, where it is one.
    pub question: Option<String>,
    /// Whether it continues a dialogue.
    #[serde(default)]
    pub follow_up: bool,
}

/// Ids that are left out after the file was lost: as many questions wait in a link at most.
const MAX_OPEN: QueryId = 256;

/// The open queries and the file that keeps them.
#[derive(Debug)]
pub struct PendingQueries {
    path: PathBuf,
    values: QueryFile,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct QueryFile {
    next: QueryId,
    open: BTreeMap<QueryId, PendingQuery>,
    /// The link's messages that carry the open queries: class and sequence.
    #[serde(default)]
    sent: BTreeMap<QueryId, (u8, u32)>,
}

impl PendingQueries {
    /// Reads the file. A damaged one is set aside: its queries are forgotten, and ids go on after
    /// `last`, the latest that was answered.
    ///
    /// # Errors
    /// The file is there and cannot be read, or not be set aside.
    pub fn open(path: &Path, last: Option<QueryId>) -> io::Result<Self> {
        let values = match std::fs::read(path) {
            Ok(content) => match serde_json::from_slice(&content) {
                Ok(values) => values,
                Err(_) => {
                    std::fs::rename(path, path.with_extension("json.damaged"))?;
                    QueryFile {
                        // Queries that were open have ids behind the last answered one.
                        next: last.map_or(0, |last| last.wrapping_add(MAX_OPEN)),
                        ..QueryFile::default()
                    }
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => QueryFile::default(),
            Err(error) => return Err(error),
        };
        Ok(Self {
            path: path.to_owned(),
            values,
        })
    }

    /// Takes an id for a question, on disk.
    ///
    /// # Errors
    /// The disk failed: the id is not taken.
    pub fn open_query(&mut self, pending: PendingQuery) -> io::Result<QueryId> {
        let mut id = self.values.next;
        while self.values.open.contains_key(&id) && self.values.open.len() < usize::from(u16::MAX) {
            id = id.wrapping_add(1);
        }
        self.values.next = id.wrapping_add(1);
        self.values.open.insert(id, pending);
        self.save().inspect_err(|_| {
            self.values.open.remove(&id);
        })?;
        Ok(id)
    }

    /// Ends a query and gives what was asked.
    ///
    /// # Errors
    /// The disk failed: the query is still open there.
    pub fn close_query(&mut self, id: QueryId) -> io::Result<Option<PendingQuery>> {
        let pending = self.values.open.remove(&id);
        self.values.sent.remove(&id);
        if pending.is_some() {
            self.save()?;
        }
        Ok(pending)
    }

    /// Notes which message of the link carries a query.
    ///
    /// # Errors
    /// The disk failed: after a restart it is not known what the board refused.
    pub fn sent(&mut self, id: QueryId, message: MessageId) -> io::Result<()> {
        let message = (message.class as u8, message.sequence);
        self.values.sent.insert(id, message);
        self.save()
    }

    /// The query that a message of the link carries.
    #[must_use]
    pub fn carried_by(&self, message: MessageId) -> Option<QueryId> {
        let message = (message.class as u8, message.sequence);
        let mut sent = self.values.sent.iter();
        sent.find_map(|(&id, &carrier)| (carrier == message).then_some(id))
    }

    /// The message of the link that carries a query, as long as it is not answered.
    #[must_use]
    pub fn carrier_of(&self, query: QueryId) -> Option<MessageId> {
        let &(class, sequence) = self.values.sent.get(&query)?;
        let class = Class::from_number(class)?;
        Some(MessageId { class, sequence })
    }

    /// What an open query asks.
    #[must_use]
    pub fn get(&self, id: QueryId) -> Option<&PendingQuery> {
        self.values.open.get(&id)
    }

    /// The queries without an answer.
    pub fn unanswered(&self) -> impl Iterator<Item = (QueryId, &PendingQuery)> {
        self.values.open.iter().map(|(&id, pending)| (id, pending))
    }

    fn save(&self) -> io::Result<()> {
        atomic_file::replace(&self.path, &serde_json::to_vec(&self.values)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending_query(tile: &str) -> PendingQuery {
        PendingQuery {
            tile: tile.to_owned(),
            instruction: "count".to_owned(),
            question: None,
            follow_up: false,
        }
    }

    #[test]
    fn ids_are_not_used_again_while_open_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("queries.json");
        let mut queries = PendingQueries::open(&path, None).unwrap();
        assert_eq!(queries.open_query(pending_query("a")).unwrap(), 0);
        assert_eq!(queries.open_query(pending_query("b")).unwrap(), 1);
        assert_eq!(queries.close_query(0).unwrap(), Some(pending_query("a")));
        assert_eq!(queries.close_query(0).unwrap(), None);
        let mut queries = PendingQueries::open(&path, None).unwrap();
        assert_eq!(queries.open_query(pending_query("c")).unwrap(), 2);
        queries.values.next = 1;
        assert_eq!(
            queries.open_query(pending_query("d")).unwrap(),
            3,
            "1 and 2 are open"
        );
        assert_eq!(queries.unanswered().count(), 3);
    }

    /// An empty file once kept the ground program from starting, with the wrong remedy.
    #[test]
    fn d23_a_damaged_file_is_set_aside_and_its_ids_are_not_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("queries.json");
        std::fs::write(&path, "").unwrap();
        let mut queries = PendingQueries::open(&path, Some(7)).unwrap();
        assert_eq!(
            queries.open_query(pending_query("a")).unwrap(),
            7 + MAX_OPEN
        );
        assert!(dir.path().join("queries.json.damaged").exists());
    }
}
