//! A file that is written piece by piece, in any order and by several threads,
//! and hashed from the front as far as it is complete: while its bytes are still
//! in the page cache.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use deltavlm_bundle::FileRecord;
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// Bytes that are hashed at a time.
const CHUNK: u64 = 1 << 20;
/// Complete bytes that are worth hashing before the end.
const MIN_HASH_BYTES: u64 = 8 << 20;

/// A file of known size in the making.
#[derive(Debug)]
pub(crate) struct ParallelFile {
    path: PathBuf,
    file: File,
    len: u64,
    complete: Mutex<Complete>,
    hashed: Mutex<Hashed>,
}

/// Which bytes are there: all before `front`, and the runs behind it.
#[derive(Debug, Default)]
struct Complete {
    front: u64,
    /// First byte to end, none touching another.
    runs: BTreeMap<u64, u64>,
}

#[derive(Debug, Default)]
struct Hashed {
    at: u64,
    hash: Sha256,
    buffer: Vec<u8>,
}

impl ParallelFile {
    /// Creates the file, its space reserved where the file system can. `gaps` are
    /// bytes that will not be written: they stay zero.
    ///
    /// # Errors
    /// When the file cannot be created or the disk is full.
    pub(crate) fn create(path: &Path, len: u64, gaps: Vec<Range<u64>>) -> Result<Self> {
        let io = |e| Error::io(path, e);
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .map_err(io)?;
        if len > 0 {
            let flags = rustix::fs::FallocateFlags::empty();
            match rustix::fs::fallocate(&file, flags, 0, len) {
                Ok(()) => {}
                Err(rustix::io::Errno::NOSPC) => return Err(io(rustix::io::Errno::NOSPC.into())),
                Err(_) => file.set_len(len).map_err(io)?,
            }
        }
        let mut complete = Complete::default();
        gaps.into_iter().for_each(|gap| complete.add(gap));
        Ok(Self {
            path: path.to_owned(),
            file,
            len,
            complete: Mutex::new(complete),
            hashed: Mutex::default(),
        })
    }

    /// Writes a piece.
    ///
    /// # Errors
    /// When the disk is full or broken.
    pub(crate) fn write(&self, bytes: &[u8], at: u64) -> Result<()> {
        self.file
            .write_all_at(bytes, at)
            .map_err(|e| Error::io(&self.path, e))?;
        let mut complete = self.complete.lock().expect("no panic while counting");
        complete.add(at..at + bytes.len() as u64);
        Ok(())
    }

    /// Hashes what is complete, unless another thread is at it or it is too little.
    ///
    /// # Errors
    /// When the file cannot be read back.
    pub(crate) fn hash_available(&self) -> Result<()> {
        let front = self.complete.lock().expect("no panic while counting").front;
        match self.hashed.try_lock() {
            Ok(mut hashed) if front >= hashed.at + MIN_HASH_BYTES => {
                self.hash_to(front, &mut hashed)
            }
            _ => Ok(()),
        }
    }

    /// Waits until the bytes are on disk; the file's record under its own name.
    ///
    /// # Errors
    /// When the disk is full or broken.
    pub(crate) fn finish(&self) -> Result<FileRecord> {
        let mut hashed = self.hashed.lock().expect("no panic while hashing");
        self.hash_to(self.len, &mut hashed)?;
        self.file.sync_all().map_err(|e| Error::io(&self.path, e))?;
        let digest = hashed.hash.clone().finalize();
        let name = self.path.file_name().unwrap_or_default();
        Ok(FileRecord {
            path: name.to_string_lossy().into_owned(),
            bytes: self.len,
            sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }

    fn hash_to(&self, to: u64, hashed: &mut Hashed) -> Result<()> {
        let Hashed { at, hash, buffer } = hashed;
        while *at < to {
            buffer.resize(CHUNK.min(to - *at) as usize, 0);
            self.file
                .read_exact_at(buffer, *at)
                .map_err(|e| Error::io(&self.path, e))?;
            hash.update(&buffer[..]);
            *at += buffer.len() as u64;
        }
        Ok(())
    }
}

impl Complete {
    fn add(&mut self, mut run: Range<u64>) {
        if let Some((&start, &end)) = self.runs.range(..run.start).next_back()
            && end == run.start
        {
            self.runs.remove(&start);
            run.start = start;
        }
        if let Some(end) = self.runs.remove(&run.end) {
            run.end = end;
        }
        if run.start == self.front {
            self.front = run.end;
        } else {
            self.runs.insert(run.start, run.end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deltavlm_bundle::sha256_of_file;

    #[test]
    fn pieces_in_any_order_become_one_run() {
        let mut complete = Complete::default();
        for run in [10..20, 30..40, 20..30, 50..60] {
            complete.add(run);
        }
        assert_eq!((complete.front, complete.runs.len()), (0, 2));
        complete.add(0..10);
        assert_eq!((complete.front, complete.runs.len()), (40, 1));
        complete.add(40..50);
        assert_eq!((complete.front, complete.runs.len()), (60, 0));
    }

    #[test]
    fn the_hash_is_that_of_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weights");
        let third = MIN_HASH_BYTES as usize + 5;
        let len = 3 * third as u64 + 64;
        let gap = third as u64..third as u64 + 64;
        let written = ParallelFile::create(&path, len, vec![gap]).unwrap();
        for (value, at) in [(3, 2 * third + 64), (1, 0), (2, third + 64)] {
            written.write(&vec![value; third], at as u64).unwrap();
            written.hash_available().unwrap();
        }
        let record = written.finish().unwrap();
        assert_eq!((record.path.as_str(), record.bytes), ("weights", len));
        assert_eq!(record.sha256, sha256_of_file(&path).unwrap());
    }
}
