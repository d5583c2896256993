//! `dvlm align`: where a frame lies in a reference picture, and whether to believe it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use deltavlm_cli::CliError;
use deltavlm_imaging::geo::GeoPoint;
use deltavlm_imaging::place::{GroundHeight, Place, PlaceOptions};
use deltavlm_imaging::register::{
    Gray, Homography, Prior, Reference, Registration, Settings, Unaligned, checkerboard,
    difference, register, warp,
};
use deltavlm_imaging::{Image, write_png};
use serde_json::{Value, json};

use crate::common::print;
use crate::json;
use crate::reading::ReadingArguments;

/// Brings a frame onto a reference picture of the same place, or refuses.
///
/// Ends with 0 when aligned and 3 when refused.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The reference: an earlier frame, or an orthophoto.
    #[arg(long, value_name = "IMG")]
    reference: PathBuf,
    /// The frame that is brought onto it.
    #[arg(long, value_name = "IMG")]
    frame: PathBuf,
    /// Write before.png, after.png, checkerboard.png and difference.png here, on the reference's grid.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Metres by which the place of take-off lies over the ground that is shown.
    #[arg(long, value_name = "METRES", allow_negative_numbers = true)]
    take_off_height: Option<f64>,
    /// Width of the sensor in millimetres, along the long side of the frame.
    #[arg(long, value_name = "MM")]
    sensor_width: Option<f64>,
    /// Search as if neither file said where it lies.
    #[arg(long)]
    ignore_pose: bool,
    #[command(flatten)]
    reading: ReadingArguments,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Aligned,
    Refused,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Verdict, CliError> {
    let begun = Instant::now();
    let places = Places::read(arguments)?;
    let options = arguments.reading.options();
    let frame = Image::open(&arguments.frame, &options)?;
    let prior = places.prior.unwrap_or_else(Prior::unknown);
    let reference = Reference::open(&arguments.reference, frame.size(), &prior, &options)?;
    let found = match &reference {
        Some(reference) => register(
            &Gray::from(&frame),
            &Gray::from(&reference.image),
            &reference.prior,
            &Settings::default(),
        ),
        None => Registration {
            homography: prior.start,
            evidence: deltavlm_imaging::register::Evidence::default(),
            refused: Some(Unaligned::NoStructure),
        },
    };
    let ms = begun.elapsed().as_secs_f64() * 1e3;
    if let (Some(directory), Some(reference)) = (&arguments.out, &reference) {
        write_pictures(directory, &frame, reference, &found)?;
    }
    let to_whole = reference
        .as_ref()
        .map_or(Homography::IDENTITY, |part| part.to_whole);
    let report = Report {
        found,
        homography: match reference {
            Some(_) => to_whole.after(&found.homography),
            None => found.homography,
        },
        reference_scale: to_whole.0[0],
        place: places.of(
            &to_whole.after(&found.homography),
            &found,
            to_whole.0[0],
            frame.size(),
        ),
        posed: places.prior.is_some(),
        ms,
    };
    if arguments.json {
        print(&report.document().to_string())?;
    } else {
        report.print_text(arguments)?;
    }
    Ok(match found.refused {
        None => Verdict::Aligned,
        Some(_) => Verdict::Refused,
    })
}

/// What the two files say of their places.
struct Places {
    reference: Place,
    prior: Option<Prior>,
}

impl Places {
    fn read(arguments: &Arguments) -> Result<Places, CliError> {
        let open = |path: &Path, options: &PlaceOptions| {
            Place::open(path, options).map_err(|source| CliError::Io {
                path: path.to_owned(),
                source,
            })
        };
        let options = PlaceOptions {
            sensor_width_mm: arguments.sensor_width,
        };
        let frame = open(&arguments.frame, &options)?;
        let reference = open(&arguments.reference, &options)?;
        let ground = arguments
            .take_off_height
            .map_or(GroundHeight::Unknown, GroundHeight::TakeOffAbove);
        let prior = match arguments.ignore_pose {
            true => None,
            false => Prior::of_places(&frame, &reference, ground),
        };
        Ok(Places { reference, prior })
    }

    /// The middle of the frame on the map, and how well that is known: the residual on the ground.
    fn of(
        &self,
        homography: &Homography,
        found: &Registration,
        scale: f64,
        (width, height): (u32, u32),
    ) -> Option<(GeoPoint, f64)> {
        let map = self
            .reference
            .georeference
            .as_ref()
            .filter(|_| found.is_aligned())?;
        let [x, y] = homography.apply([
            (f64::from(width) - 1.0) / 2.0,
            (f64::from(height) - 1.0) / 2.0,
        ]);
        let metres = map.value.ground_m_per_px(x, y)?;
        let accuracy = found.evidence.residual_px * scale * metres;
        Some((map.value.to_wgs84(x, y)?, accuracy))
    }
}

struct Report {
    found: Registration,
    /// Frame pixel to pixel of the whole reference file.
    homography: Homography,
    /// Pixels of the whole file to one pixel of the part that was compared.
    reference_scale: f64,
    place: Option<(GeoPoint, f64)>,
    posed: bool,
    ms: f64,
}

impl Report {
    fn document(&self) -> Value {
        let evidence = &self.found.evidence;
        json!({
            "verdict": if self.found.is_aligned() { "aligned" } else { "refused" },
            "reason": self.found.refused.map(|_| "unaligned"),
            "detail": self.found.refused.map(|why| why.to_string()),
            "residual_px": evidence.residual_px * self.reference_scale,
            "coverage": evidence.coverage,
            "agreeing": evidence.agreeing,
            "windows": evidence.windows,
            "peak_ratio": evidence.peak_ratio,
            "homography": self.homography.0,
            "place": self.place.map(|(point, accuracy)| json!({
                "lat": point.lat, "lon": point.lon, "accuracy_m": accuracy,
            })),
            "searched_from_pose": self.posed,
            "ms": self.ms,
            "peak_rss_mib": json::peak_rss(),
        })
    }

    fn print_text(&self, arguments: &Arguments) -> Result<(), CliError> {
        let evidence = &self.found.evidence;
        let name = |path: &Path| path.display().to_string();
        let pair = format!(
            "{} on {}",
            name(&arguments.frame),
            name(&arguments.reference)
        );
        match self.found.refused {
            None => print(&format!("{pair}: aligned"))?,
            Some(why) => print(&format!("{pair}: refused (unaligned): {why}"))?,
        }
        let from = match self.posed {
            true => "from position, attitude and height",
            false => "anywhere; a start from position and height was not to be had",
        };
        print(&format!("  searched     {from}"))?;
        print(&format!(
            "  residual     {:.2} pixels of the reference",
            evidence.residual_px * self.reference_scale
        ))?;
        print(&format!(
            "  agreeing     {:.0} % of {} windows, {:.0} % of the frame covered",
            100.0 * evidence.agreeing,
            evidence.windows,
            100.0 * evidence.coverage
        ))?;
        print(&format!("  peak ratio   {:.2}", evidence.peak_ratio))?;
        if let Some((point, accuracy)) = self.place {
            print(&format!(
                "  its middle   {:.7}, {:.7} within {accuracy:.2} m on the map",
                point.lat, point.lon
            ))?;
        }
        let rows = self.homography.0.chunks(3).map(|row| {
            let row: Vec<String> = row.iter().map(|value| format!("{value:.6e}")).collect();
            row.join(" ")
        });
        print(&format!(
            "  homography   {}",
            rows.collect::<Vec<_>>().join("; ")
        ))?;
        print(&format!("  time         {:.0} ms", self.ms))
    }
}

/// The pictures of a refused pair are written too: they show why.
fn write_pictures(
    directory: &Path,
    frame: &Image,
    reference: &Reference,
    found: &Registration,
) -> Result<(), CliError> {
    std::fs::create_dir_all(directory).map_err(|source| CliError::Io {
        path: directory.to_owned(),
        source,
    })?;
    let before = &reference.image;
    write_png(&directory.join("before.png"), before)?;
    let Some(warped) = warp(frame, &found.homography, before.size()) else {
        return Ok(());
    };
    write_png(&directory.join("after.png"), &warped.image)?;
    let (width, height) = before.size();
    let cell = (width.max(height) / 16).max(8);
    if let Some(board) = checkerboard(before, &warped, cell) {
        write_png(&directory.join("checkerboard.png"), &board)?;
    }
    if let Some(difference) = difference(before, &warped) {
        write_png(&directory.join("difference.png"), &difference)?;
    }
    Ok(())
}
