//! What is left at the end: one HTML file that needs nothing else, and a PNG sheet for every
//! changed pair.

mod answers;
mod contact_sheet;
mod html;
mod overlay;
mod timeline;

use crate::run_log::RunLog;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Writes the report into `dir`, which is made if need be; the path of its HTML file.
///
/// # Errors
/// A file cannot be written.
pub fn write(run_log: &RunLog, dir: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(dir)?;
    let index = dir.join("index.html");
    fs::write(&index, html::page(run_log)?)?;
    for pair_log in run_log
        .pair_logs
        .iter()
        .filter(|pair_log| pair_log.alert.is_some())
    {
        let sheet = contact_sheet::draw(pair_log);
        let path = dir.join(format!("{}.png", file_name(&pair_log.pair.name)));
        sheet.save(&path).map_err(io::Error::other)?;
    }
    Ok(index)
}

/// A name without what a file system might object to.
fn file_name(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect()
}
