//! What the tiles' answers say together: each change once, however many tiles saw it.
//!
//! The answers are drawn on a raster of a twelfth of a tile. A tile spreads its counts evenly
//! over the cells that it named; where tiles overlap, the raster holds their mean. So the sum
//! over a connected region is its count, and what only one of several tiles saw counts for less.

use deltavlm_imaging::Rect;
use deltavlm_runtime::{CellSet, LocatedCells};

/// Side of the raster's pixel, as a part of a tile's side: a quarter of a cell.
const PARTS: u32 = 12;
/// A place has changed where at least this share of the tiles that saw it, weighted by how sure
/// each is, says so.
const MAJORITY: f32 = 0.4;

/// What one tile answered.
#[derive(Debug, Clone, PartialEq)]
pub struct TileAnswer {
    /// The tile, in pixels of the reference's grid.
    pub tile: Rect,
    /// Whether it has changed, and how sure that is.
    pub changed: bool,
    /// Probability of that.
    pub confidence: f32,
    /// New or vanished roads, and where.
    pub roads: (u32, LocatedCells),
    /// New or vanished buildings, and where.
    pub buildings: (u32, LocatedCells),
    /// A sentence.
    pub text: String,
}

/// A change: neighbouring changed ground.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The smallest box around it, in pixels of the reference's grid.
    pub bounds: Rect,
    /// Its centre of gravity, pixel centres at integers.
    pub centre: [f64; 2],
    /// Roads that changed.
    pub roads: u32,
    /// Buildings that changed.
    pub buildings: u32,
    /// Of the surest tile that sees it.
    pub confidence: f32,
    /// What the tile that sees most of it says.
    pub text: String,
}

/// The changes in a picture of `size`, the surest first.
pub fn changes(size: (u32, u32), answers: &[TileAnswer]) -> Vec<Change> {
    let Some(first) = answers.first() else {
        return Vec::new();
    };
    let step = (first.tile.width.min(first.tile.height) / PARTS).max(1);
    let mut raster = Raster::new(size, step);
    for answer in answers {
        raster.draw(answer);
    }
    let mut found: Vec<Change> = raster
        .regions()
        .iter()
        .map(|region| raster.change(region, answers))
        .collect();
    found.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    found
}

struct Raster {
    width: usize,
    height: usize,
    step: u32,
    size: (u32, u32),
    /// Tiles that saw the pixel.
    seen: Vec<f32>,
    /// Sum of the probabilities that it has changed.
    changed: Vec<f32>,
    /// Sums of objects to one pixel.
    roads: Vec<f32>,
    buildings: Vec<f32>,
}

impl Raster {
    fn new(size: (u32, u32), step: u32) -> Self {
        let (width, height) = (
            size.0.div_ceil(step) as usize,
            size.1.div_ceil(step) as usize,
        );
        let zeros = || vec![0.0; width * height];
        Self {
            width,
            height,
            step,
            size,
            seen: zeros(),
            changed: zeros(),
            roads: zeros(),
            buildings: zeros(),
        }
    }

    /// Pixels whose centre lies in `part`.
    fn inside(&self, part: Rect) -> impl Iterator<Item = usize> + use<> {
        let (step, half, width) = (self.step, self.step / 2, self.width);
        let span = move |from: u32, length: u32, end: usize| {
            let first = from.saturating_sub(half).div_ceil(step);
            let last = (from + length).saturating_sub(half).div_ceil(step);
            (first as usize).min(end)..(last as usize).min(end)
        };
        let columns = span(part.x, part.width, self.width);
        span(part.y, part.height, self.height)
            .flat_map(move |y| columns.clone().map(move |x| y * width + x))
    }

    fn draw(&mut self, answer: &TileAnswer) {
        for at in self.inside(answer.tile) {
            self.seen[at] += 1.0;
        }
        if !answer.changed {
            return;
        }
        let named = |cells: CellSet| {
            cells
                .cells()
                .map(|cell| answer.tile.grid_cell(3, cell as u32 / 3, cell as u32 % 3))
                .collect::<Vec<_>>()
        };
        let mut probability = vec![0.0f32; self.seen.len()];
        for (kind, (count, located)) in [&answer.roads, &answer.buildings].into_iter().enumerate() {
            let mut cells = named(located.cells);
            if cells.is_empty() && *count > 0 {
                cells.push(answer.tile);
            }
            let pixels: Vec<usize> = cells.iter().flat_map(|&cell| self.inside(cell)).collect();
            let share = *count as f32 / pixels.len().max(1) as f32;
            for at in pixels {
                let objects = if kind == 0 {
                    &mut self.roads
                } else {
                    &mut self.buildings
                };
                objects[at] += share;
                probability[at] = answer.confidence;
            }
        }
        // Changed, but not by a road or building that it could place.
        if probability.iter().all(|&p| p == 0.0) {
            for at in self.inside(answer.tile) {
                probability[at] = answer.confidence;
            }
        }
        for (sum, probability) in self.changed.iter_mut().zip(probability) {
            *sum += probability;
        }
    }

    /// Connected changed pixels, corners included.
    fn regions(&self) -> Vec<Vec<usize>> {
        let mut open: Vec<bool> = self
            .changed
            .iter()
            .zip(&self.seen)
            .map(|(&changed, &seen)| seen > 0.0 && changed / seen >= MAJORITY)
            .collect();
        let mut regions = Vec::new();
        for start in 0..open.len() {
            if !std::mem::take(&mut open[start]) {
                continue;
            }
            let (mut region, mut next) = (vec![start], 0);
            while next < region.len() {
                let (x, y) = (region[next] % self.width, region[next] / self.width);
                for ny in y.saturating_sub(1)..=(y + 1).min(self.height - 1) {
                    for nx in x.saturating_sub(1)..=(x + 1).min(self.width - 1) {
                        let at = ny * self.width + nx;
                        if std::mem::take(&mut open[at]) {
                            region.push(at);
                        }
                    }
                }
                next += 1;
            }
            regions.push(region);
        }
        regions
    }

    fn change(&self, region: &[usize], answers: &[TileAnswer]) -> Change {
        let (mut left, mut top, mut right, mut bottom) = (u32::MAX, u32::MAX, 0, 0);
        let (mut roads, mut buildings, mut centre, mut weight) = (0.0, 0.0, [0.0; 2], 0.0);
        for &at in region {
            let x = (at % self.width) as u32 * self.step;
            let y = (at / self.width) as u32 * self.step;
            (left, top) = (left.min(x), top.min(y));
            right = right.max((x + self.step).min(self.size.0));
            bottom = bottom.max((y + self.step).min(self.size.1));
            roads += self.roads[at] / self.seen[at];
            buildings += self.buildings[at] / self.seen[at];
            let probability = f64::from(self.changed[at] / self.seen[at]);
            let middle = f64::from(self.step - 1) / 2.0;
            centre[0] += probability * (f64::from(x) + middle);
            centre[1] += probability * (f64::from(y) + middle);
            weight += probability;
        }
        let bounds = Rect {
            x: left,
            y: top,
            width: right - left,
            height: bottom - top,
        };
        let seeing = || {
            answers
                .iter()
                .filter(|answer| answer.changed && answer.tile.intersection_area(&bounds) > 0)
        };
        let best = seeing().max_by_key(|answer| answer.tile.intersection_area(&bounds));
        Change {
            bounds,
            centre: centre.map(|sum| sum / weight),
            roads: roads.round() as u32,
            buildings: buildings.round() as u32,
            confidence: seeing().map(|answer| answer.confidence).fold(0.0, f32::max),
            text: best.map(|answer| answer.text.clone()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deltavlm_runtime::Cell;
    use proptest::prelude::*;

    fn located(cells: &[Cell]) -> LocatedCells {
        LocatedCells {
            cells: cells.iter().copied().collect(),
            confidence: [0.9; 9],
        }
    }

    fn answer(x: u32, y: u32, buildings: u32, cells: &[Cell]) -> TileAnswer {
        TileAnswer {
            tile: Rect {
                x,
                y,
                width: 240,
                height: 240,
            },
            changed: buildings > 0,
            confidence: 0.9,
            roads: (0, located(&[])),
            buildings: (buildings, located(cells)),
            text: format!("{buildings} built"),
        }
    }

    #[test]
    fn a_house_in_the_overlap_of_two_tiles_is_one_change_and_one_house() {
        // The right tile begins where the left one's right column of cells does.
        let answers = [
            answer(0, 0, 1, &[Cell::CenterRight]),
            answer(160, 0, 1, &[Cell::CenterLeft]),
        ];
        let found = changes((400, 240), &answers);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].buildings, 1);
        assert_eq!((found[0].bounds.x, found[0].bounds.y), (160, 80));
        assert_eq!((found[0].bounds.width, found[0].bounds.height), (80, 80));
    }

    #[test]
    fn what_one_of_four_tiles_says_is_not_a_change() {
        let mut answers: Vec<TileAnswer> = (0..3).map(|_| answer(0, 0, 0, &[])).collect();
        answers.push(answer(0, 0, 1, &[Cell::CenterCenter]));
        assert!(changes((240, 240), &answers).is_empty());
    }

    #[test]
    fn neighbouring_cells_are_one_change_also_where_a_tile_is_no_multiple_of_the_raster() {
        let mut wide = answer(
            0,
            0,
            3,
            &[Cell::CenterLeft, Cell::CenterCenter, Cell::CenterRight],
        );
        (wide.tile.width, wide.tile.height) = (256, 256);
        let found = changes((256, 256), &[wide]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].buildings, 3);
    }

    #[test]
    fn two_houses_far_apart_are_two_changes() {
        let answers = [answer(0, 0, 2, &[Cell::TopLeft, Cell::BottomRight])];
        let found = changes((240, 240), &answers);
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|change| change.buildings == 1));
    }

    #[test]
    fn a_change_without_a_place_is_the_whole_tile() {
        let mut only = answer(0, 0, 0, &[]);
        only.changed = true;
        let found = changes((240, 240), &[only]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].bounds.area(), 240 * 240);
    }

    proptest! {
        #[test]
        fn counts_are_neither_doubled_nor_lost(
            buildings in 1u32..6, cells in 1u16..512, copies in 1usize..4,
        ) {
            let named: Vec<Cell> = CellSet::from_bits(cells).cells().collect();
            let answers: Vec<TileAnswer> = (0..copies).map(|_| answer(0, 0, buildings, &named)).collect();
            let found = changes((240, 240), &answers);
            let sum: u32 = found.iter().map(|change| change.buildings).sum();
            // Each region rounds on its own.
            prop_assert!(sum.abs_diff(buildings) <= found.len() as u32, "{sum} of {buildings}");
            for change in &found {
                prop_assert!(change.bounds.x + change.bounds.width <= 240);
                prop_assert!(change.centre.iter().all(|c| (0.0..240.0).contains(c)));
            }
        }
    }
}
