//! What is left at the end: one HTML file that needs nothing else, and a PNG sheet for every
//! changed pair.

mod air;
mod answers;
mod html;
mod overlay;
mod sheet;

use crate::story::Story;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Writes the report into `dir`, which is made if need be; the path of its HTML file.
///
/// # Errors
/// A file cannot be written.
pub fn write(story: &Story, dir: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(dir)?;
    let index = dir.join("index.html");
    fs::write(&index, html::page(story)?)?;
    for chapter in story
        .chapters
        .iter()
        .filter(|chapter| chapter.alert.is_some())
    {
        let sheet = sheet::draw(chapter);
        let path = dir.join(format!("{}.png", file_name(&chapter.pair.name)));
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
