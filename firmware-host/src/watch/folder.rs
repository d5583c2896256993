//! What is known of the pictures in one folder, and for how long each has been as it is.

use crate::{config::Pattern, pair_files::FileFingerprint};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Instant,
};

/// The pictures of one date.
#[derive(Debug)]
pub(super) struct Folder {
    pattern: Pattern,
    /// By tile name; nearly always one file each.
    tiles: BTreeMap<String, Vec<Observation>>,
    /// When a tile that was known lost its last file.
    vanished: BTreeMap<String, Instant>,
    generation: u64,
    /// Why the folder could not be listed last time.
    unreadable: Option<io::ErrorKind>,
}

/// One file as it was seen.
#[derive(Debug, Clone)]
pub(super) struct Observation {
    file_name: String,
    pub(super) fingerprint: FileFingerprint,
    /// Since when the fingerprint is the same, by the monotonic clock.
    pub(super) since: Instant,
    /// It was renamed to its name while it was watched: nobody writes it any more.
    pub(super) complete: bool,
    /// It was written to and has not been closed since.
    pub(super) writing: bool,
    generation: u64,
}

/// What a notification says about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileChange {
    /// Renamed to this name.
    Renamed,
    /// Written to; it is still open.
    Written,
    /// Closed by its writer.
    Closed,
    /// There or gone, nothing more is known.
    Touched,
}

impl Folder {
    pub(super) fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            tiles: BTreeMap::new(),
            vanished: BTreeMap::new(),
            generation: 0,
            unreadable: None,
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.pattern.dir
    }

    pub(super) fn is_readable(&self) -> bool {
        self.unreadable.is_none()
    }

    /// Lists the folder. What is known of it stays as it was when it cannot be listed.
    pub(super) fn list(&mut self, now: Instant) -> io::Result<()> {
        let listed = self.try_list(now);
        self.unreadable = listed.as_ref().err().map(io::Error::kind);
        listed
    }

    fn try_list(&mut self, now: Instant) -> io::Result<()> {
        let entries = fs::read_dir(&self.pattern.dir)?.collect::<io::Result<Vec<_>>>()?;
        self.generation += 1;
        for entry in entries {
            if let Some(name) = entry.file_name().to_str() {
                self.observe(name, now, None);
            }
        }
        let (generation, vanished) = (self.generation, &mut self.vanished);
        self.tiles.retain(|tile, files| {
            files.retain(|file| file.generation == generation);
            if files.is_empty() {
                vanished.insert(tile.clone(), now);
            }
            !files.is_empty()
        });
        Ok(())
    }

    /// Looks at one file again; the tile that it belongs to, if it belongs to one.
    pub(super) fn observe(
        &mut self,
        file_name: &str,
        now: Instant,
        change: Option<FileChange>,
    ) -> Option<String> {
        let tile = self.pattern.tile(file_name)?.to_owned();
        let path = self.pattern.dir.join(file_name);
        // Follows links, so that a folder of links to pictures works.
        let metadata = fs::metadata(&path).ok().filter(fs::Metadata::is_file);
        let files = self.tiles.entry(tile.clone()).or_default();
        let place = files.iter().position(|file| file.file_name == file_name);
        match (metadata, place) {
            (None, Some(place)) => drop(files.remove(place)),
            (None, None) => {}
            (Some(metadata), place) => {
                let fingerprint = FileFingerprint::of(&metadata);
                let place = place.unwrap_or_else(|| {
                    files.push(Observation {
                        file_name: file_name.to_owned(),
                        fingerprint,
                        since: now,
                        complete: false,
                        writing: false,
                        generation: self.generation,
                    });
                    files.len() - 1
                });
                files[place].update(fingerprint, now, change, self.generation);
            }
        }
        if files.is_empty() {
            self.tiles.remove(&tile);
            self.vanished.insert(tile.clone(), now);
        } else {
            self.vanished.remove(&tile);
        }
        Some(tile)
    }

    /// No notification came through for a while: whoever wrote may be done.
    pub(super) fn forget_writers(&mut self) {
        for file in self.tiles.values_mut().flatten() {
            file.writing = false;
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.tiles.keys()
    }

    /// The files of a tile; several are a fault.
    pub(super) fn files(&self, tile: &str) -> &[Observation] {
        self.tiles.get(tile).map_or(&[], Vec::as_slice)
    }

    pub(super) fn path(&self, file: &Observation) -> PathBuf {
        self.pattern.dir.join(&file.file_name)
    }

    /// When the tile's last file went away, if it was there once.
    pub(super) fn vanished(&self, tile: &str) -> Option<Instant> {
        self.vanished.get(tile).copied()
    }
}

impl Observation {
    fn update(
        &mut self,
        fingerprint: FileFingerprint,
        now: Instant,
        change: Option<FileChange>,
        generation: u64,
    ) {
        let is_same = self.fingerprint.matches(&fingerprint);
        if !is_same {
            self.since = now;
            self.complete = false;
        }
        self.fingerprint = fingerprint;
        self.generation = generation;
        match change {
            Some(FileChange::Renamed) => (self.complete, self.writing) = (true, false),
            Some(FileChange::Written) => (self.complete, self.writing) = (false, true),
            Some(FileChange::Closed) => {
                (self.writing, self.since) = (false, now);
            }
            Some(FileChange::Touched) | None => {}
        }
    }
}
