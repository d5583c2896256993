//! What the ground asks.

use serde::{Deserialize, Serialize};

use crate::text::Text;

/// Names a request of the ground, so that its answer can be told from others.
/// The ground chooses it; the board only gives it back.
pub type QueryId = u16;

/// A question about one tile. A fixed instruction takes at most nine bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// Comes back in the answer.
    pub id: QueryId,
    /// The tile, as the operator numbers them.
    pub tile: u32,
    /// What is asked.
    pub instruction: Instruction,
}

/// The instruction set. Numbers are frozen in the order listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Instruction {
    /// Has anything changed?
    Classify,
    /// How many roads and buildings?
    Count,
    /// Where on the grid?
    Localize,
    /// Describe the change in a sentence.
    Caption,
    /// All of the above in one answer.
    Survey,
    /// A question in free words.
    Open(Text),
    /// A further turn of the dialogue that `after` belongs to.
    FollowUp {
        /// An earlier query about the same tile.
        after: QueryId,
        /// The question.
        text: Text,
    },
}
