//! The cells of the 3x3 grid that `localize` answers with, and sets of them.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A cell of the 3x3 grid, in reading order; its value is its bit in a [`CellSet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Cell {
    TopLeft = 0,
    TopCenter = 1,
    TopRight = 2,
    CenterLeft = 3,
    CenterCenter = 4,
    CenterRight = 5,
    BottomLeft = 6,
    BottomCenter = 7,
    BottomRight = 8,
}

impl Cell {
    /// All cells in reading order.
    pub const ALL: [Self; 9] = [
        Self::TopLeft,
        Self::TopCenter,
        Self::TopRight,
        Self::CenterLeft,
        Self::CenterCenter,
        Self::CenterRight,
        Self::BottomLeft,
        Self::BottomCenter,
        Self::BottomRight,
    ];

    /// The name that instructions and answers use, such as `top-left`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TopLeft => "top-left",
            Self::TopCenter => "top-center",
            Self::TopRight => "top-right",
            Self::CenterLeft => "center-left",
            Self::CenterCenter => "center-center",
            Self::CenterRight => "center-right",
            Self::BottomLeft => "bottom-left",
            Self::BottomCenter => "bottom-center",
            Self::BottomRight => "bottom-right",
        }
    }

    /// The cell with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cell| cell.name() == name)
    }

    /// The cell's bit in [`CellSet::bits`].
    pub const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A set of [`Cell`]s. Invariant: only the low nine bits are ever set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CellSet(u16);

impl CellSet {
    /// No cell.
    pub const EMPTY: Self = Self(0);

    /// The cells whose bits are set; bits above the ninth are dropped.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & 0x1FF)
    }

    /// Bit `n` is cell `n` in reading order.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Adds a cell.
    pub const fn insert(&mut self, cell: Cell) {
        self.0 |= cell.bit();
    }

    /// Whether the cell is in the set.
    pub const fn contains(self, cell: Cell) -> bool {
        self.0 & cell.bit() != 0
    }

    /// Whether there is no cell in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The cells in reading order.
    pub fn cells(self) -> impl Iterator<Item = Cell> {
        Cell::ALL
            .into_iter()
            .filter(move |&cell| self.contains(cell))
    }

    /// The names of the cells in reading order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        self.cells().map(Cell::name)
    }
}

/// Three rows of `#` and `.`, separated by `/`: `#../.../..#`.
impl fmt::Display for CellSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, cell) in Cell::ALL.into_iter().enumerate() {
            if index == 3 || index == 6 {
                f.write_str("/")?;
            }
            f.write_str(if self.contains(cell) { "#" } else { "." })?;
        }
        Ok(())
    }
}

impl FromIterator<Cell> for CellSet {
    fn from_iter<I: IntoIterator<Item = Cell>>(cells: I) -> Self {
        let mut set = Self::EMPTY;
        cells.into_iter().for_each(|cell| set.insert(cell));
        set
    }
}

impl Serialize for CellSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.0)
    }
}

impl<'de> Deserialize<'de> for CellSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bits = u16::deserialize(deserializer)?;
        if bits > 0x1FF {
            return Err(serde::de::Error::custom("a grid has nine cells"));
        }
        Ok(Self(bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_numbered_in_reading_order() {
        for (bit, cell) in Cell::ALL.into_iter().enumerate() {
            assert_eq!(cell as usize, bit);
            assert_eq!(Cell::from_name(cell.name()), Some(cell));
        }
        let set: CellSet = [Cell::BottomRight, Cell::TopLeft].into_iter().collect();
        assert_eq!(set.bits(), 0b1_0000_0001);
        assert_eq!(set.to_string(), "#../.../..#");
        assert!(set.cells().eq([Cell::TopLeft, Cell::BottomRight]));
    }
}
