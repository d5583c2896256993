//! Why an end will not take something.

use core::fmt;

/// Why an end will not take a message, or frames. The numbers are those of the wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum RejectReason {
    /// Longer than the receiver takes.
    TooLarge = 0,
    /// No room in a queue.
    QueueFull = 1,
    /// Too many in too short a time.
    RateLimited = 2,
    /// Not authenticated as the receiver demands.
    BadAuthentication = 3,
    /// The receiver does not take messages of this kind.
    Unsupported = 6,
    /// For a reason that this version does not know.
    Failed = 7,
    /// Another end with the same identity is on the channel, or this end's storage was replaced by
    /// another and has come back.
    DuplicateIdentity = 32,
}

impl RejectReason {
    /// The reason with this number, `None` for a number that the wire format does not define.
    ///
    /// Numbers 4 and 5 are defined and not used between two links.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::TooLarge,
            1 => Self::QueueFull,
            2 => Self::RateLimited,
            3 => Self::BadAuthentication,
            6 => Self::Unsupported,
            32 => Self::DuplicateIdentity,
            4 | 5 | 7 => Self::Failed,
            _ => return None,
        })
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the message is too large",
            Self::QueueFull => "too many messages wait",
            Self::RateLimited => "too many commands in a minute",
            Self::BadAuthentication => "frames are not authenticated as demanded",
            Self::Unsupported => "messages of this kind are not taken",
            Self::Failed => "the peer failed",
            Self::DuplicateIdentity => {
                "another end with the same craft and station numbers is on this channel"
            }
        })
    }
}
