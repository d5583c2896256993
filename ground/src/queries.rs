//! What was asked and is not answered yet, kept over restarts.

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
}

impl PendingQueries {
    /// Reads the file.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let values = match std::fs::read(path) {
            Ok(content) => serde_json::from_slice(&content).map_err(io::Error::from)?,
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
        if pending.is_some() {
            self.save()?;
        }
        Ok(pending)
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
        let mut queries = PendingQueries::open(&path).unwrap();
        assert_eq!(queries.open_query(pending_query("a")).unwrap(), 0);
        assert_eq!(queries.open_query(pending_query("b")).unwrap(), 1);
        assert_eq!(queries.close_query(0).unwrap(), Some(pending_query("a")));
        assert_eq!(queries.close_query(0).unwrap(), None);
        let mut queries = PendingQueries::open(&path).unwrap();
        assert_eq!(queries.open_query(pending_query("c")).unwrap(), 2);
        queries.values.next = 1;
        assert_eq!(
            queries.open_query(pending_query("d")).unwrap(),
            3,
            "1 and 2 are open"
        );
        assert_eq!(queries.unanswered().count(), 3);
    }
}
