//! The two ends of a link.

/// Which end this is. Frames carry it, so a frame that comes back is known as one's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// On board: sends alerts and answers, takes commands.
    Board,
    /// On the ground: takes alerts and answers, sends commands.
    Ground,
}

impl Role {
    /// The other end.
    pub const fn peer(self) -> Self {
        match self {
            Self::Board => Self::Ground,
            Self::Ground => Self::Board,
        }
    }
}
