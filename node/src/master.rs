//! One secret of an operator, from which the key of every link follows.

use crate::key::{KeyError, MASTER_PREFIX, SharedKey, hex, parse_hex, read_private, write_private};
use deltavlm_link::LinkId;
use hkdf::Hkdf;
use sha2::Sha256;
use std::{fs::File, io, io::Read, path::Path};

/// Keys of other purposes that may follow from the secret one day begin otherwise.
const LABEL: &[u8] = b"deltavlm link key";

/// An operator's secret. It stays on the ground: a board gets only the key of its own link, from which
/// no other follows, so a stolen board gives away one board.
///
/// The file holds one line, `master:NUMBER:64 HEXADECIMAL DIGITS`, and is readable by its owner only.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterSecret {
    /// Names the keys that follow from it.
    pub id: u32,
    secret: [u8; 32],
}

impl MasterSecret {
    /// Draws a new secret from the system's random source.
    ///
    /// # Errors
    /// The system has no random source.
    pub fn generate(id: u32) -> io::Result<Self> {
        let mut secret = [0; 32];
        File::open("/dev/urandom")?.read_exact(&mut secret)?;
        Ok(Self { id, secret })
    }

    /// Reads the file of a secret.
    ///
    /// # Errors
    /// The file is missing, holds none, or is readable by others.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let text = read_private(path)?;
        Self::parse(&text).ok_or_else(|| KeyError::Malformed(path.to_owned()))
    }

    /// Writes a file that only its owner can read; an existing file is left alone.
    ///
    /// # Errors
    /// The file exists or cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), KeyError> {
        write_private(
            path,
            &format!("{MASTER_PREFIX}{}:{}", self.id, hex(&self.secret)),
        )
    }

    /// The key of a link: HKDF-SHA256 (RFC 5869) without salt, with a label, the secret's number (4
    /// bytes), craft (2) and station (1), all little-endian, for `info`.
    #[must_use]
    pub fn key(&self, link: LinkId) -> SharedKey {
        let info = [
            LABEL,
            &self.id.to_le_bytes(),
            &link.craft.to_le_bytes(),
            &[link.station],
        ];
        let mut secret = [0; 16];
        let expanded =
            Hkdf::<Sha256>::new(None, &self.secret).expand_multi_info(&info, &mut secret);
        debug_assert!(expanded.is_ok(), "16 bytes are less than 255 hashes");
        SharedKey {
            id: self.id,
            secret,
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (id, digits) = text.strip_prefix(MASTER_PREFIX)?.split_once(':')?;
        Some(Self {
            id: id.parse().ok()?,
            secret: parse_hex(digits)?,
        })
    }
}

impl SharedKey {
    /// Reads a key file, or makes the link's key from the file of a master secret.
    ///
    /// # Errors
    /// The file is missing, malformed, or readable by others.
    pub fn of_link(path: &Path, link: LinkId) -> Result<Self, KeyError> {
        let text = read_private(path)?;
        let master = MasterSecret::parse(&text).map(|master| master.key(link));
        master
            .or_else(|| Self::parse(&text))
            .ok_or_else(|| KeyError::Malformed(path.to_owned()))
    }
}

/// Shows the number, never the secret.
impl std::fmt::Debug for MasterSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MasterSecret")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Computed with Python's `hmac`: extract with a zero salt, then expand one block with `info`.
    #[test]
    fn keys_are_those_of_rfc_5869() {
        let master =
            MasterSecret::parse(&format!("master:3:{}", "0123456789abcdef".repeat(4))).unwrap();
        assert_eq!(
            hex(&master.key(LinkId::new(0x1234, 0x56)).secret),
            "5cb0d1987126905aa25547150dbd889a"
        );
    }

    #[test]
    fn every_link_has_a_key_of_its_own_and_a_board_refuses_the_master() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let master = MasterSecret::generate(4).unwrap();
        master.write(&path).unwrap();
        assert_eq!(MasterSecret::read(&path).unwrap(), master);
        let keys: BTreeSet<[u8; 16]> = (0..40)
            .flat_map(|craft| (0..5).map(move |station| LinkId::new(craft * 997, station)))
            .map(|link| master.key(link).secret)
            .collect();
        assert_eq!(keys.len(), 200);
        assert!(matches!(SharedKey::read(&path), Err(KeyError::Master(_))));
        let link = LinkId::new(7, 1);
        assert_eq!(SharedKey::of_link(&path, link).unwrap(), master.key(link));
        assert!(!format!("{master:?}").contains(&hex(&master.secret)));
    }
}
