//! Changes that take effect together.

use std::collections::BTreeMap;

/// Changes of records that take effect together or not at all. Of several changes of one record
/// the last counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch(BTreeMap<(&'static str, Vec<u8>), Option<Vec<u8>>>);

impl Batch {
    /// Writes a record; one with the same key is replaced.
    pub fn put(&mut self, collection: &'static str, key: &[u8], value: &[u8]) {
        self.0
            .insert((collection, key.to_vec()), Some(value.to_vec()));
    }

    /// Removes a record, if there is one.
    pub fn remove(&mut self, collection: &'static str, key: &[u8]) {
        self.0.insert((collection, key.to_vec()), None);
    }

    /// Adds the changes of `later`, which come after these.
    pub fn append(&mut self, later: Self) {
        self.0.extend(later.0);
    }

    /// Whether there is nothing to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn changes(&self) -> impl Iterator<Item = (&'static str, &[u8], Option<&[u8]>)> {
        self.0
            .iter()
            .map(|((collection, key), value)| (*collection, key.as_slice(), value.as_deref()))
    }
}
