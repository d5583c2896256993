//! Where a tile lies on the map, and alerts as GeoJSON.

use crate::{record::RecordEntry, render};
use deltavlm_messages::tile_number;
use deltavlm_messages::{Alert, CellSet, Message};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
};

/// West, south, east, north in degrees (WGS 84).
pub type Bounds = [f64; 4];

/// Where tiles lie: a list of them, or a regular grid, or both.
#[derive(Debug, Clone, Default)]
pub struct Tiles {
    listed: HashMap<u32, Bounds>,
    grid: Option<TileGrid>,
}

/// Tiles numbered row by row from the north-west corner.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TileGrid {
    /// The grid's western edge.
    pub west: f64,
    /// The grid's northern edge.
    pub north: f64,
    /// A tile's width in degrees of longitude.
    pub width: f64,
    /// A tile's height in degrees of latitude.
    pub height: f64,
    /// Tiles in a row.
    pub columns: u32,
    /// The number of the first tile.
    #[serde(default)]
    pub first: u32,
}

/// Why a tiles file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TilesError {
    /// The file cannot be read.
    #[error("tiles file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not the JSON that is asked for.
    #[error(
        "tiles file {path}: {source}; write {{\"tiles\": {{\"NAME\": [west, south, east, north]}}}} \
         or {{\"grid\": {{\"west\", \"north\", \"width\", \"height\", \"columns\", \"first\"}}}}"
    )]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// A tile lies nowhere on earth.
    #[error(
        "tiles file {path}: {place}: not west < east within +-180 and south < north within +-90"
    )]
    Bounds {
        /// The file.
        path: PathBuf,
        /// The tile's name, or `grid`.
        place: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    tiles: HashMap<String, Bounds>,
    #[serde(default)]
    grid: Option<TileGrid>,
}

impl Tiles {
    /// Reads a tiles file.
    ///
    /// # Errors
    /// The file cannot be read, is no such JSON, or places a tile outside the earth.
    pub fn read(path: &Path) -> Result<Self, TilesError> {
        let owned = || path.to_owned();
        let text = std::fs::read(path).map_err(|source| TilesError::Io {
            path: owned(),
            source,
        })?;
        let file: File = serde_json::from_slice(&text).map_err(|source| TilesError::Json {
            path: owned(),
            source,
        })?;
        let wrong = |place: &str| TilesError::Bounds {
            path: owned(),
            place: place.to_owned(),
        };
        if let Some((message_key, _)) = file.tiles.iter().find(|(_, bounds)| !is_on_earth(**bounds))
        {
            return Err(wrong(message_key));
        }
        let grid_fits = |grid: &TileGrid| grid.columns > 0 && is_on_earth(grid.bounds(grid.first));
        if file.grid.as_ref().is_some_and(|grid| !grid_fits(grid)) {
            return Err(wrong("grid"));
        }
        let listed = file
            .tiles
            .iter()
            .map(|(message_key, &bounds)| (tile_number(message_key), bounds))
            .collect();
        Ok(Self {
            listed,
            grid: file.grid,
        })
    }

    /// Where the tile lies, as far as it is known.
    #[must_use]
    pub fn bounds(&self, tile: u32) -> Option<Bounds> {
        self.listed.get(&tile).copied().or_else(|| {
            let grid = self.grid.filter(|grid| tile >= grid.first)?;
            Some(grid.bounds(tile)).filter(|&bounds| is_on_earth(bounds))
        })
    }
}

impl TileGrid {
    fn bounds(&self, tile: u32) -> Bounds {
        let index = tile - self.first;
        let west = self.west + f64::from(index % self.columns) * self.width;
        let north = self.north - f64::from(index / self.columns) * self.height;
        [west, north - self.height, west + self.width, north]
    }
}

fn is_on_earth([west, south, east, north]: Bounds) -> bool {
    (-180.0..=180.0).contains(&west)
        && (-180.0..=180.0).contains(&east)
        && (-90.0..=90.0).contains(&south)
        && (-90.0..=90.0).contains(&north)
        && west < east
        && south < north
}

/// All alerts of the record as a GeoJSON feature collection: the tile's outline, and each
/// changed cell of its 3x3 grid. An alert whose tile has no known place has no geometry.
#[must_use]
pub fn collection(entries: &[RecordEntry], tiles: &Tiles) -> Value {
    let features: Vec<Value> = entries
        .iter()
        .filter_map(|entry| match &entry.message {
            Message::Alert(alert) => Some((entry.received, alert)),
            _ => None,
        })
        .flat_map(|(received, alert)| features(received, alert, tiles))
        .collect();
    json!({ "type": "FeatureCollection", "features": features })
}

fn features(received: u64, alert: &Alert, tiles: &Tiles) -> Vec<Value> {
    let bounds = tiles.bounds(alert.tile);
    let mut properties = render::message_json(&Message::Alert(*alert), None);
    properties["kind"] = json!("tile");
    properties["received"] = json!(received);
    let mut features = vec![feature(bounds, properties)];
    let Some(bounds) = bounds else {
        return features;
    };
    for (grid, kind) in [
        (alert.roads_grid, "roads"),
        (alert.buildings_grid, "buildings"),
    ] {
        for (index, name) in cells(grid) {
            let properties = json!({
                "kind": kind, "tile": alert.tile, "time": alert.time, "cell": name,
            });
            features.push(feature(Some(cell_bounds(bounds, index)), properties));
        }
    }
    features
}

fn cells(grid: CellSet) -> impl Iterator<Item = (u32, &'static str)> {
    grid.cells().map(|cell| (cell as u32, cell.name()))
}

/// The part of the tile that the cell covers; the picture's top is north.
fn cell_bounds([west, south, east, north]: Bounds, index: u32) -> Bounds {
    let at = |from: f64, to: f64, thirds: u32| from + (to - from) * f64::from(thirds) / 3.0;
    let (column, row) = (index % 3, index / 3);
    [
        at(west, east, column),
        at(north, south, row + 1),
        at(west, east, column + 1),
        at(north, south, row),
    ]
}

fn feature(bounds: Option<Bounds>, properties: Value) -> Value {
    let geometry = bounds.map(|[west, south, east, north]| {
        json!({
            "type": "Polygon",
            // Counter-clockwise and closed, as RFC 7946 asks for.
            "coordinates": [[[west, south], [east, south], [east, north], [west, north], [west, south]]],
        })
    });
    json!({ "type": "Feature", "geometry": geometry, "properties": properties })
}

#[cfg(test)]
mod tests {
    use super::*;
    use deltavlm_messages::Confidence;

    fn tiles(text: &str) -> Result<Tiles, TilesError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tiles.json");
        std::fs::write(&path, text).unwrap();
        Tiles::read(&path)
    }

    fn entry(tile: u32) -> RecordEntry {
        let alert = Alert {
            tile,
            time: 5,
            confidence: Confidence::from_fraction(1.0),
            roads: 0,
            buildings: 1,
            roads_grid: CellSet::EMPTY,
            buildings_grid: CellSet::from_bits(0b100_000_000),
            pair: 1,
        };
        RecordEntry {
            received: 9,
            message: Message::Alert(alert),
            pending: None,
        }
    }

    #[test]
    fn a_changed_cell_lies_in_its_corner_of_the_tile() {
        let tiles = tiles(r#"{"tiles": {"tile_17": [10, 50, 13, 53]}}"#).unwrap();
        let collection = collection(&[entry(17)], &tiles);
        let features = collection["features"].as_array().unwrap();
        assert_eq!(features.len(), 2);
        assert_eq!(features[1]["properties"]["cell"], "bottom-right");
        let ring = &features[1]["geometry"]["coordinates"][0];
        assert_eq!(
            *ring,
            json!([
                [12.0, 50.0],
                [13.0, 50.0],
                [13.0, 51.0],
                [12.0, 51.0],
                [12.0, 50.0]
            ])
        );
    }

    #[test]
    fn a_grid_is_numbered_row_by_row_from_the_north_west() {
        let text = r#"{"grid": {"west": 10, "north": 50, "width": 0.5, "height": 0.25, "columns": 4, "first": 100}}"#;
        let tiles = tiles(text).unwrap();
        assert_eq!(tiles.bounds(100), Some([10.0, 49.75, 10.5, 50.0]));
        assert_eq!(tiles.bounds(105), Some([10.5, 49.5, 11.0, 49.75]));
        assert_eq!(tiles.bounds(99), None);
        assert_eq!(tiles.bounds(u32::MAX), None, "off the map");
    }

    #[test]
    fn an_alert_without_a_place_is_still_a_feature() {
        let collection = collection(&[entry(3)], &Tiles::default());
        assert_eq!(collection["features"].as_array().unwrap().len(), 1);
        assert_eq!(collection["features"][0]["geometry"], Value::Null);
    }

    #[test]
    fn a_wrong_file_says_what_to_write() {
        for (text, expected) in [
            ("{", "write"),
            (r#"{"tile": {}}"#, "unknown field"),
            (
                r#"{"tiles": {"a": [13, 50, 10, 53]}}"#,
                "a: not west < east",
            ),
            (
                r#"{"grid": {"west": 10, "north": 50, "width": 1, "height": 1, "columns": 0}}"#,
                "grid: not",
            ),
        ] {
            let error = tiles(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
