//! What the board says by itself: a change, or a pair it could not use.

use serde::{Deserialize, Serialize};

use crate::{CellSet, Confidence, text::Text};

/// Something changed between the two pictures of a tile.
///
/// Fifteen bytes on the wire, whatever the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Alert {
    /// The tile, as the operator numbers them.
    pub tile: u32,
    /// When the later picture was taken, in seconds of the operator's own time scale.
    pub time: u32,
    /// How sure the model is that there is a change.
    pub confidence: Confidence,
    /// New roads; 31 stands for 31 and more.
    pub roads: u8,
    /// New buildings; 255 stands for 255 and more.
    pub buildings: u8,
    /// Where roads changed.
    pub roads_grid: CellSet,
    /// Where buildings changed.
    pub buildings_grid: CellSet,
    /// The pair, as [`short_hash`](crate::short_hash) names it.
    pub pair: u16,
}

impl Alert {
    /// The length of the body.
    pub const BYTES: usize = 15;
    /// The greatest number of roads that can be told apart.
    pub const MAX_ROADS: u8 = 31;

    /// Tile and time as little-endian words, then one 56-bit little-endian word, from its lowest
    /// bit: pair 16, roads grid 9, buildings grid 9, confidence 7, roads 5, buildings 8, zero 2.
    pub(crate) fn pack(&self) -> [u8; Self::BYTES] {
        let mut packed = [0; Self::BYTES];
        packed[..4].copy_from_slice(&self.tile.to_le_bytes());
        packed[4..8].copy_from_slice(&self.time.to_le_bytes());
        let word = u64::from(self.pair)
            | u64::from(self.roads_grid.bits()) << 16
            | u64::from(self.buildings_grid.bits()) << 25
            | u64::from(self.confidence.step()) << 34
            | u64::from(self.roads.min(Self::MAX_ROADS)) << 41
            | u64::from(self.buildings) << 46;
        packed[8..].copy_from_slice(&word.to_le_bytes()[..7]);
        packed
    }

    pub(crate) fn unpack(packed: &[u8; Self::BYTES]) -> Self {
        let [t0, t1, t2, t3, s0, s1, s2, s3, rest @ ..] = *packed;
        let mut word = [0; 8];
        word[..7].copy_from_slice(&rest);
        let word = u64::from_le_bytes(word);
        Self {
            tile: u32::from_le_bytes([t0, t1, t2, t3]),
            time: u32::from_le_bytes([s0, s1, s2, s3]),
            pair: word as u16,
            roads_grid: CellSet::from_bits((word >> 16) as u16),
            buildings_grid: CellSet::from_bits((word >> 25) as u16),
            confidence: Confidence::from_step((word >> 34) as u8 & 0x7F),
            roads: (word >> 41) as u8 & Self::MAX_ROADS,
            buildings: (word >> 46) as u8,
        }
    }
}

/// A pair of pictures could not be used. Sent once for each pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairFault {
    /// The tile, as the operator numbers them.
    pub tile: u32,
    /// When it was noticed, in seconds of the operator's own time scale.
    pub time: u32,
    /// What is wrong.
    pub reason: FaultReason,
    /// The file's name or whatever else helps to find it.
    pub detail: Text,
}

/// What is wrong with a pair. Numbers are frozen in the order listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FaultReason {
    /// A file of the pair is not there.
    Missing,
    /// A file could not be read.
    Unreadable,
    /// A file is not a picture.
    NotAPicture,
    /// A file ends too early.
    Truncated,
    /// A picture is of a kind that is not supported.
    Unsupported,
    /// A picture is too large.
    TooLarge,
    /// The two pictures differ in size.
    SizeMismatch,
    /// The model failed on it.
    Inference,
    /// What the board keeps on its disk was damaged.
    Storage,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_alert_survives_packing(
            tile: u32, time: u32, pair: u16, roads in 0u8..=31, buildings: u8,
            roads_grid in 0u16..512, buildings_grid in 0u16..512, confidence in 0u8..=127,
        ) {
            let alert = Alert {
                tile, time, pair, roads, buildings,
                roads_grid: CellSet::from_bits(roads_grid),
                buildings_grid: CellSet::from_bits(buildings_grid),
                confidence: Confidence::from_step(confidence),
            };
            prop_assert_eq!(Alert::unpack(&alert.pack()), alert);
        }
    }

    #[test]
    fn more_roads_than_fit_become_the_greatest_number() {
        let alert = Alert {
            tile: 0,
            time: 0,
            confidence: Confidence::from_step(127),
            roads: 200,
            buildings: 255,
            roads_grid: CellSet::from_bits(0x1FF),
            buildings_grid: CellSet::from_bits(0x1FF),
            pair: 0xFFFF,
        };
        assert_eq!(Alert::unpack(&alert.pack()), Alert { roads: 31, ..alert });
    }
}
