//! Frames larger than a tile, cut into overlapping tiles.

use crate::error::ImageError;

/// How a frame is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiling {
    tile: u32,
    overlap: u32,
}

/// A part of a frame, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rect {
    /// Left edge.
    pub x: u32,
    /// Upper edge.
    pub y: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

impl Tiling {
    /// Square tiles with this side, neighbours sharing `overlap` pixels.
    ///
    /// # Errors
    /// [`ImageError::TileOverlap`] when the overlap is not less than the tile.
    pub fn new(tile: u32, overlap: u32) -> Result<Self, ImageError> {
        if tile == 0 || overlap >= tile {
            return Err(ImageError::TileOverlap { tile, overlap });
        }
        Ok(Self { tile, overlap })
    }

    /// The tiles of a frame, row by row. All have the same size; the last of a row
    /// or column is moved inwards instead of being cut.
    pub fn rects(&self, width: u32, height: u32) -> Vec<Rect> {
        let (columns, rows) = (self.starts(width), self.starts(height));
        let (width, height) = (self.tile.min(width), self.tile.min(height));
        rows.iter()
            .flat_map(|&y| {
                columns.iter().map(move |&x| Rect {
                    x,
                    y,
                    width,
                    height,
                })
            })
            .collect()
    }

    fn starts(&self, side: u32) -> Vec<u32> {
        let last = side.saturating_sub(self.tile);
        let step = (self.tile - self.overlap) as usize;
        let mut starts: Vec<u32> = (0..last).step_by(step).collect();
        starts.push(last);
        starts
    }
}

impl Rect {
    /// A cell of the grid of `side` x `side` cells laid over this part.
    ///
    /// # Panics
    /// When `side` is 0.
    pub fn grid_cell(&self, side: u32, row: u32, column: u32) -> Self {
        let cut = |length: u32, index: u32| {
            (u64::from(length) * u64::from(index) / u64::from(side)) as u32
        };
        let (left, right) = (cut(self.width, column), cut(self.width, column + 1));
        let (top, bottom) = (cut(self.height, row), cut(self.height, row + 1));
        Self {
            x: self.x + left,
            y: self.y + top,
            width: right - left,
            height: bottom - top,
        }
    }

    /// Pixels that both have in common.
    pub fn intersection_area(&self, other: &Self) -> u64 {
        let span = |a: u32, a_len: u32, b: u32, b_len: u32| {
            u64::from((a + a_len).min(b + b_len).saturating_sub(a.max(b)))
        };
        span(self.x, self.width, other.x, other.width)
            * span(self.y, self.height, other.y, other.height)
    }

    /// Pixels.
    pub fn area(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_overlap_as_large_as_the_tile_is_refused() {
        assert!(Tiling::new(64, 64).is_err());
        assert!(Tiling::new(0, 0).is_err());
    }

    proptest! {
        #[test]
        fn tiles_cover_the_frame_and_stay_inside(
            width in 1u32..500, height in 1u32..500, tile in 1u32..200, overlap in 0u32..100,
        ) {
            prop_assume!(overlap < tile);
            let rects = Tiling::new(tile, overlap).unwrap().rects(width, height);
            for rect in &rects {
                prop_assert!(rect.x + rect.width <= width && rect.y + rect.height <= height);
                prop_assert_eq!((rect.width, rect.height), (tile.min(width), tile.min(height)));
            }
            for (x, y) in [(0, 0), (width - 1, height - 1), (width / 2, height / 3), (width - 1, 0)] {
                let covers = |r: &Rect| r.x <= x && x < r.x + r.width && r.y <= y && y < r.y + r.height;
                prop_assert!(rects.iter().any(covers));
            }
        }

        #[test]
        fn cells_tile_their_part(width in 3u32..500, height in 3u32..500) {
            let rect = Rect { x: 7, y: 9, width, height };
            let area: u64 = (0..9).map(|cell| rect.grid_cell(3, cell / 3, cell % 3).area()).sum();
            prop_assert_eq!(area, rect.area());
        }
    }
}
