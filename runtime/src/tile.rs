//! Frames larger than a tile: cut, asked tile by tile, and put together again.

use deltavlm_bundle::Cell;

use crate::{Answer, Body, Error, Grid, Model, Picture, Request, Timing};

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
    /// [`Error::Caller`] when the overlap is not less than the tile.
    pub fn new(tile: u32, overlap: u32) -> Result<Self, Error> {
        if tile == 0 || overlap >= tile {
            return Err(Error::Caller(format!(
                "tiles of {tile} pixels with an overlap of {overlap} never cover a frame; use an overlap below the tile"
            )));
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
    /// A cell of the 3x3 grid laid over this part.
    pub fn cell(&self, cell: Cell) -> Self {
        let (row, column) = (cell as u32 / 3, cell as u32 % 3);
        let third = |side: u32, index: u32| (u64::from(side) * u64::from(index) / 3) as u32;
        let (left, right) = (third(self.width, column), third(self.width, column + 1));
        let (top, bottom) = (third(self.height, row), third(self.height, row + 1));
        Self {
            x: self.x + left,
            y: self.y + top,
            width: right - left,
            height: bottom - top,
        }
    }

    fn intersection(&self, other: &Self) -> u64 {
        let span = |a: u32, a_len: u32, b: u32, b_len: u32| {
            u64::from((a + a_len).min(b + b_len).saturating_sub(a.max(b)))
        };
        span(self.x, self.width, other.x, other.width)
            * span(self.y, self.height, other.y, other.height)
    }

    fn area(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }
}

/// What one tile answered.
#[derive(Debug, Clone, PartialEq)]
pub struct TileAnswers {
    /// The tile.
    pub rect: Rect,
    /// One answer per request.
    pub answers: Vec<Answer>,
}

/// What a whole frame answered.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameAnswers {
    /// Tile by tile.
    pub tiles: Vec<TileAnswers>,
    /// One per request, for the frame.
    pub merged: Vec<Merged>,
    /// Where the time went, all tiles together.
    pub timing: Timing,
}

/// The tiles' answers to one request, put together.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Merged {
    /// Changed if any tile has changed.
    Classify {
        /// Whether it has.
        changed: bool,
        /// Of the tile that decided: the surest `yes`, or the least sure `no`.
        confidence: f32,
    },
    /// Sums over tiles; what lies in an overlap is shared out by area.
    Count {
        /// Roads.
        roads: u32,
        /// Buildings.
        buildings: u32,
    },
    /// Changed cells of all tiles, in pixels of the frame, and the frame's own grid.
    Localize {
        /// Roads.
        roads: Vec<Rect>,
        /// Buildings.
        buildings: Vec<Rect>,
        /// Cells of the frame that a changed cell of a tile touches by a tenth or more.
        roads_grid: Grid,
        /// The same for buildings.
        buildings_grid: Grid,
    },
    /// Texts of the tiles that have one, with their place.
    Texts(Vec<(Rect, String)>),
}

impl Model {
    /// Asks about a frame tile by tile.
    ///
    /// # Errors
    /// As [`Model::pair`] and [`Model::ask`].
    pub fn ask_frame(
        &mut self,
        before: &Picture,
        after: &Picture,
        tiling: Tiling,
        requests: &[Request],
    ) -> Result<FrameAnswers, Error> {
        if before.size() != after.size() {
            return Err(Error::SizesDiffer {
                before: before.size(),
                after: after.size(),
            });
        }
        let (width, height) = before.size();
        let mut tiles = Vec::new();
        let mut timing = Timing::default();
        for rect in tiling.rects(width, height) {
            let cut = |picture: &Picture| picture.crop(rect.x, rect.y, rect.width, rect.height);
            let guard = requests
                .first()
                .map(|request| request.guard.clone())
                .unwrap_or_default();
            let pair = self.pair_within(&cut(before), &cut(after), &guard)?;
            let (answers, asked) = self.ask_all(&pair, requests)?;
            timing.add(&pair.timing());
            timing.add(&asked);
            tiles.push(TileAnswers { rect, answers });
        }
        let frame = Rect {
            x: 0,
            y: 0,
            width,
            height,
        };
        let merged = (0..requests.len())
            .map(|index| merge(&frame, &tiles, index))
            .collect();
        Ok(FrameAnswers {
            tiles,
            merged,
            timing,
        })
    }
}

fn merge(frame: &Rect, tiles: &[TileAnswers], index: usize) -> Merged {
    let answers = || tiles.iter().map(|tile| (&tile.rect, &tile.answers[index]));
    let first = &tiles[0].answers[index].body;
    match first {
        Body::Classify { .. } => {
            let votes: Vec<(bool, f32)> = answers()
                .filter_map(|(_, answer)| match answer.body {
                    Body::Classify { changed } => Some((changed, answer.confidence)),
                    _ => None,
                })
                .collect();
            let changed = votes.iter().any(|(changed, _)| *changed);
            let deciding = votes
                .iter()
                .filter(|(vote, _)| *vote == changed)
                .map(|(_, confidence)| *confidence);
            let confidence = if changed {
                deciding.fold(0.0, f32::max)
            } else {
                deciding.fold(1.0, f32::min)
            };
            Merged::Classify {
                changed,
                confidence,
            }
        }
        Body::Count { .. } => {
            let (mut roads, mut buildings) = (0.0, 0.0);
            for (rect, answer) in answers() {
                if let Body::Count {
                    roads: r,
                    buildings: b,
                } = answer.body
                {
                    let share = own_share(rect, tiles);
                    roads += share * f64::from(r.number);
                    buildings += share * f64::from(b.number);
                }
            }
            Merged::Count {
                roads: roads.round() as u32,
                buildings: buildings.round() as u32,
            }
        }
        Body::Localize { .. } => {
            let (mut roads, mut buildings) = (Vec::new(), Vec::new());
            for (rect, answer) in answers() {
                if let Body::Localize {
                    roads: r,
                    buildings: b,
                } = answer.body
                {
                    roads.extend(r.grid.cells().map(|cell| rect.cell(cell)));
                    buildings.extend(b.grid.cells().map(|cell| rect.cell(cell)));
                }
            }
            Merged::Localize {
                roads_grid: grid_of(frame, &roads),
                buildings_grid: grid_of(frame, &buildings),
                roads,
                buildings,
            }
        }
        _ => Merged::Texts(
            answers()
                .map(|(rect, answer)| (*rect, answer.text.clone()))
                .collect(),
        ),
    }
}

/// The share of a tile that is its own, overlaps being divided among those that
/// share them (two by two; corners of four are a second-order matter).
fn own_share(rect: &Rect, tiles: &[TileAnswers]) -> f64 {
    let shared: u64 = tiles
        .iter()
        .filter(|other| other.rect != *rect)
        .map(|other| rect.intersection(&other.rect))
        .sum();
    (1.0 - shared as f64 / (2.0 * rect.area() as f64)).max(0.25)
}

fn grid_of(frame: &Rect, parts: &[Rect]) -> Grid {
    let touched = |cell: &Cell| {
        let own = frame.cell(*cell);
        parts
            .iter()
            .any(|part| part.intersection(&own) * 10 >= own.area().min(part.area()).max(1))
    };
    Cell::ALL.into_iter().filter(touched).collect()
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

    #[test]
    fn cells_are_placed_in_the_frame() {
        let rect = Rect {
            x: 100,
            y: 200,
            width: 90,
            height: 60,
        };
        let expected = Rect {
            x: 160,
            y: 220,
            width: 30,
            height: 20,
        };
        assert_eq!(rect.cell(Cell::CenterRight), expected);
        let frame = Rect {
            x: 0,
            y: 0,
            width: 300,
            height: 300,
        };
        assert_eq!(grid_of(&frame, &[expected]).names(), ["bottom-center"]);
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
            let area: u64 = Cell::ALL.iter().map(|&cell| rect.cell(cell).area()).sum();
            prop_assert_eq!(area, rect.area());
        }
    }
}
