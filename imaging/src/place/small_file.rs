//! Text files beside a picture, read within a limit.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A folder's `geo.txt` with a line for each of a hundred thousand pictures fits.
const MAX_BYTES: u64 = 16 << 20;

/// Why it cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {source}")]
pub(crate) struct SmallFileError {
    name: String,
    source: std::io::Error,
}

/// The whole text; bytes that are no UTF-8 are replaced.
pub(crate) fn read(path: &Path) -> Result<String, SmallFileError> {
    let inner = || {
        let mut bytes = Vec::new();
        let mut file = File::open(path)?.take(MAX_BYTES + 1);
        file.read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(std::io::Error::other("larger than 16 MiB"));
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    inner().map_err(|source| SmallFileError {
        name: path.display().to_string(),
        source,
    })
}
