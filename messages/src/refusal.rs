//! Why the board will not answer.

use serde::{Deserialize, Serialize};

use crate::QueryId;

/// There will be no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Refusal {
    /// The query's id.
    pub query: QueryId,
    /// Why not.
    pub reason: RefusalReason,
}

/// Why something was refused. Numbers are frozen in the order listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
#[non_exhaustive]
pub enum RefusalReason {
    /// Longer than the receiver takes.
    TooLarge,
    /// No room in a queue.
    QueueFull,
    /// Too many in too short a time.
    RateLimited,
    /// A command that was not authenticated as the receiver demands.
    BadAuthentication,
    /// Another job runs.
    Busy,
    /// No such tile, or no pictures of it.
    UnknownTarget,
    /// The receiver does not know how.
    Unsupported,
    /// The receiver tried and failed.
    Failed,
}

impl RefusalReason {
    /// The reason with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::TooLarge,
            1 => Self::QueueFull,
            2 => Self::RateLimited,
            3 => Self::BadAuthentication,
            4 => Self::Busy,
            5 => Self::UnknownTarget,
            6 => Self::Unsupported,
            7 => Self::Failed,
            _ => return None,
        })
    }
}
