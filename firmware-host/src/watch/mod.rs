//! Which pairs are there, complete and new.
//!
//! The folders are listed again and again: notification interfaces miss files on network
//! mounts, which is one way in which cameras hand over their pictures. Where the kernel does
//! notify, a picture is found as soon as it is renamed into place. Any other file counts as
//! written when its fingerprint has stayed the same for a while *as seen by this program*
//! and its writer, if notifications tell of one, has closed it; the wall clock of a board may
//! say anything and is not asked.

mod folder;
mod notify;

pub(crate) use notify::Notification;

use crate::{
    config::WatchConfig,
    pair_files::{FileFingerprint, PairFiles, PairVersion},
};
use folder::{Folder, Observation};
use notify::Notifier;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

/// Listing the folders takes at most one part in this many of the program's time.
const LISTING_SHARE: u32 = 100;

/// Finds pairs that were not looked at yet.
#[derive(Debug)]
pub struct Watcher {
    settle: Duration,
    missing_after: Duration,
    poll: Duration,
    before: Folder,
    after: Folder,
    /// What was handed out last under each name.
    handled: HashMap<String, PairVersion>,
    /// The names that were seen with each tile number.
    names: HashMap<u32, BTreeSet<String>>,
    /// Pairs that are not complete yet, and when each is to be looked at again.
    unsettled: BTreeMap<String, Instant>,
    list_at: Option<Instant>,
    notifier: Option<Notifier>,
    /// The notifier's numbers of the two folders.
    watches: [Option<i32>; 2],
}

/// What a look at the folders has brought.
#[derive(Debug, Default)]
pub struct Scan {
    /// Pairs that are ready and were not handed out before, in the order of their names.
    pub ready: Vec<PairFiles>,
    /// Folders that can no longer be read, or can be read again.
    pub folders: Vec<FolderEvent>,
}

/// A change in whether a folder can be read.
///
/// While one of the two cannot, no pair is handed out: what is missing then is not missing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FolderEvent {
    /// It cannot be read any more.
    Unreadable {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// It can be read again.
    Readable {
        /// The folder.
        dir: PathBuf,
    },
}

/// Why a tile has no pair to answer from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// No complete pair has this number.
    #[error("tile {0}: no pair of pictures has this number")]
    Unknown(u32),
    /// Several pairs have it; an answer would be about one of them, and nobody could tell which.
    #[error("tile {tile}: {} have this number; rename all but one", names.join(" and "))]
    Ambiguous {
        /// The number.
        tile: u32,
        /// The pairs' names.
        names: Vec<String>,
    },
    /// Several files of one date have the pair's name.
    #[error("tile {0}: several files have the name of one picture; remove all but one")]
    SeveralFiles(u32),
}

impl Watcher {
    /// A watcher that leaves out the pairs in `handled`.
    #[must_use]
    pub fn new(config: WatchConfig, handled: HashMap<String, PairVersion>) -> Self {
        Self {
            settle: config.settle,
            missing_after: config.missing_after,
            poll: config.poll,
            before: Folder::new(config.before),
            after: Folder::new(config.after),
            handled,
            names: HashMap::new(),
            unsettled: BTreeMap::new(),
            list_at: None,
            notifier: None,
            watches: [None; 2],
        }
    }

    /// Has the kernel notify; the notifications are to come back through
    /// [`on_notifications`](Self::on_notifications).
    pub(crate) fn notify(
        &mut self,
        notify: impl FnMut(Vec<Notification>) -> bool + Send + 'static,
    ) -> io::Result<()> {
        self.notifier = Some(Notifier::start(notify)?);
        Ok(())
    }

    /// Does what is due: lists the folders, or looks again at pairs that were not complete.
    pub fn poll(&mut self, now: Instant) -> Scan {
        if self.list_at.is_none_or(|at| now >= at) {
            return self.scan(now);
        }
        let due = self.unsettled.iter().filter(|(_, at)| **at <= now);
        let due: Vec<String> = due.map(|(name, _)| name.clone()).collect();
        Scan {
            ready: self.evaluate(due, now),
            folders: Vec::new(),
        }
    }

    /// When [`poll`](Self::poll) has something to do again.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.unsettled.values().chain(&self.list_at).min().copied()
    }

    /// Lists the folders.
    ///
    /// A pair whose before-picture is missing is handed out once the wait for it is over.
    pub fn scan(&mut self, now: Instant) -> Scan {
        let started = Instant::now();
        // Watched first: what comes after the listing is then notified.
        if let Some(notifier) = &self.notifier {
            self.watches =
                [&self.before, &self.after].map(|folder| notifier.watch(folder.dir()).ok());
        }
        let mut scan = Scan::default();
        for folder in [&mut self.before, &mut self.after] {
            let was_readable = folder.is_readable();
            let dir = folder.dir().to_owned();
            match folder.list(now) {
                Err(error) if was_readable => scan.folders.push(FolderEvent::Unreadable {
                    dir,
                    reason: error.to_string(),
                }),
                Ok(()) if !was_readable => scan.folders.push(FolderEvent::Readable { dir }),
                _ => {}
            }
        }
        scan.ready = self.evaluate(self.after.names().cloned().collect(), now);
        let took = started.elapsed();
        self.list_at = Some(now + took + self.poll.max(took * (LISTING_SHARE - 1)));
        scan
    }

    /// Looks again at the files that the kernel notified about.
    pub(crate) fn on_notifications(&mut self, batch: Vec<Notification>, now: Instant) -> Scan {
        let mut touched = BTreeSet::new();
        for notification in batch {
            match notification {
                Notification::File {
                    watch,
                    name,
                    change,
                } => {
                    for (folder, known) in [&mut self.before, &mut self.after]
                        .into_iter()
                        .zip(self.watches)
                    {
                        if known == Some(watch) {
                            touched.extend(folder.observe(&name, now, Some(change)));
                        }
                    }
                }
                Notification::Lost => {
                    self.before.forget_writers();
                    self.after.forget_writers();
                    self.list_at = Some(now);
                }
            }
        }
        Scan {
            ready: self.evaluate(touched.into_iter().collect(), now),
            folders: Vec::new(),
        }
    }

    /// The pair of a tile, whether it was looked at before or not.
    ///
    /// # Errors
    /// There is none, or it cannot be told which of several is meant.
    pub fn find_tile(&self, tile: u32) -> Result<PairFiles, FindError> {
        let names = self.names.get(&tile).into_iter().flatten();
        let complete = |name: &&String| {
            !self.before.files(name).is_empty() && !self.after.files(name).is_empty()
        };
        let names: Vec<&String> = names.filter(complete).collect();
        let [name] = names.as_slice() else {
            return Err(match names.len() {
                0 => FindError::Unknown(tile),
                _ => FindError::Ambiguous {
                    tile,
                    names: names.into_iter().cloned().collect(),
                },
            });
        };
        let pair = self.pair(name).ok_or(FindError::Unknown(tile))?;
        match pair.ambiguous.is_empty() {
            true => Ok(pair),
            false => Err(FindError::SeveralFiles(tile)),
        }
    }

    /// The names that have an after-picture; `None` while that cannot be known.
    pub(crate) fn names(&self) -> Option<HashSet<String>> {
        let is_known = self.before.is_readable() && self.after.is_readable();
        is_known.then(|| self.after.names().cloned().collect())
    }

    /// Forgets that these pairs were handed out, unless their pictures are there.
    pub(crate) fn forget(&mut self, names: &[String]) {
        for name in names {
            if self.after.files(name).is_empty() {
                self.handled.remove(name);
            }
        }
    }

    /// Those of the named pairs that are ready and new.
    fn evaluate(&mut self, names: Vec<String>, now: Instant) -> Vec<PairFiles> {
        if !self.before.is_readable() || !self.after.is_readable() {
            self.unsettled.clear();
            return Vec::new();
        }
        let mut ready = Vec::new();
        for name in names {
            self.unsettled.remove(&name);
            let Some(pair) = self.pair(&name) else {
                continue;
            };
            self.note_number(&pair);
            if self.is_handled(&pair) {
                continue;
            }
            match self.ready_at(&pair) {
                Some(at) if at <= now => {
                    self.handled.insert(name, pair.version);
                    ready.push(pair);
                }
                Some(at) => drop(self.unsettled.insert(name, at)),
                // Somebody writes it and will be heard of again.
                None => {}
            }
        }
        ready
    }

    /// The pair of that name as it is now.
    fn pair(&self, name: &str) -> Option<PairFiles> {
        let (before, after) = (self.before.files(name), self.after.files(name));
        let ambiguous = [(&self.before, before), (&self.after, after)]
            .into_iter()
            .filter(|(_, files)| files.len() > 1)
            .flat_map(|(folder, files)| files.iter().map(|file| folder.path(file)))
            .collect();
        Some(PairFiles {
            name: name.to_owned(),
            before: before.first().map(|file| self.before.path(file)),
            after: after.first().map(|file| self.after.path(file))?,
            version: PairVersion {
                before: fingerprint(before),
                after: fingerprint(after)?,
            },
            ambiguous,
        })
    }

    /// Whether nothing new is to be said about the pair.
    fn is_handled(&self, pair: &PairFiles) -> bool {
        let Some(handled) = self.handled.get(&pair.name) else {
            return false;
        };
        // A before-picture that goes away after the pair was looked at is not missed.
        let lost_before =
            pair.version.before.is_none() && handled.after.matches(&pair.version.after);
        lost_before || handled.matches(&pair.version)
    }

    /// When the pair can be looked at; `None` while a file of it is being written.
    fn ready_at(&self, pair: &PairFiles) -> Option<Instant> {
        let (before, after) = (self.before.files(&pair.name), self.after.files(&pair.name));
        if before.is_empty() {
            let arrived = after.iter().map(|file| file.since).max()?;
            let since = arrived.max(self.before.vanished(&pair.name).unwrap_or(arrived));
            return Some(since + self.missing_after);
        }
        let settled = before.iter().chain(after).map(|file| match file {
            Observation { writing: true, .. } => None,
            Observation { complete: true, .. } => Some(file.since),
            _ => Some(file.since + self.settle),
        });
        settled.max_by_key(|at| (at.is_none(), *at)).flatten()
    }

    fn note_number(&mut self, pair: &PairFiles) {
        let tile = pair.tile();
        let names = self.names.entry(tile).or_default();
        if names.insert(pair.name.clone()) && names.len() == 2 {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            log::warn!(
                "{} are both tile {tile} to the ground, which cannot ask about either; rename one",
                names.join(" and ")
            );
        }
    }
}

/// One fingerprint for the files of a date; it changes when one of several goes away.
fn fingerprint(files: &[Observation]) -> Option<FileFingerprint> {
    let (first, others) = files.split_first()?;
    Some(others.iter().fold(first.fingerprint, |one, file| {
        let other = file.fingerprint;
        FileFingerprint {
            bytes: one.bytes.wrapping_add(other.bytes),
            modified_ns: one.modified_ns.max(other.modified_ns),
            changed_ns: one.changed_ns.max(other.changed_ns),
            inode: None,
        }
    }))
}

#[cfg(test)]
mod tests;
