//! The name of a message.

use crate::class::Class;

/// Names a message at both ends: its class, and its number among those of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// The class.
    pub class: Class,
    /// Counts up from zero.
    pub sequence: u32,
}
