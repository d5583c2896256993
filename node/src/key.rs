//! The file that holds the key which both ends share.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// What the line of a master secret begins with, so that neither file is taken for the other.
pub(crate) const MASTER_PREFIX: &str = "master:";

/// A shared key: its number and its sixteen secret bytes.
///
/// The file holds one line, `NUMBER:32 HEXADECIMAL DIGITS`, and is readable by its owner only.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedKey {
    /// Names the key on the air; its lowest bit is its slot, so the next key is one higher.
    pub id: u32,
    /// The secret.
    pub secret: [u8; 16],
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("key file {path}: {source}; make one with `dvlm-ground keygen --out {path}`")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A new key would replace an old one.
    #[error("key file {0}: exists already; remove it first, or name another")]
    Exists(PathBuf),
    /// The file holds no key.
    #[error(
        "key file {0}: not a line of the form NUMBER:32 HEXADECIMAL DIGITS; \
         make one with `dvlm-ground keygen`"
    )]
    Malformed(PathBuf),
    /// The file holds the operator's master secret.
    #[error(
        "key file {0}: holds the operator's master secret, which no board must have; make the key of \
         one link with `dvlm-ground keygen --from {0} --craft N --station N --out FILE`"
    )]
    Master(PathBuf),
    /// Others may read the file.
    #[error("key file {0}: others may read it; run `chmod 600 {0}`")]
    Open(PathBuf),
}

impl SharedKey {
    /// Reads a key file.
    ///
    /// # Errors
    /// The file is missing, malformed, or readable by others.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let text = read_private(path)?;
        if text.starts_with(MASTER_PREFIX) {
            return Err(KeyError::Master(path.to_owned()));
        }
        Self::parse(&text).ok_or_else(|| KeyError::Malformed(path.to_owned()))
    }

    /// Draws a new key from the system's random source.
    ///
    /// # Errors
    /// The system has no random source.
    pub fn generate(id: u32) -> io::Result<Self> {
        let mut secret = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut secret)?;
        Ok(Self { id, secret })
    }

    /// Writes a key file that only its owner can read; an existing file is left alone.
    ///
    /// # Errors
    /// The file exists or cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), KeyError> {
        write_private(path, &format!("{}:{}", self.id, hex(&self.secret)))
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (id, digits) = text.split_once(':')?;
        Some(Self {
            id: id.parse().ok()?,
            secret: parse_hex(digits)?,
        })
    }
}

/// The one line of a file that nobody but its owner may read.
pub(crate) fn read_private(path: &Path) -> Result<String, KeyError> {
    let io = |source| KeyError::Io {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(io)?;
    if file.metadata().map_err(io)?.permissions().mode() & 0o077 != 0 {
        return Err(KeyError::Open(path.to_owned()));
    }
    let mut text = String::new();
    // A key file is one line; whatever is longer is some other file.
    file.take(256).read_to_string(&mut text).map_err(io)?;
    Ok(text.trim().to_owned())
}

pub(crate) fn write_private(path: &Path, line: &str) -> Result<(), KeyError> {
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        writeln!(file, "{line}")?;
        file.sync_all()
    };
    write().map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists(path.to_owned()),
        _ => KeyError::Io {
            path: path.to_owned(),
            source,
        },
    })
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn parse_hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    if digits.len() != 2 * N || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}

/// Shows the number, never the secret.
impl std::fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_drawn_key_is_read_back_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("link.key");
        let key = SharedKey::generate(6).unwrap();
        key.write(&path).unwrap();
        assert_eq!(SharedKey::read(&path).unwrap(), key);
        assert!(matches!(
            SharedKey::generate(7).unwrap().write(&path),
            Err(KeyError::Exists(_))
        ));
        assert_eq!(SharedKey::read(&path).unwrap(), key);
        assert!(!format!("{key:?}").contains(&format!("{:02x}", key.secret[0]).repeat(2)));
        assert_ne!(SharedKey::generate(6).unwrap().secret, key.secret);
    }

    #[test]
    fn a_key_that_others_may_read_or_that_is_none_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("link.key");
        for text in [
            "",
            "6",
            "6:0011",
            "x:00112233445566778899aabbccddeeff",
            "6:zz112233445566778899aabbccddeeff",
        ] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(
                matches!(SharedKey::read(&path), Err(KeyError::Malformed(_))),
                "{text:?}"
            );
        }
        fs::write(&path, "6:00112233445566778899aabbccddeeff").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(SharedKey::read(&path), Err(KeyError::Open(_))));
        assert!(matches!(
            SharedKey::read(&dir.path().join("none")),
            Err(KeyError::Io { .. })
        ));
    }
}
