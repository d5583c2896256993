//! Writing files so that a power cut leaves the old one or the new one, never half of one.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// Replaces the content of `path`.
///
/// The bytes reach the disk under another name first; the rename then happens or does not,
/// and the folder is synchronised so that it has happened when this returns.
///
/// # Errors
/// The disk failed or is full, or the folder is gone.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_folder(path)
}

/// Makes a file's name as lasting as its content.
///
/// # Errors
/// The disk failed or is full, or the folder is gone.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
