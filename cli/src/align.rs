//! `dvlm align`: where a frame lies in a reference picture, and whether to believe it.

use std::path::{Path, PathBuf};

use clap::Args;
use deltavlm_cli::CliError;
use deltavlm_imaging::register::{Reference, Registration, checkerboard, difference, warp};
use deltavlm_imaging::{Image, write_png};
use serde_json::Value;

use crate::alignment::{Alignment, SearchArguments};
use crate::common::print;
use crate::reading::ReadingArguments;

/// Brings a frame onto a reference picture of the same place, or refuses.
///
/// Ends with 0 when aligned and 3 when refused.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    search: SearchArguments,
    /// Write before.png, after.png, checkerboard.png and difference.png here, on the reference's grid.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
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
    let alignment = Alignment::find(&arguments.search, &arguments.reading.options())?;
    if let (Some(directory), Some(reference)) = (&arguments.out, &alignment.reference) {
        write_pictures(directory, &alignment.frame, reference, &alignment.found)?;
    }
    if arguments.json {
        print(&Value::Object(alignment.document()).to_string())?;
    } else {
        alignment.print_text(&arguments.search)?;
    }
    Ok(match alignment.found.refused {
        None => Verdict::Aligned,
        Some(_) => Verdict::Refused,
    })
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
