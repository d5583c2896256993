//! Finding where a frame lies in a reference, for the commands that need it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use deltavlm_cli::CliError;
use deltavlm_imaging::geo::GeoPoint;
use deltavlm_imaging::place::{GroundHeight, Place, PlaceOptions};
use deltavlm_imaging::register::{
    Evidence, Gray, Homography, Prior, Reference, Registration, Settings, Unaligned, register,
};
use deltavlm_imaging::{DecodeOptions, Image};
use serde_json::{Map, Value, json};

use crate::common::print;
use crate::json;

/// Which two files, and what is known of them beside.
#[derive(Args)]
pub(crate) struct SearchArguments {
    /// The reference: an earlier frame, or an orthophoto.
    #[arg(long, value_name = "IMG")]
    pub(crate) reference: PathBuf,
    /// The frame that is brought onto it.
    #[arg(long, value_name = "IMG")]
    pub(crate) frame: PathBuf,
    /// Metres by which the place of take-off lies over the ground that is shown.
    #[arg(long, value_name = "METRES", allow_negative_numbers = true)]
    pub(crate) take_off_height: Option<f64>,
    /// Width of the sensor in millimetres, along the long side of the frame.
    #[arg(long, value_name = "MM")]
    pub(crate) sensor_width: Option<f64>,
    /// Search as if neither file said where it lies.
    #[arg(long)]
    pub(crate) ignore_pose: bool,
}

/// A frame, the part of the reference that it needs, and the transform between them.
pub(crate) struct Alignment {
    pub(crate) frame: Image,
    /// `None` when the pose places the frame outside of the reference.
    pub(crate) reference: Option<Reference>,
    pub(crate) found: Registration,
    pub(crate) places: Places,
    pub(crate) ms: f64,
}

impl Alignment {
    pub(crate) fn find(
        arguments: &SearchArguments,
        options: &DecodeOptions,
    ) -> Result<Self, CliError> {
        let begun = Instant::now();
        let places = Places::read(arguments)?;
        let frame = Image::open(&arguments.frame, options)?;
        let prior = places.prior.unwrap_or_else(Prior::unknown);
        let reference = Reference::open(&arguments.reference, frame.size(), &prior, options)?;
        let found = match &reference {
            Some(reference) => register(
                &Gray::from(&frame),
                &Gray::from(&reference.image),
                &reference.prior,
                &Settings::default(),
            ),
            None => Registration {
                homography: prior.start,
                evidence: Evidence::default(),
                refused: Some(Unaligned::NoStructure),
            },
        };
        Ok(Alignment {
            frame,
            reference,
            found,
            places,
            ms: begun.elapsed().as_secs_f64() * 1e3,
        })
    }

    /// Pixel of the part of the reference that was read to pixel of the whole file.
    pub(crate) fn to_whole(&self) -> Homography {
        self.reference
            .as_ref()
            .map_or(Homography::IDENTITY, |part| part.to_whole)
    }

    /// Pixels of the whole file to one pixel of the part.
    fn scale(&self) -> f64 {
        self.to_whole().0[0]
    }

    /// Frame pixel to pixel of the whole reference file.
    fn homography(&self) -> Homography {
        match self.reference {
            Some(_) => self.to_whole().after(&self.found.homography),
            None => self.found.homography,
        }
    }

    /// The residual on the ground at a pixel of the whole reference, in metres.
    pub(crate) fn residual_m(&self, [x, y]: [f64; 2]) -> Option<f64> {
        let map = self.places.reference.georeference.as_ref()?;
        let metres = map.value.ground_m_per_px(x, y)?;
        Some(self.found.evidence.residual_px * self.scale() * metres)
    }

    /// The middle of the frame on the map, and how well that is known.
    fn middle(&self) -> Option<(GeoPoint, f64)> {
        if !self.found.is_aligned() {
            return None;
        }
        let (width, height) = self.frame.size();
        let middle = [width, height].map(|side| (f64::from(side) - 1.0) / 2.0);
        let at = self.homography().apply(middle);
        let map = self.places.reference.georeference.as_ref()?;
        Some((map.value.to_wgs84(at[0], at[1])?, self.residual_m(at)?))
    }

    /// The verdict as scripts read it.
    pub(crate) fn document(&self) -> Map<String, Value> {
        let evidence = &self.found.evidence;
        let document = json!({
            "verdict": if self.found.is_aligned() { "aligned" } else { "refused" },
            "reason": self.found.refused.map(|_| "unaligned"),
            "detail": self.found.refused.map(|why| why.to_string()),
            "residual_px": evidence.residual_px * self.scale(),
            "coverage": evidence.coverage,
            "agreeing": evidence.agreeing,
            "windows": evidence.windows,
            "peak_ratio": evidence.peak_ratio,
            "homography": self.homography().0,
            "place": self.middle().map(|(point, accuracy)| json!({
                "lat": point.lat, "lon": point.lon, "accuracy_m": accuracy,
            })),
            "searched_from_pose": self.places.prior.is_some(),
            "ms": self.ms,
            "peak_rss_mib": json::peak_rss(),
        });
        match document {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }

    /// The verdict as people read it.
    pub(crate) fn print_text(&self, arguments: &SearchArguments) -> Result<(), CliError> {
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
        let from = match self.places.prior {
            Some(_) => "from position, attitude and height",
            None => "anywhere; a start from position and height was not to be had",
        };
        print(&format!("  searched     {from}"))?;
        print(&format!(
            "  residual     {:.2} pixels of the reference",
            evidence.residual_px * self.scale()
        ))?;
        print(&format!(
            "  agreeing     {:.0} % of {} windows, {:.0} % of the frame covered",
            100.0 * evidence.agreeing,
            evidence.windows,
            100.0 * evidence.coverage
        ))?;
        print(&format!("  peak ratio   {:.2}", evidence.peak_ratio))?;
        if let Some((point, accuracy)) = self.middle() {
            print(&format!(
                "  its middle   {:.7}, {:.7} within {accuracy:.2} m on the map",
                point.lat, point.lon
            ))?;
        }
        let homography = self.homography().0;
        let rows = homography.chunks(3).map(|row| {
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

/// What the two files say of their places.
pub(crate) struct Places {
    pub(crate) reference: Place,
    pub(crate) prior: Option<Prior>,
    pub(crate) ground: GroundHeight,
}

impl Places {
    fn read(arguments: &SearchArguments) -> Result<Places, CliError> {
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
        Ok(Places {
            reference,
            prior,
            ground,
        })
    }
}
