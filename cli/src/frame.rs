//! `dvlm frame`: the way of a frame from a picture to changes with a place.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use deltavlm_cli::CliError;
use deltavlm_frame::{Change, Judged, Settings, Survey, View, survey};
use deltavlm_imaging::geo::GeoPoint;
use deltavlm_imaging::register::{Homography, warp};
use deltavlm_imaging::{Image, Rect, write_png};
use deltavlm_runtime::{Budget, Model};
use serde_json::{Map, Value, json};

use crate::align::Verdict;
use crate::alignment::{Alignment, SearchArguments};
use crate::common::{EngineArguments, bar, print};

/// Brings a frame onto a reference, asks tile by tile, and tells each change once.
///
/// Ends with 0 when the frame was judged and 3 when it was refused.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The bundle directory.
    #[arg(long, value_name = "DIR")]
    bundle: PathBuf,
    #[command(flatten)]
    search: SearchArguments,
    /// Side of a tile on the ground, where the reference says how large its pixels are
    /// [default: 128].
    #[arg(long, value_name = "METRES")]
    tile_m: Option<f64>,
    /// Side of a tile in pixels of the reference, where it does not [default: 256].
    #[arg(long, value_name = "PIXELS")]
    tile: Option<u32>,
    /// Part of a tile that the next one shares with it [default: 0.25].
    #[arg(long, value_name = "0..0.75")]
    overlap: Option<f64>,
    /// Ask no more tiles than these, the ones with most changed structure.
    #[arg(long, value_name = "N")]
    max_tiles: Option<usize>,
    /// Ask no more tiles after this many milliseconds.
    #[arg(long, value_name = "MS")]
    deadline: Option<u64>,
    /// Write before.png, after.png and changes.png here, on the reference's grid.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArguments,
    /// Print one JSON document.
    #[arg(long, conflicts_with = "geojson")]
    json: bool,
    /// Print the changes as GeoJSON; needs a reference with a georeference.
    #[arg(long)]
    geojson: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Verdict, CliError> {
    let started = Instant::now();
    let options = arguments.engine.options();
    let alignment = Alignment::find(&arguments.search, &options.decode)?;
    let map = alignment.places.reference.georeference.as_ref();
    if arguments.geojson && map.is_none() {
        return Err(CliError::Malformed {
            path: arguments.search.reference.clone(),
            problem: "has no georeference, which GeoJSON needs; ask for `--json`".to_owned(),
        });
    }
    let refused = |document: Map<String, Value>| {
        if arguments.json || arguments.geojson {
            print(&Value::Object(document).to_string())?;
        } else {
            alignment.print_text(&arguments.search)?;
        }
        Ok(Verdict::Refused)
    };
    let Some(reference) = alignment
        .reference
        .as_ref()
        .filter(|_| alignment.found.is_aligned())
    else {
        return refused(alignment.document());
    };
    let before = &reference.image;
    let Some(warped) = warp(&alignment.frame, &alignment.found.homography, before.size()) else {
        return refused(alignment.document());
    };
    let after = warped.image.with_validity(warped.valid)?;
    let warped_at = started.elapsed();

    let view = View {
        before,
        after: &after,
        origin: origin(&alignment.to_whole()),
        ground_m_per_px: ground_m_per_px(&alignment, before),
    };
    let usual = Settings::default();
    let settings = Settings {
        tile_m: arguments.tile_m.unwrap_or(usual.tile_m),
        tile_px: arguments.tile.unwrap_or(usual.tile_px),
        overlap: arguments.overlap.unwrap_or(usual.overlap),
        max_tiles: arguments.max_tiles,
        limits: usual.limits,
    };
    let mut model = Model::open(&arguments.bundle, &options)?;
    let budget = Budget {
        deadline: arguments
            .deadline
            .map(|ms| Instant::now() + Duration::from_millis(ms)),
        cancel: None,
    };
    let bar = bar(0, "tiles");
    let found = survey(&mut model, &view, &settings, &budget, &mut |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    if let Some(directory) = &arguments.out {
        write_pictures(directory, before, &after, &found)?;
    }

    let report = Report {
        alignment: &alignment,
        survey: &found,
        ground_m_per_px: view.ground_m_per_px,
        timing: json!({
            "align": alignment.ms,
            "warp": warped_at.as_secs_f64() * 1e3 - alignment.ms,
            "load": model.load_ms(),
            "gate": found.gate_ms,
            "model": found.timing.total(),
            "total": started.elapsed().as_secs_f64() * 1e3,
        }),
    };
    if arguments.geojson {
        print(&report.geojson().to_string())?;
    } else if arguments.json {
        print(&report.document().to_string())?;
    } else {
        report.print_text(&arguments.search)?;
    }
    Ok(Verdict::Aligned)
}

/// Where the part that was read begins in the whole, in pixels of the part.
fn origin(to_whole: &Homography) -> Option<(u32, u32)> {
    let corner = to_whole.apply([-0.5, -0.5]);
    let scale = to_whole.0[0];
    let at = corner.map(|edge| ((edge + 0.5) / scale).round().max(0.0) as u32);
    (*to_whole != Homography::IDENTITY).then_some((at[0], at[1]))
}

/// Of the part that was read, in its middle.
fn ground_m_per_px(alignment: &Alignment, before: &Image) -> Option<f64> {
    let places = &alignment.places;
    let to_whole = alignment.to_whole();
    let (width, height) = before.size();
    let [x, y] = to_whole.apply([f64::from(width) / 2.0, f64::from(height) / 2.0]);
    let whole = match &places.reference.georeference {
        Some(map) => map.value.ground_m_per_px(x, y)?,
        None => places.reference.ground_m_per_px(places.ground)?.value,
    };
    Some(whole * to_whole.0[0])
}

struct Report<'a> {
    alignment: &'a Alignment,
    survey: &'a Survey,
    ground_m_per_px: Option<f64>,
    timing: Value,
}

/// A change in the whole reference and on the map.
struct Placed {
    bounds: [f64; 4],
    at: Option<GeoPoint>,
    corners: Option<[GeoPoint; 4]>,
    extent_m: Option<f64>,
    accuracy_m: Option<f64>,
}

impl Report<'_> {
    fn placed(&self, change: &Change) -> Placed {
        let to_whole = self.alignment.to_whole();
        let Rect {
            x,
            y,
            width,
            height,
        } = change.bounds;
        let edge = |x: u32, y: u32| to_whole.apply([f64::from(x) - 0.5, f64::from(y) - 0.5]);
        let (upper, lower) = (edge(x, y), edge(x + width, y + height));
        let centre = to_whole.apply(change.centre);
        let map = self.alignment.places.reference.georeference.as_ref();
        let on_map = |[x, y]: [f64; 2]| map.and_then(|map| map.value.to_wgs84(x, y));
        let corners = [upper, [lower[0], upper[1]], lower, [upper[0], lower[1]]].map(on_map);
        let extent_m = self
            .ground_m_per_px
            .map(|metres| metres * f64::from(width.max(height)));
        // The model says in which ninth of a tile: half of that is how far the centre may lie off.
        let of_cell = self.survey.judged.first().zip(self.ground_m_per_px);
        let of_cell = of_cell.map(|((tile, _), metres)| metres * f64::from(tile.width) / 6.0);
        Placed {
            bounds: [
                upper[0] + 0.5,
                upper[1] + 0.5,
                lower[0] - upper[0],
                lower[1] - upper[1],
            ],
            at: on_map(centre),
            corners: match corners {
                [Some(a), Some(b), Some(c), Some(d)] => Some([a, b, c, d]),
                _ => None,
            },
            extent_m,
            accuracy_m: self
                .alignment
                .residual_m(centre)
                .zip(of_cell)
                .map(|(residual, cell)| residual.hypot(cell)),
        }
    }

    fn change(&self, id: usize, change: &Change) -> Value {
        let placed = self.placed(change);
        json!({
            "id": id,
            "bbox": placed.bounds.map(f64::round),
            "lat": placed.at.map(|at| at.lat),
            "lon": placed.at.map(|at| at.lon),
            "extent_m": placed.extent_m,
            "accuracy_m": placed.accuracy_m,
            "roads": change.roads,
            "buildings": change.buildings,
            "confidence": change.confidence,
            "text": change.text,
        })
    }

    fn document(&self) -> Value {
        let mut fields = self.alignment.document();
        let tiles = &self.survey.tiles;
        let changes = self.survey.changes.iter().enumerate();
        let changes: Vec<Value> = changes.map(|(id, c)| self.change(id, c)).collect();
        let masked: Vec<Value> = self
            .survey
            .judged
            .iter()
            .filter_map(|(tile, judged)| match judged {
                Judged::Masked(fault) => Some(json!({
                    "reason": fault.name(),
                    "bbox": [tile.x, tile.y, tile.width, tile.height],
                })),
                _ => None,
            })
            .collect();
        fields.insert("ground_m_per_px".to_owned(), json!(self.ground_m_per_px));
        fields.insert(
            "tiles".to_owned(),
            json!({
                "all": tiles.all, "masked": tiles.masked, "asked": tiles.asked, "left": tiles.left,
            }),
        );
        fields.insert("masked".to_owned(), Value::Array(masked));
        fields.insert("changes".to_owned(), Value::Array(changes));
        fields.insert("timing_ms".to_owned(), self.timing.clone());
        Value::Object(fields)
    }

    fn geojson(&self) -> Value {
        let changes = self.survey.changes.iter().enumerate();
        let features: Vec<Value> = changes
            .filter_map(|(id, change)| {
                let corners = self.placed(change).corners?;
                let mut ring = corners.map(|corner| [corner.lon, corner.lat]).to_vec();
                ring.push(ring[0]);
                // Counter-clockwise, as RFC 7946 asks.
                ring.reverse();
                Some(json!({
                    "type": "Feature",
                    "geometry": {"type": "Polygon", "coordinates": [ring]},
                    "properties": self.change(id, change),
                }))
            })
            .collect();
        json!({"type": "FeatureCollection", "features": features})
    }

    fn print_text(&self, search: &SearchArguments) -> Result<(), CliError> {
        self.alignment.print_text(search)?;
        let tiles = &self.survey.tiles;
        print(&format!(
            "  tiles        {} asked of {}; {} cannot be judged, {} left out",
            tiles.asked, tiles.all, tiles.masked, tiles.left
        ))?;
        if self.survey.changes.is_empty() {
            print("no change where it could be judged")?;
        }
        for change in &self.survey.changes {
            let placed = self.placed(change);
            let at = match (placed.at, placed.accuracy_m) {
                (Some(at), Some(m)) => format!("{:.6}, {:.6} within {m:.0} m", at.lat, at.lon),
                _ => format!("pixel {:.0}, {:.0}", placed.bounds[0], placed.bounds[1]),
            };
            print(&format!(
                "changed at {at}: {} roads, {} buildings, {:.0} % sure: {}",
                change.roads,
                change.buildings,
                100.0 * change.confidence,
                change.text
            ))?;
        }
        Ok(())
    }
}

fn write_pictures(
    directory: &Path,
    before: &Image,
    after: &Image,
    found: &Survey,
) -> Result<(), CliError> {
    std::fs::create_dir_all(directory).map_err(|source| CliError::Io {
        path: directory.to_owned(),
        source,
    })?;
    write_png(&directory.join("before.png"), before)?;
    write_png(&directory.join("after.png"), after)?;
    Ok(write_png(
        &directory.join("changes.png"),
        &drawn(after, found)?,
    )?)
}

/// The frame with its changes framed in red; what could not be judged is dimmed.
fn drawn(after: &Image, found: &Survey) -> Result<Image, CliError> {
    let (width, height) = after.size();
    let mut seen = vec![false; width as usize * height as usize];
    for (tile, judged) in &found.judged {
        if matches!(judged, Judged::Answered(_)) {
            for y in tile.y..tile.y + tile.height {
                seen[y as usize * width as usize + tile.x as usize..][..tile.width as usize]
                    .fill(true);
            }
        }
    }
    let mut rgb = after.rgb().to_vec();
    for (pixel, seen) in rgb.chunks_exact_mut(3).zip(&seen) {
        if !seen {
            pixel.iter_mut().for_each(|value| *value /= 3);
        }
    }
    let line = (width.max(height) / 400).max(1);
    for Change { bounds, .. } in &found.changes {
        for y in bounds.y..bounds.y + bounds.height {
            for x in bounds.x..bounds.x + bounds.width {
                let inside = x >= bounds.x + line
                    && x + line < bounds.x + bounds.width
                    && y >= bounds.y + line
                    && y + line < bounds.y + bounds.height;
                if !inside {
                    let at = 3 * (y as usize * width as usize + x as usize);
                    rgb[at..at + 3].copy_from_slice(&[230, 40, 30]);
                }
            }
        }
    }
    Ok(Image::from_rgb("changes", width, height, rgb)?)
}
