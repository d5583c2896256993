//! The change mask: how likely each place of the pair is to have changed.

use std::path::Path;

use deltavlm_imaging::write_grey_png;
use deltavlm_messages::Cell;

use crate::error::Error;

/// From here on a place counts as changed.
const CHANGED: f32 = 0.5;

/// A square map of probabilities, row by row from the top left, over the whole
/// picture whatever its own size.
#[derive(Debug, Clone, PartialEq)]
pub struct Mask {
    side: usize,
    probabilities: Vec<f32>,
}

impl Mask {
    /// A map of as many rows as columns; `None` for another number of values.
    pub(crate) fn new(probabilities: Vec<f32>) -> Option<Self> {
        let side = probabilities.len().isqrt();
        (side > 0 && side * side == probabilities.len()).then_some(Self {
            side,
            probabilities,
        })
    }

    /// Rows, which are as many as columns.
    pub fn side(&self) -> usize {
        self.side
    }

    /// The probabilities, row by row.
    pub fn probabilities(&self) -> &[f32] {
        &self.probabilities
    }

    /// The share of the picture that changed.
    pub fn share(&self) -> f32 {
        self.share_where(|_, _| true)
    }

    /// The share of each cell that changed, in the order of [`Cell::ALL`].
    pub fn cell_shares(&self) -> [(Cell, f32); 9] {
        let third = |at: usize| 3 * at / self.side;
        std::array::from_fn(|cell| {
            let inside = |row, column| 3 * third(row) + third(column) == cell;
            (Cell::ALL[cell], self.share_where(inside))
        })
    }

    /// Writes the probabilities as a grey PNG: black is 0, white is 1.
    ///
    /// # Errors
    /// [`Error::Image`] when the file cannot be written.
    pub fn save_png(&self, path: &Path) -> Result<(), Error> {
        let grey: Vec<u8> = self
            .probabilities
            .iter()
            .map(|probability| (255.0 * probability).round() as u8)
            .collect();
        let side = self.side as u32;
        Ok(write_grey_png(path, side, side, &grey)?)
    }

    fn share_where(&self, inside: impl Fn(usize, usize) -> bool) -> f32 {
        let (mut all, mut changed) = (0u32, 0u32);
        for (at, &probability) in self.probabilities.iter().enumerate() {
            if inside(at / self.side, at % self.side) {
                all += 1;
                changed += u32::from(probability > CHANGED);
            }
        }
        changed as f32 / all.max(1) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_told_by_cell() {
        // The top right cell whole, a quarter of the bottom left one.
        let changed = |at: usize| {
            let (row, column) = (at / 6, at % 6);
            (row < 2 && column >= 4) || (row == 5 && column == 0)
        };
        let mask = Mask::new((0..36).map(|at| f32::from(u8::from(changed(at)))).collect());
        let mask = mask.unwrap();
        assert_eq!(mask.share(), 5.0 / 36.0);
        let shares = mask.cell_shares().map(|(_, share)| share);
        assert_eq!(shares, [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.25, 0.0, 0.0]);
        assert_eq!(mask.cell_shares()[2].0, Cell::TopRight);
    }

    #[test]
    fn what_is_no_square_is_no_mask() {
        assert_eq!(Mask::new(vec![0.0; 35]), None);
        assert_eq!(Mask::new(Vec::new()), None);
    }
}
