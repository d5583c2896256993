//! Files of a bundle and the hashes that pin them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Error;

/// One file of the bundle: its path, size and SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRecord {
    /// Path relative to the bundle directory; a plain file name.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 of the content, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

impl FileRecord {
    /// Measures the file `name` in `directory`.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read.
    pub fn measure(directory: &Path, name: &str) -> Result<Self, Error> {
        let path = directory.join(name);
        let bytes = std::fs::metadata(&path)
            .map_err(|source| Error::Io {
                path: path.clone(),
                source,
            })?
            .len();
        Ok(Self {
            path: name.to_owned(),
            bytes,
            sha256: sha256_of_file(&path)?,
        })
    }

    /// Compares the size on disk with the record: cheap, catches truncation.
    ///
    /// # Errors
    /// [`Error::Io`] when the file is absent, [`Error::Damaged`] when its size differs.
    pub fn check_size(&self, directory: &Path) -> Result<(), Error> {
        let path = directory.join(&self.path);
        let found = match std::fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(source) => return Err(Error::Io { path, source }),
        };
        if found == self.bytes {
            return Ok(());
        }
        let problem = format!("{found} bytes where the manifest records {}", self.bytes);
        Err(Error::Damaged { path, problem })
    }

    /// Compares size and SHA-256 with the record: reads the whole file.
    ///
    /// # Errors
    /// As [`FileRecord::check_size`], and [`Error::Damaged`] when the hash differs.
    pub fn check_content(&self, directory: &Path) -> Result<(), Error> {
        self.check_size(directory)?;
        let path = directory.join(&self.path);
        let found = sha256_of_file(&path)?;
        if found == self.sha256 {
            return Ok(());
        }
        let problem = format!("SHA-256 {found} where the manifest records {}", self.sha256);
        Err(Error::Damaged { path, problem })
    }
}

/// SHA-256 of a file, as lower-case hexadecimal digits.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read.
pub fn sha256_of_file(path: &Path) -> Result<String, Error> {
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(io)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).map_err(io)?;
        if read == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
    }
}

/// SHA-256 of bytes in memory, as lower-case hexadecimal digits.
pub fn sha256_of_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(directory: &Path, content: &[u8]) -> FileRecord {
        std::fs::write(directory.join("weights"), content).unwrap();
        FileRecord::measure(directory, "weights").unwrap()
    }

    #[test]
    fn hash_is_the_published_one() {
        let directory = tempfile::tempdir().unwrap();
        let record = record(directory.path(), b"abc");
        assert_eq!(
            record.sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(record.bytes, 3);
    }

    #[test]
    fn a_flipped_byte_a_truncation_and_an_absence_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let record = record(directory.path(), b"abcd");
        record.check_content(directory.path()).unwrap();

        std::fs::write(directory.path().join("weights"), b"abce").unwrap();
        record.check_size(directory.path()).unwrap();
        let error = record.check_content(directory.path()).unwrap_err();
        assert!(error.to_string().contains("SHA-256"), "{error}");

        std::fs::write(directory.path().join("weights"), b"abc").unwrap();
        let error = record.check_size(directory.path()).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("3 bytes where the manifest records 4"),
            "{error}"
        );

        std::fs::remove_file(directory.path().join("weights")).unwrap();
        assert!(matches!(
            record.check_size(directory.path()),
            Err(Error::Io { .. })
        ));
    }
}
