//! Which craft and which station a link is between.

use core::fmt;

/// The greatest number of a station.
pub const MAX_STATION: u8 = 127;

/// Names the two ends of a link: one craft and one station of an operator.
///
/// It goes into the nonce and the check of every frame, so a frame of another pair is never taken for
/// one of this; of it, one byte is on the air (see [`address`](Self::address)). 16 bits for the craft,
/// because the key of each craft of a fleet comes from one secret and a fleet may be larger than what
/// shares a channel; 7 bits for the station, because the nonce has no more left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LinkId {
    /// The number of the craft.
    pub craft: u16,
    /// The number of the station: 0 to [`MAX_STATION`].
    pub station: u8,
}

impl LinkId {
    /// The link between this craft and this station.
    pub const fn new(craft: u16, station: u8) -> Self {
        Self { craft, station }
    }

    /// The byte that every frame of the link carries, so that frames of others are told from damaged
    /// ones without a key: the low five bits of the craft, and above them the low three of the
    /// station. Up to 32 craft and 8 stations on one channel, numbered from zero, never share it;
    /// where two links do, the check of the frame tells them apart.
    pub const fn address(self) -> u8 {
        (self.craft & 0x1F) as u8 | (self.station & 7) << 5
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "craft {}, station {}", self.craft, self.station)
    }
}
