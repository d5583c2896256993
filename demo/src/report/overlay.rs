//! The 3x3 grid over a picture: which cell has what colour.

use deltavlm_messages::{Alert, Cell, CellSet, Message};

use crate::run_log::PairLog;

/// The colour of changed roads.
pub(crate) const ROADS: [u8; 3] = [255, 159, 28];
/// The colour of changed buildings.
pub(crate) const BUILDINGS: [u8; 3] = [63, 136, 255];

/// The cells that the alert, or a survey without one, names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cells {
    pub(crate) roads: CellSet,
    pub(crate) buildings: CellSet,
}

impl Cells {
    pub(crate) const NONE: Self = Self {
        roads: CellSet::EMPTY,
        buildings: CellSet::EMPTY,
    };

    /// The cells of a chapter's alert.
    pub(crate) fn of(pair_log: &PairLog) -> Self {
        alert(pair_log).map_or(Self::NONE, |alert| Self {
            roads: alert.roads_grid,
            buildings: alert.buildings_grid,
        })
    }

    /// Column, row, and what changed there: roads, buildings.
    pub(crate) fn each(self) -> impl Iterator<Item = (u32, u32, bool, bool)> {
        Cell::ALL.into_iter().map(move |cell| {
            let index = cell as u32;
            (
                index % 3,
                index / 3,
                self.roads.contains(cell),
                self.buildings.contains(cell),
            )
        })
    }
}

/// The alert of a chapter, if one came.
pub(crate) fn alert(pair_log: &PairLog) -> Option<&Alert> {
    match &pair_log.alert.as_ref()?.message {
        Message::Alert(alert) => Some(alert),
        _ => None,
    }
}
