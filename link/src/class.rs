//! How urgent a message is.

/// How urgent a message is, and which sequence of numbers it belongs to.
///
/// Listed from the most to the least urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// Changes noticed, pairs that could not be read. Never expires.
    Alert = 0,
    /// Commands, short answers, refusals.
    Reply = 1,
    /// The state of the board. Newer supersedes older, and it is not kept over a power cut.
    Health = 2,
    /// Answers that carry text.
    Text = 3,
    /// Pictures.
    Chip = 4,
}

impl Class {
    /// All classes, the most urgent first.
    pub const ALL: [Self; 5] = [
        Self::Alert,
        Self::Reply,
        Self::Health,
        Self::Text,
        Self::Chip,
    ];

    /// The class with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Alert),
            1 => Some(Self::Reply),
            2 => Some(Self::Health),
            3 => Some(Self::Text),
            4 => Some(Self::Chip),
            _ => None,
        }
    }

    /// Its place in [`Class::ALL`], and its number on the wire.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether the newest message makes all older ones void.
    pub const fn latest_wins(self) -> bool {
        matches!(self, Self::Health)
    }

    /// The class of the messages of this kind: it is known even when the kind is not.
    pub const fn of_kind(kind: u8) -> Self {
        match kind >> 3 {
            0 => Self::Alert,
            1 | 2 => Self::Reply,
            3 => Self::Health,
            4 => Self::Text,
            _ => Self::Chip,
        }
    }
}
