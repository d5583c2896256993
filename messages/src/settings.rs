//! Settings that the ground may change.

use serde::{Deserialize, Serialize};

use crate::{Confidence, QueryId};

/// Change one setting. Answered by [`Message::Applied`](crate::Message::Applied) or a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Configure {
    /// Comes back in the answer.
    pub id: QueryId,
    /// The setting and its new value.
    pub setting: Setting,
}

/// A setting and its new value. Numbers are frozen in the order listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Setting {
    /// Raise alerts from this confidence on.
    AlertThreshold(Confidence),
    /// Seconds between health messages; zero for none.
    HealthInterval(u32),
    /// Send at most this many bytes in a second.
    Rate(u32),
    /// Send at most this many thousandths of the time, over an hour.
    DutyCycle(u16),
    /// Send nothing at all for this many seconds.
    Quiet(u32),
}
