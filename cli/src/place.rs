//! `dvlm place`: what a picture file says of its place, and where each number was read.

use std::path::{Path, PathBuf};

use clap::Args;
use deltavlm_cli::CliError;
use deltavlm_imaging::geo::GeoPoint;
use deltavlm_imaging::place::{Dem, GroundHeight, Place, PlaceOptions, Sourced};
use serde_json::{Map, Value, json};

use crate::common::print;

/// Says where and how a picture was taken, as far as the file and the files beside it say.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The picture: JPEG, PNG, WebP, TIFF or GeoTIFF.
    image: PathBuf,
    /// Metres by which the place of take-off lies over the ground that is shown
    /// (negative: below it).
    #[arg(long, value_name = "METRES", allow_negative_numbers = true)]
    take_off_height: Option<f64>,
    /// Altitude of the ground that is shown, in metres.
    #[arg(
        long,
        value_name = "METRES",
        allow_negative_numbers = true,
        conflicts_with = "take_off_height"
    )]
    ground_height: Option<f64>,
    /// Elevation model (GeoTIFF) that says the altitude of the ground.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["take_off_height", "ground_height"])]
    dem: Option<PathBuf>,
    /// Width of the sensor in millimetres, along the long side of the picture.
    #[arg(long, value_name = "MM")]
    sensor_width: Option<f64>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let options = PlaceOptions {
        sensor_width_mm: arguments.sensor_width,
    };
    let mut place = Place::open(&arguments.image, &options).map_err(|source| CliError::Io {
        path: arguments.image.clone(),
        source,
    })?;
    let ground = ground(arguments, &mut place)?;
    let document = document(&place, ground);
    if arguments.json {
        return print(&Value::Object(document).to_string());
    }
    print_text(&arguments.image, &document)
}

fn ground(arguments: &Arguments, place: &mut Place) -> Result<GroundHeight, CliError> {
    if let Some(height) = arguments.take_off_height {
        return Ok(GroundHeight::TakeOffAbove(height));
    }
    if let Some(height) = arguments.ground_height {
        return Ok(GroundHeight::Elevation(height));
    }
    let (Some(path), Some(position)) = (&arguments.dem, &place.position) else {
        return Ok(GroundHeight::Unknown);
    };
    let height = Dem::open(path)?.height_m(position.value)?;
    Ok(match height {
        Some(height) => GroundHeight::Elevation(height),
        None => {
            let name = path.display();
            place
                .problems
                .push(format!("{name}: the elevation model has no height there"));
            GroundHeight::Unknown
        }
    })
}

/// The fields as scripts read them; what nothing states is null.
fn document(place: &Place, ground: GroundHeight) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut source = Map::new();
    let mut put = |name: &str, value: Option<(Value, String)>| {
        let value = match value {
            Some((value, from)) => {
                source.insert(name.to_owned(), Value::String(from));
                value
            }
            None => Value::Null,
        };
        fields.insert(name.to_owned(), value);
    };
    let number = |value: Option<&Sourced<f64>>| value.map(|v| (json!(v.value), v.source.clone()));

    let position = place.position.clone().or_else(|| centre(place));
    let coordinate = |pick: fn(GeoPoint) -> f64| {
        position
            .as_ref()
            .map(|p| (json!(pick(p.value)), p.source.clone()))
    };
    put("lat", coordinate(|point| point.lat));
    put("lon", coordinate(|point| point.lon));
    put("accuracy_m", number(place.accuracy_m.as_ref()));
    put("altitude_m", number(place.altitude_m.as_ref()));
    put(
        "relative_altitude_m",
        number(place.relative_altitude_m.as_ref()),
    );
    put(
        "height_above_ground_m",
        number(place.height_above_ground(ground).as_ref()),
    );
    put("yaw_deg", number(place.attitude.yaw.as_ref()));
    put("pitch_deg", number(place.attitude.pitch.as_ref()));
    put("roll_deg", number(place.attitude.roll.as_ref()));
    let time = place.time_utc.as_ref();
    put(
        "time_utc",
        time.map(|time| (json!(time.value), time.source.clone())),
    );
    put("focal_px", number(place.focal_px.as_ref()));
    put(
        "ground_m_per_px",
        number(place.ground_m_per_px(ground).as_ref()),
    );

    let of_map = place.georeference.as_ref();
    let pose_source = || "position, attitude, height and focal length as above".to_owned();
    let shape_source = of_map.map_or_else(pose_source, |geo| geo.source.clone());
    let footprint = place.footprint(ground).map(|corners| {
        let corners: Vec<[f64; 2]> = corners.iter().map(|c| [c.lon, c.lat]).collect();
        (json!(corners), shape_source.clone())
    });
    put("footprint", footprint);
    let up = match (of_map, place.size()) {
        (Some(geo), Some((width, height))) => geo
            .value
            .heading_of_up(f64::from(width) / 2.0, f64::from(height) / 2.0),
        _ => place.pose(ground).and_then(|pose| pose.heading_of_up()),
    };
    put("upper_edge_deg", up.map(|up| (json!(up), shape_source)));
    put(
        "crs",
        of_map.map(|geo| (json!(geo.value.crs().to_string()), geo.source.clone())),
    );
    let size = place.size();
    fields.insert("width".to_owned(), json!(size.map(|size| size.0)));
    fields.insert("height".to_owned(), json!(size.map(|size| size.1)));
    fields.insert("source".to_owned(), Value::Object(source));
    fields.insert("problems".to_owned(), json!(place.problems));
    fields
}

/// Of a map that names no camera: its middle.
fn centre(place: &Place) -> Option<Sourced<GeoPoint>> {
    let georeference = place.georeference.as_ref()?;
    let (width, height) = place.stored_size?;
    let (x, y) = (
        (f64::from(width) - 1.0) / 2.0,
        (f64::from(height) - 1.0) / 2.0,
    );
    let value = georeference.value.to_wgs84(x, y)?;
    let source = format!("{}, middle of the picture", georeference.source);
    Some(Sourced { value, source })
}

fn print_text(path: &Path, document: &Map<String, Value>) -> Result<(), CliError> {
    print(&path.display().to_string())?;
    for (name, value) in document {
        let is_told_elsewhere = matches!(name.as_str(), "source" | "problems");
        if is_told_elsewhere || value.is_null() {
            continue;
        }
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        match document["source"].get(name).and_then(Value::as_str) {
            Some(source) => print(&format!("  {name:22} {value}  [{source}]"))?,
            None => print(&format!("  {name:22} {value}"))?,
        }
    }
    for problem in document["problems"].as_array().into_iter().flatten() {
        print(&format!(
            "  problem: {}",
            problem.as_str().unwrap_or_default()
        ))?;
    }
    Ok(())
}
