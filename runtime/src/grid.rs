//! A set of cells of the 3x3 grid.

use std::fmt;

use deltavlm_bundle::Cell;

/// Cells of the 3x3 grid: bit `i` is [`Cell::ALL`]`[i]`, row by row from the top left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Grid(u16);

impl Grid {
    /// No cell.
    pub const EMPTY: Self = Self(0);

    /// The grid with these bits; bits beyond the ninth are dropped.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & 0x1ff)
    }

    /// The nine bits.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Adds a cell.
    pub fn insert(&mut self, cell: Cell) {
        self.0 |= cell.bit();
    }

    /// Whether the cell belongs to the set.
    pub const fn contains(self, cell: Cell) -> bool {
        self.0 & cell.bit() != 0
    }

    /// Whether no cell belongs to the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The cells in the order of their bits.
    pub fn cells(self) -> impl Iterator<Item = Cell> {
        Cell::ALL
            .into_iter()
            .filter(move |&cell| self.contains(cell))
    }

    /// The published names of the cells.
    pub fn names(self) -> Vec<&'static str> {
        self.cells().map(Cell::name).collect()
    }
}

impl FromIterator<Cell> for Grid {
    fn from_iter<I: IntoIterator<Item = Cell>>(cells: I) -> Self {
        let mut grid = Self::EMPTY;
        cells.into_iter().for_each(|cell| grid.insert(cell));
        grid
    }
}

/// Three rows of `#` and `.`, separated by `/`: `#../.../..#`.
impl fmt::Display for Grid {
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
