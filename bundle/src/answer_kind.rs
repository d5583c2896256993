//! How the answer to an instruction is typed.

use serde::{Deserialize, Serialize};

/// How an answer is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnswerKind {
    /// `yes` or `no`.
    Changed,
    /// Two numbers: roads and buildings.
    Counts,
    /// Two sets of grid cells: roads and buildings.
    Grids,
    /// Free text.
    Text,
}
