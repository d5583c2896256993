//! How urgent a message is.

/// How urgent a message is, and which sequence of numbers it belongs to.
///
/// Listed from the most to the least urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// What must not wait. Never expires, unless configured to.
    Urgent = 0,
    /// Short exchanges that somebody waits for, such as commands and their answers.
    Interactive = 1,
    /// Periodic status: newer supersedes older, and it is not kept over a power cut.
    Telemetry = 2,
    /// What takes a few frames and can wait for the above.
    Routine = 3,
    /// Large transfers, which fill whatever is left of the rate.
    Bulk = 4,
}

impl Class {
    /// All classes, the most urgent first.
    pub const ALL: [Self; 5] = [
        Self::Urgent,
        Self::Interactive,
        Self::Telemetry,
        Self::Routine,
        Self::Bulk,
    ];

    /// The class with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Urgent),
            1 => Some(Self::Interactive),
            2 => Some(Self::Telemetry),
            3 => Some(Self::Routine),
            4 => Some(Self::Bulk),
            _ => None,
        }
    }

    /// Its place in [`Class::ALL`], and its number on the wire.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether the newest message makes all older ones void.
    pub const fn latest_wins(self) -> bool {
        matches!(self, Self::Telemetry)
    }

    /// The class of the messages of this kind (kinds 0 to 7, 8 to 23, 24 to 31, 32 to 39, and the
    /// rest): it is known even when the kind is not.
    pub const fn of_kind(kind: u8) -> Self {
        match kind >> 3 {
            0 => Self::Urgent,
            1 | 2 => Self::Interactive,
            3 => Self::Telemetry,
            4 => Self::Routine,
            _ => Self::Bulk,
        }
    }
}
