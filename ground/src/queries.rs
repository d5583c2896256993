//! What was asked and is not answered yet, kept over restarts.

use deltavlm_carrier::disk;
use deltavlm_link::message::QueryId;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// A question that waits for its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
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
pub struct Queries {
    path: PathBuf,
    values: Values,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Values {
    next: QueryId,
    open: BTreeMap<QueryId, Asked>,
}

impl Queries {
    /// Reads the file.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let values = match std::fs::read(path) {
            Ok(content) => serde_json::from_slice(&content).map_err(io::Error::from)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Values::default(),
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
    pub fn take(&mut self, asked: Asked) -> io::Result<QueryId> {
        let mut id = self.values.next;
        while self.values.open.contains_key(&id) && self.values.open.len() < usize::from(u16::MAX) {
            id = id.wrapping_add(1);
        }
        self.values.next = id.wrapping_add(1);
        self.values.open.insert(id, asked);
        self.save().inspect_err(|_| {
            self.values.open.remove(&id);
        })?;
        Ok(id)
    }

    /// Ends a query and gives what was asked.
    ///
    /// # Errors
    /// The disk failed: the query is still open there.
    pub fn close(&mut self, id: QueryId) -> io::Result<Option<Asked>> {
        let asked = self.values.open.remove(&id);
        if asked.is_some() {
            self.save()?;
        }
        Ok(asked)
    }

    /// The queries without an answer.
    pub fn unanswered(&self) -> impl Iterator<Item = (QueryId, &Asked)> {
        self.values.open.iter().map(|(&id, asked)| (id, asked))
    }

    fn save(&self) -> io::Result<()> {
        disk::replace(&self.path, &serde_json::to_vec(&self.values)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(tile: &str) -> Asked {
        Asked {
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
        let mut queries = Queries::open(&path).unwrap();
        assert_eq!(queries.take(asked("a")).unwrap(), 0);
        assert_eq!(queries.take(asked("b")).unwrap(), 1);
        assert_eq!(queries.close(0).unwrap(), Some(asked("a")));
        assert_eq!(queries.close(0).unwrap(), None);
        let mut queries = Queries::open(&path).unwrap();
        assert_eq!(queries.take(asked("c")).unwrap(), 2);
        queries.values.next = 1;
        assert_eq!(queries.take(asked("d")).unwrap(), 3, "1 and 2 are open");
        assert_eq!(queries.unanswered().count(), 3);
    }
}
