//! Frames larger than a tile: cut, asked tile by tile, and put together again.

use deltavlm_imaging::{Image, Rect, Tiling};
use deltavlm_messages::{Cell, CellSet};

use crate::answer::{Answer, AnswerContent};
use crate::budget::Budget;
use crate::error::Error;
use crate::model::Model;
use crate::request::Request;
use crate::timing::Timing;

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
        roads_grid: CellSet,
        /// The same for buildings.
        buildings_grid: CellSet,
    },
    /// Texts of the tiles that have one, with their place.
    Texts(Vec<(Rect, String)>),
}

impl Model {
    /// Asks about a frame tile by tile, giving up between two steps when `budget`
    /// says so.
    ///
    /// # Errors
    /// As [`Model::pair`] and [`Model::ask_within`].
    pub fn ask_frame(
        &mut self,
        before: &Image,
        after: &Image,
        tiling: Tiling,
        requests: &[Request],
        budget: &Budget,
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
            let cut = |picture: &Image| picture.crop(rect.x, rect.y, rect.width, rect.height);
            let pair = self.pair_within(&cut(before), &cut(after), budget)?;
            let asked = self.ask_within(&pair, requests, budget)?;
            timing.add(&pair.timing());
            timing.add(&asked.timing);
            tiles.push(TileAnswers {
                rect,
                answers: asked.answers,
            });
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
    let first = &tiles[0].answers[index].content;
    match first {
        AnswerContent::Classify { .. } => {
            let votes: Vec<(bool, f32)> = answers()
                .filter_map(|(_, answer)| match answer.content {
                    AnswerContent::Classify { changed } => Some((changed, answer.confidence)),
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
        AnswerContent::Count { .. } => {
            let (mut roads, mut buildings) = (0.0, 0.0);
            for (rect, answer) in answers() {
                if let AnswerContent::Count {
                    roads: r,
                    buildings: b,
                } = answer.content
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
        AnswerContent::Localize { .. } => {
            let (mut roads, mut buildings) = (Vec::new(), Vec::new());
            for (rect, answer) in answers() {
                if let AnswerContent::Localize {
                    roads: r,
                    buildings: b,
                } = answer.content
                {
                    roads.extend(r.cells.cells().map(|cell| cell_of(rect, cell)));
                    buildings.extend(b.cells.cells().map(|cell| cell_of(rect, cell)));
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
        .map(|other| rect.intersection_area(&other.rect))
        .sum();
    (1.0 - shared as f64 / (2.0 * rect.area() as f64)).max(0.25)
}

/// A cell of the 3x3 grid laid over a part.
fn cell_of(part: &Rect, cell: Cell) -> Rect {
    part.grid_cell(3, cell as u32 / 3, cell as u32 % 3)
}

fn grid_of(frame: &Rect, parts: &[Rect]) -> CellSet {
    let touched = |cell: &Cell| {
        let own = cell_of(frame, *cell);
        parts
            .iter()
            .any(|part| part.intersection_area(&own) * 10 >= own.area().min(part.area()).max(1))
    };
    Cell::ALL.into_iter().filter(touched).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(cell_of(&rect, Cell::CenterRight), expected);
        let frame = Rect {
            x: 0,
            y: 0,
            width: 300,
            height: 300,
        };
        assert!(grid_of(&frame, &[expected]).names().eq(["bottom-center"]));
    }
}
