//! What was asked and is not answered yet, kept over restarts.

use deltavlm_link::{Class, MessageId};
use deltavlm_messages::QueryId;
use deltavlm_node::store::{Batch, Store, StoreError, set_aside};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs, io, path::Path};

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

/// Ids that are left out after the list was lost: as many questions wait in a link at most.
const MAX_OPEN: QueryId = 256;

const OPEN: &str = "open query";
const NEXT: &str = "next query";

/// The open queries, in the store.
#[derive(Debug)]
pub struct PendingQueries {
    store: Store,
    next: QueryId,
    open: BTreeMap<QueryId, OpenQuery>,
}

#[derive(Debug, Serialize, Deserialize)]
struct OpenQuery {
    #[serde(flatten)]
    pending: PendingQuery,
    /// The link's message that carries it: class and sequence.
    sent: Option<(u8, u32)>,
}

/// The file of earlier versions.
#[derive(Debug, Deserialize)]
struct QueryFile {
    next: QueryId,
    open: BTreeMap<QueryId, PendingQuery>,
    #[serde(default)]
    sent: BTreeMap<QueryId, (u8, u32)>,
}

impl PendingQueries {
    /// Reads the queries from the store. The file of an earlier version in the directory is taken
    /// over, once; of a damaged one the queries are forgotten. Where nothing says which id comes
    /// next, ids go on after `last`, the latest that was answered.
    ///
    /// # Errors
    /// The store cannot be read, or not be written where there is something to take over.
    pub fn open(store: &Store, dir: &Path, last: Option<QueryId>) -> Result<Self, StoreError> {
        take_over(&dir.join("queries.json"), store)?;
        let mut open = BTreeMap::new();
        store.for_each(OPEN, |key, value| {
            let id = key.try_into().map(QueryId::from_be_bytes);
            if let (Ok(id), Ok(query)) = (id, serde_json::from_slice::<OpenQuery>(value)) {
                open.insert(id, query);
            }
        })?;
        let next = store.get(NEXT, &[])?;
        let next = next.and_then(|value| Some(QueryId::from_be_bytes(*value.first_chunk()?)));
        // Queries that were open have ids behind the last answered one.
        let lost = last.map_or(0, |last| last.wrapping_add(MAX_OPEN));
        Ok(Self {
            store: store.clone(),
            next: next.unwrap_or(lost),
            open,
        })
    }

    /// Takes an id for a question, on disk.
    ///
    /// # Errors
    /// The disk failed: the id is not taken.
    pub fn open_query(&mut self, pending: PendingQuery) -> Result<QueryId, StoreError> {
        let mut id = self.next;
        while self.open.contains_key(&id) && self.open.len() < usize::from(u16::MAX) {
            id = id.wrapping_add(1);
        }
        let next = id.wrapping_add(1);
        let query = OpenQuery {
            pending,
            sent: None,
        };
        let mut batch = Batch::default();
        query.put(id, &mut batch);
        batch.put(NEXT, &[], &next.to_be_bytes());
        self.store.commit(&batch)?;
        self.next = next;
        self.open.insert(id, query);
        Ok(id)
    }

    /// Ends a query and gives what was asked.
    pub fn close_query(&mut self, id: QueryId) -> Option<PendingQuery> {
        let query = self.open.remove(&id)?;
        let mut batch = Batch::default();
        batch.remove(OPEN, &id.to_be_bytes());
        self.store.defer(batch);
        Some(query.pending)
    }

    /// Notes which message of the link carries a query. A power cut may undo it: then it is not
    /// known what the board refused.
    pub fn sent(&mut self, id: QueryId, message: MessageId) {
        if let Some(query) = self.open.get_mut(&id) {
            query.sent = Some((message.class as u8, message.sequence));
            let mut batch = Batch::default();
            query.put(id, &mut batch);
            self.store.defer(batch);
        }
    }

    /// The query that a message of the link carries.
    #[must_use]
    pub fn carried_by(&self, message: MessageId) -> Option<QueryId> {
        let message = Some((message.class as u8, message.sequence));
        let mut open = self.open.iter();
        open.find_map(|(&id, query)| (query.sent == message).then_some(id))
    }

    /// The message of the link that carries a query, as long as it is not answered.
    #[must_use]
    pub fn carrier_of(&self, query: QueryId) -> Option<MessageId> {
        let (class, sequence) = self.open.get(&query)?.sent?;
        let class = Class::from_number(class)?;
        Some(MessageId { class, sequence })
    }

    /// What an open query asks.
    #[must_use]
    pub fn get(&self, id: QueryId) -> Option<&PendingQuery> {
        self.open.get(&id).map(|query| &query.pending)
    }

    /// The queries without an answer.
    pub fn unanswered(&self) -> impl Iterator<Item = (QueryId, &PendingQuery)> {
        self.open.iter().map(|(&id, query)| (id, &query.pending))
    }
}

impl OpenQuery {
    fn put(&self, id: QueryId, batch: &mut Batch) {
        let value = serde_json::to_vec(self).unwrap_or_default();
        batch.put(OPEN, &id.to_be_bytes(), &value);
    }
}

fn take_over(path: &Path, store: &Store) -> Result<(), StoreError> {
    let content = match fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            let path = path.to_owned();
            return Err(StoreError::File { path, source });
        }
    };
    if let Ok(file) = serde_json::from_slice::<QueryFile>(&content) {
        let mut batch = Batch::default();
        for (id, pending) in file.open {
            let sent = file.sent.get(&id).copied();
            OpenQuery { pending, sent }.put(id, &mut batch);
        }
        batch.put(NEXT, &[], &file.next.to_be_bytes());
        store.commit(&batch)?;
    }
    set_aside(path)
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

    fn open(dir: &Path, last: Option<QueryId>) -> PendingQueries {
        let (store, _) = Store::open(&dir.join("store"), &[]).unwrap();
        PendingQueries::open(&store, dir, last).unwrap()
    }

    #[test]
    fn ids_are_not_used_again_while_open_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut queries = open(dir.path(), None);
        assert_eq!(queries.open_query(pending_query("a")).unwrap(), 0);
        assert_eq!(queries.open_query(pending_query("b")).unwrap(), 1);
        assert_eq!(queries.close_query(0), Some(pending_query("a")));
        assert_eq!(queries.close_query(0), None);
        drop(queries);
        let mut queries = open(dir.path(), None);
        assert_eq!(queries.open_query(pending_query("c")).unwrap(), 2);
        queries.next = 1;
        assert_eq!(
            queries.open_query(pending_query("d")).unwrap(),
            3,
            "1 and 2 are open"
        );
        assert_eq!(queries.unanswered().count(), 3);
    }

    #[test]
    fn the_file_of_an_earlier_version_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let file = r#"{"next":5,"open":{"3":{"tile":"a","instruction":"count","question":null}},
            "sent":{"3":[1,7]}}"#;
        std::fs::write(dir.path().join("queries.json"), file).unwrap();
        let mut queries = open(dir.path(), None);
        assert_eq!(queries.get(3), Some(&pending_query("a")));
        assert_eq!(queries.open[&3].sent, Some((1, 7)));
        assert_eq!(queries.open_query(pending_query("b")).unwrap(), 5);
        assert!(!dir.path().join("queries.json").exists());
    }

    /// An empty file once kept the ground program from starting, with the wrong remedy.
    #[test]
    fn d23_a_damaged_file_is_set_aside_and_its_ids_are_not_used_again() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("queries.json"), "").unwrap();
        let mut queries = open(dir.path(), Some(7));
        assert_eq!(
            queries.open_query(pending_query("a")).unwrap(),
            7 + MAX_OPEN
        );
        assert!(dir.path().join("queries.json.imported").exists());
    }
}
