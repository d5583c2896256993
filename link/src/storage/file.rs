//! The log of [`log`](super::log) in a file.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    vec::Vec,
};

use super::log::{Disk, LogError, LogStorage};

/// Storage in a file, which is locked as long as this lives.
pub type FileStorage = LogStorage<FileDisk>;

impl FileStorage {
    /// Opens the log at `path`, or begins one there.
    pub fn at(path: &Path) -> Result<Self, LogError<io::Error>> {
        Self::open(FileDisk::open(path).map_err(LogError::Disk)?)
    }
}

/// A file that a log is kept in.
#[derive(Debug)]
pub struct FileDisk {
    file: File,
    path: PathBuf,
}

impl FileDisk {
    /// Opens or creates the file and locks it; a file that another program has locked is an error.
    pub fn open(path: &Path) -> io::Result<Self> {
        let exists = path.exists();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        lock(&file)?;
        let disk = Self {
            file,
            path: path.to_owned(),
        };
        if !exists {
            disk.sync_directory()?;
        }
        match std::fs::remove_file(disk.successor()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(disk),
        }
    }

    fn successor(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".new");
        name.into()
    }

    /// Makes a new name in the directory survive a power cut.
    fn sync_directory(&self) -> io::Result<()> {
        let parent = self
            .path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }
}

fn lock(file: &File) -> io::Result<()> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => {
            io::Error::new(io::ErrorKind::ResourceBusy, "in use by another program")
        }
        TryLockError::Error(error) => error,
    })
}

impl Disk for FileDisk {
    type Error = io::Error;

    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.read_to_end(&mut content)?;
        Ok(content)
    }

    fn append(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.write_all(bytes)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn replace(&mut self, content: &[u8]) -> io::Result<()> {
        let successor = self.successor();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&successor)?;
        lock(&file)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&successor, &self.path)?;
        self.file = file;
        self.sync_directory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        class::Class,
        storage::{Direction, Key, Register, Storage},
    };

    const KEY: Key = Key {
        direction: Direction::Outbound,
        class: Class::Urgent,
        sequence: 7,
    };

    #[test]
    fn what_was_stored_is_there_after_opening_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("link.log");
        let mut storage = FileStorage::at(&path).unwrap();
        storage.append(KEY, &[b"al", b"ert"]).unwrap();
        storage.set(Register::SendCounter, [3; 12]).unwrap();
        drop(storage);
        let mut storage = FileStorage::at(&path).unwrap();
        let mut bytes = [0; 16];
        assert_eq!(storage.read(KEY, 0, &mut bytes).unwrap(), 5);
        assert_eq!(&bytes[..5], b"alert");
        assert_eq!(storage.get(Register::SendCounter).unwrap(), Some([3; 12]));
    }

    #[test]
    fn a_second_program_is_kept_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("link.log");
        let _first = FileStorage::at(&path).unwrap();
        assert!(
            matches!(FileStorage::at(&path), Err(LogError::Disk(error)) if error.kind() == io::ErrorKind::ResourceBusy)
        );
    }

    #[test]
    fn a_long_log_is_written_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("link.log");
        let mut storage = FileStorage::at(&path).unwrap();
        storage.append(KEY, &[b"kept"]).unwrap();
        for round in 0..4000u32 {
            let mut value = [0; 12];
            value[..4].copy_from_slice(&round.to_le_bytes());
            storage.set(Register::SendCounter, value).unwrap();
        }
        assert!(storage.length() < 20_000, "{}", storage.length());
        drop(storage);
        let mut storage = FileStorage::at(&path).unwrap();
        let mut bytes = [0; 16];
        assert_eq!(storage.read(KEY, 0, &mut bytes).unwrap(), 4);
        let value = storage.get(Register::SendCounter).unwrap().unwrap();
        assert_eq!(u32::from_le_bytes(*value.first_chunk().unwrap()), 3999);
    }
}
