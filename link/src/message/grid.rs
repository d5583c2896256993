//! The 3x3 grid and confidence, as the answers use them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A cell of the 3x3 grid, in reading order; its value is its bit in a [`Grid9`].
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
}

/// A set of cells. Invariant: only the low nine bits are ever set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Grid9(u16);

impl Grid9 {
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
        self.0 |= 1 << cell as u16;
    }

    /// Whether the cell is in the set.
    pub const fn contains(self, cell: Cell) -> bool {
        self.0 >> cell as u16 & 1 == 1
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
}

impl FromIterator<Cell> for Grid9 {
    fn from_iter<I: IntoIterator<Item = Cell>>(cells: I) -> Self {
        let mut grid = Self::EMPTY;
        cells.into_iter().for_each(|cell| grid.insert(cell));
        grid
    }
}

impl Serialize for Grid9 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.0)
    }
}

impl<'de> Deserialize<'de> for Grid9 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bits = u16::deserialize(deserializer)?;
        if bits > 0x1FF {
            return Err(serde::de::Error::custom("a grid has nine cells"));
        }
        Ok(Self(bits))
    }
}

/// A probability in 127 steps. Invariant: at most [`Confidence::STEPS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Confidence(u8);

impl Confidence {
    /// The step that stands for certainty.
    pub const STEPS: u8 = 127;

    /// The nearest step to a probability; values outside 0 to 1, and NaN, become the nearest end.
    pub fn from_fraction(fraction: f32) -> Self {
        // A cast from float saturates, and NaN becomes 0.
        Self(((fraction * f32::from(Self::STEPS) + 0.5) as u8).min(Self::STEPS))
    }

    /// The given step, at most the last.
    pub const fn from_step(step: u8) -> Self {
        Self(if step > Self::STEPS {
            Self::STEPS
        } else {
            step
        })
    }

    /// The step, 0 to [`Confidence::STEPS`].
    pub const fn step(self) -> u8 {
        self.0
    }

    /// The probability, 0 to 1.
    pub fn fraction(self) -> f32 {
        f32::from(self.0) / f32::from(Self::STEPS)
    }
}

impl Serialize for Confidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.0)
    }
}

impl<'de> Deserialize<'de> for Confidence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let step = u8::deserialize(deserializer)?;
        if step > Self::STEPS {
            return Err(serde::de::Error::custom("confidence has 127 steps"));
        }
        Ok(Self(step))
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
        let grid: Grid9 = [Cell::BottomRight, Cell::TopLeft].into_iter().collect();
        assert_eq!(grid.bits(), 0b1_0000_0001);
        assert!(grid.cells().eq([Cell::TopLeft, Cell::BottomRight]));
    }

    #[test]
    fn confidence_takes_any_float() {
        assert_eq!(Confidence::from_fraction(f32::NAN).step(), 0);
        assert_eq!(Confidence::from_fraction(-1.0).step(), 0);
        assert_eq!(Confidence::from_fraction(f32::INFINITY).step(), 127);
        for step in 0..=127 {
            assert_eq!(
                Confidence::from_fraction(Confidence::from_step(step).fraction()).step(),
                step
            );
        }
    }
}
