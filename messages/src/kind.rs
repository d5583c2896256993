//! The numbers of the message kinds.

/// The frozen numbers of the message kinds: 1 to 61.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// [`Alert`](crate::Alert)
    Alert = 1,
    /// [`PairFault`](crate::PairFault)
    PairFault = 2,
    /// [`Query`](crate::Query)
    Query = 8,
    /// [`PreviewRequest`](crate::PreviewRequest)
    PreviewRequest = 9,
    /// [`Configure`](crate::Configure)
    Configure = 10,
    /// [`Message::Ping`](crate::Message::Ping)
    Ping = 11,
    /// [`Answer`](crate::Answer) without text
    Answer = 16,
    /// [`Refusal`](crate::Refusal)
    Refusal = 17,
    /// [`Message::Pong`](crate::Message::Pong)
    Pong = 18,
    /// [`Message::Applied`](crate::Message::Applied)
    Applied = 19,
    /// [`Health`](crate::Health)
    Health = 24,
    /// [`Answer`](crate::Answer) with text
    TextAnswer = 32,
    /// [`PreviewPart`](crate::PreviewPart)
    Preview = 40,
}

impl Kind {
    /// The kind with this number, `None` for one that this version does not know.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Alert,
            2 => Self::PairFault,
            8 => Self::Query,
            9 => Self::PreviewRequest,
            10 => Self::Configure,
            11 => Self::Ping,
            16 => Self::Answer,
            17 => Self::Refusal,
            18 => Self::Pong,
            19 => Self::Applied,
            24 => Self::Health,
            32 => Self::TextAnswer,
            40 => Self::Preview,
            _ => return None,
        })
    }

    /// Whether it tells the board to do something.
    pub const fn is_command(self) -> bool {
        matches!(
            self,
            Self::Query | Self::PreviewRequest | Self::Configure | Self::Ping
        )
    }
}
