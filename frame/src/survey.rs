//! The way of a registered frame: tiles, quality, order, model, changes.

use std::time::Instant;

use deltavlm_imaging::{Image, Rect};
use deltavlm_runtime::{
    Answer, AnswerContent, Answers, Budget, CellSet, LocatedCells, Model, Timing,
};

use crate::clusters::{self, Change, TileAnswer};
use crate::error::FrameError;
use crate::gate;
use crate::quality::{self, TileFault};
use crate::tiles;
use crate::view::{Settings, View};

/// What became of the tiles. `all` is the sum of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TileCounts {
    /// In the grid.
    pub all: usize,
    /// That cannot be judged.
    pub masked: usize,
    /// That the model answered about.
    pub asked: usize,
    /// That the budget left out.
    pub left: usize,
}

/// What became of one tile.
#[derive(Debug, Clone, PartialEq)]
pub enum Judged {
    /// It cannot be judged.
    Masked(TileFault),
    /// The model answered.
    Answered(TileAnswer),
    /// The budget ended before it.
    Left,
}

/// What a frame shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// Each change once, the surest first.
    pub changes: Vec<Change>,
    /// What became of how many tiles.
    pub tiles: TileCounts,
    /// Tile by tile, row by row.
    pub judged: Vec<(Rect, Judged)>,
    /// Milliseconds that quality and order took.
    pub gate_ms: f64,
    /// Where the time of the model went, all tiles together.
    pub timing: Timing,
}

/// Surveys a registered frame. `progress` is told after each tile how many of how many are done.
///
/// # Errors
/// [`FrameError`]. A deadline is none: what was not reached by then is counted as left.
pub fn survey(
    model: &mut Model,
    view: &View<'_>,
    settings: &Settings,
    budget: &Budget,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Survey, FrameError> {
    let (before, after) = (view.before, view.after);
    if before.size() != after.size() {
        return Err(FrameError::SizesDiffer {
            before: before.size(),
            after: after.size(),
        });
    }
    let started = Instant::now();
    let mut judged: Vec<(Rect, Judged)> = tiles::tiles(view, settings)?
        .into_iter()
        .map(
            |tile| match quality::fault(before, after, tile, &settings.limits) {
                Some(fault) => (tile, Judged::Masked(fault)),
                None => (tile, Judged::Left),
            },
        )
        .collect();
    let order = in_order(before, after, &judged, settings.max_tiles);
    let gate_ms = started.elapsed().as_secs_f64() * 1e3;

    let mut timing = Timing::default();
    for (done, &index) in order.iter().enumerate() {
        let tile = judged[index].0;
        match ask(model, before, after, tile, budget, &mut timing) {
            Ok(answer) => judged[index].1 = Judged::Answered(answer),
            Err(deltavlm_runtime::Error::Deadline { .. }) => break,
            Err(error) => return Err(error.into()),
        }
        progress(done + 1, order.len());
    }

    let answers: Vec<TileAnswer> = judged
        .iter()
        .filter_map(|(_, judged)| match judged {
            Judged::Answered(answer) => Some(answer.clone()),
            _ => None,
        })
        .collect();
    let count = |is: fn(&Judged) -> bool| judged.iter().filter(|(_, j)| is(j)).count();
    Ok(Survey {
        changes: clusters::changes(before.size(), &answers),
        tiles: TileCounts {
            all: judged.len(),
            masked: count(|j| matches!(j, Judged::Masked(_))),
            asked: answers.len(),
            left: count(|j| matches!(j, Judged::Left)),
        },
        judged,
        gate_ms,
        timing,
    })
}

/// Indices of the tiles that are asked: with most changed structure first.
fn in_order(
    before: &Image,
    after: &Image,
    judged: &[(Rect, Judged)],
    most: Option<usize>,
) -> Vec<usize> {
    let mut order: Vec<(usize, f32)> = judged
        .iter()
        .enumerate()
        .filter(|(_, (_, judged))| *judged == Judged::Left)
        .map(|(index, (tile, _))| (index, gate::change(before, after, *tile)))
        .collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    order.truncate(most.unwrap_or(usize::MAX));
    order.into_iter().map(|(index, _)| index).collect()
}

fn ask(
    model: &mut Model,
    before: &Image,
    after: &Image,
    tile: Rect,
    budget: &Budget,
    timing: &mut Timing,
) -> Result<TileAnswer, deltavlm_runtime::Error> {
    let cut = |picture: &Image, other: &Image| filled(picture, other, tile);
    let pair = model.pair_within(&cut(before, after), &cut(after, before), budget)?;
    let answers = model.survey_within(&pair, budget)?;
    timing.add(&pair.timing());
    timing.add(&answers.timing);
    Ok(together(tile, &answers))
}

/// A tile of a picture; what it did not see shows what the other picture saw, so that nothing
/// seems to have changed there.
fn filled(picture: &Image, other: &Image, tile: Rect) -> Image {
    let cut = |picture: &Image| picture.crop(tile.x, tile.y, tile.width, tile.height);
    let (own, other) = (cut(picture), cut(other));
    let Some(valid) = own.validity() else {
        return own;
    };
    let mut rgb = own.rgb().to_vec();
    for (at, _) in valid.iter().enumerate().filter(|(_, valid)| !**valid) {
        rgb[3 * at..][..3].copy_from_slice(&other.rgb()[3 * at..][..3]);
    }
    Image::from_rgb(own.name(), tile.width, tile.height, rgb).unwrap_or(own)
}

/// The answers of a survey as one.
fn together(tile: Rect, answers: &Answers) -> TileAnswer {
    let nowhere = LocatedCells {
        cells: CellSet::EMPTY,
        confidence: [1.0; 9],
    };
    let mut answer = TileAnswer {
        tile,
        changed: false,
        confidence: 0.0,
        roads: (0, nowhere),
        buildings: (0, nowhere),
        text: String::new(),
    };
    for Answer {
        content,
        confidence,
        text,
        ..
    } in &answers.answers
    {
        match content {
            AnswerContent::Classify { changed } => {
                (answer.changed, answer.confidence) = (*changed, *confidence);
            }
            AnswerContent::Count { roads, buildings } => {
                answer.roads.0 = roads.number;
                answer.buildings.0 = buildings.number;
            }
            AnswerContent::Localize { roads, buildings } => {
                answer.roads.1 = *roads;
                answer.buildings.1 = *buildings;
            }
            AnswerContent::Caption => answer.text.clone_from(text),
            _ => {}
        }
    }
    if let Some(finding) = answers.finding {
        (answer.changed, answer.confidence) = (finding.changed, finding.confidence);
    }
    answer
}
