//! Files mapped into memory, read-only: the one place with unsafe code.

#![allow(unsafe_code)]

use std::fs::File;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

use crate::error::Error;

/// A whole file, mapped. Its pages are shared between processes and are read from
/// disk when they are first touched.
#[derive(Debug)]
pub(crate) struct MappedFile(Option<Mmap>);

impl MappedFile {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(io)?;
        if file.metadata().map_err(io)?.len() == 0 {
            return Ok(Self(None));
        }
        // SAFETY: the mapping is private and read-only. A bundle is never changed in
        // place: `docs/bundle-format.md` asks for a new directory and a rename. Whoever
        // truncates a file regardless ends this process by a signal, as with any
        // mapped program; no memory of the process is corrupted.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        Ok(Self(Some(map)))
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}
