//! Which pairs are there, complete and new.
//!
//! The folders are polled: notification interfaces miss files on network and FAT mounts,
//! which is how cameras hand over their pictures. A file counts as written when its size
//! and time of change have stayed the same for a while *as seen by this program*; the
//! wall clock of a board may say anything and is not asked.

use crate::{
    config::{Pattern, WatchConfig},
    pair_files::{FileFingerprint, PairFiles, PairVersion},
};
use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Finds pairs that were not looked at yet.
#[derive(Debug)]
pub struct Watcher {
    config: WatchConfig,
    observations: HashMap<PathBuf, Observation>,
    /// What was handed out last under each name.
    handled: HashMap<String, PairVersion>,
    /// The name that each tile number was first used for.
    names: HashMap<u32, String>,
}

#[derive(Debug, Clone, Copy)]
struct Observation {
    version: FileFingerprint,
    since: Instant,
}

impl Watcher {
    /// A watcher that leaves out the pairs in `handled`.
    #[must_use]
    pub fn new(config: WatchConfig, handled: HashMap<String, PairVersion>) -> Self {
        Self {
            config,
            observations: HashMap::new(),
            handled,
            names: HashMap::new(),
        }
    }

    /// Looks at the folders; the pairs that are ready and were not handed out before,
    /// in the order of their names.
    ///
    /// A pair whose before-picture is missing is handed out once the wait for it is over.
    pub fn scan(&mut self, now: Instant) -> Vec<PairFiles> {
        let before = list(&self.config.before);
        let after = list(&self.config.after);
        self.observations.retain(|path, _| {
            before
                .values()
                .chain(after.values())
                .any(|(seen, _)| seen == path)
        });
        let mut ready = Vec::new();
        for (name, (path, version)) in after {
            let waited = self.unchanged_for(&path, version, now);
            let earlier = before.get(&name);
            let is_ready = match earlier {
                Some((path, version)) => {
                    self.unchanged_for(path, *version, now).min(waited) >= self.config.settle
                }
                None => waited >= self.config.missing_after,
            };
            let pair = PairFiles {
                version: PairVersion {
                    before: earlier.map(|(_, version)| *version),
                    after: version,
                },
                before: earlier.map(|(path, _)| path.clone()),
                after: path,
                name,
            };
            if is_ready && self.handled.get(&pair.name) != Some(&pair.version) {
                self.handled.insert(pair.name.clone(), pair.version);
                let first = self
                    .names
                    .entry(pair.tile())
                    .or_insert_with(|| pair.name.clone());
                if *first != pair.name {
                    let (tile, name) = (pair.tile(), &pair.name);
                    log::warn!("{name} and {first} are both tile {tile} to the ground; rename one");
                }
                ready.push(pair);
            }
        }
        ready
    }

    /// The pair of a tile, whether it was looked at before or not.
    #[must_use]
    pub fn find_tile(&self, tile: u32) -> Option<PairFiles> {
        let before = list(&self.config.before);
        list(&self.config.after)
            .into_iter()
            .find_map(|(name, (after, version))| {
                let (path, earlier) = before.get(&name)?;
                let pair = PairFiles {
                    version: PairVersion {
                        before: Some(*earlier),
                        after: version,
                    },
                    before: Some(path.clone()),
                    after,
                    name,
                };
                (pair.tile() == tile).then_some(pair)
            })
    }

    fn unchanged_for(&mut self, path: &Path, version: FileFingerprint, now: Instant) -> Duration {
        let observation = self
            .observations
            .entry(path.to_owned())
            .and_modify(|seen| {
                if seen.version != version {
                    *seen = Observation {
                        version,
                        since: now,
                    };
                }
            })
            .or_insert(Observation {
                version,
                since: now,
            });
        now.saturating_duration_since(observation.since)
    }
}

/// The files of a pattern by tile name. A folder that cannot be read has none at present.
fn list(pattern: &Pattern) -> BTreeMap<String, (PathBuf, FileFingerprint)> {
    let Ok(entries) = std::fs::read_dir(&pattern.dir) else {
        return BTreeMap::new();
    };
    let mut found = BTreeMap::new();
    for entry in entries.flatten() {
        let file_name = entry.file_name();
        let Some(tile) = file_name.to_str().and_then(|name| pattern.tile(name)) else {
            continue;
        };
        // Follows links, so that a folder of links to pictures works.
        let Ok(metadata) = std::fs::metadata(entry.path()) else {
            continue;
        };
        if metadata.is_file() {
            found.insert(
                tile.to_owned(),
                (entry.path(), FileFingerprint::of(&metadata)),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Folders {
        dir: tempfile::TempDir,
        start: Instant,
    }

    impl Folders {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            for date in ["before", "after"] {
                fs::create_dir(dir.path().join(date)).unwrap();
            }
            Self {
                dir,
                start: Instant::now(),
            }
        }

        fn write(&self, file: &str, content: &str) {
            fs::write(self.dir.path().join(file), content).unwrap();
        }

        fn watcher(&self, handled: HashMap<String, PairVersion>) -> Watcher {
            let pattern = |date| Pattern::new(date, self.dir.path()).unwrap();
            let config = WatchConfig {
                before: pattern("before"),
                after: pattern("after"),
                poll: Duration::from_secs(1),
                settle: Duration::from_secs(2),
                missing_after: Duration::from_secs(60),
            };
            Watcher::new(config, handled)
        }

        fn at(&self, seconds: u64) -> Instant {
            self.start + Duration::from_secs(seconds)
        }
    }

    fn names(pairs: &[PairFiles]) -> Vec<&str> {
        pairs.iter().map(|pair| pair.name.as_str()).collect()
    }

    #[test]
    fn a_pair_is_handed_out_once_when_both_files_have_settled() {
        let folders = Folders::new();
        let mut watcher = folders.watcher(HashMap::new());
        folders.write("before/a.png", "1");
        assert!(watcher.scan(folders.at(0)).is_empty());
        folders.write("after/a.jpg", "half");
        assert!(watcher.scan(folders.at(1)).is_empty());
        folders.write("after/a.jpg", "half and half");
        assert!(
            watcher.scan(folders.at(3)).is_empty(),
            "it grew since it was last seen"
        );
        let ready = watcher.scan(folders.at(5));
        assert_eq!(names(&ready), ["a"]);
        assert!(watcher.scan(folders.at(60)).is_empty());
        assert_eq!(
            watcher.find_tile(tile_of("a")).unwrap().after,
            ready[0].after
        );
    }

    #[test]
    fn a_new_picture_under_an_old_name_is_a_new_pair_and_a_restart_is_not() {
        let folders = Folders::new();
        folders.write("before/a.png", "1");
        folders.write("after/a.png", "2");
        let mut watcher = folders.watcher(HashMap::new());
        watcher.scan(folders.at(0));
        let ready = watcher.scan(folders.at(2));
        let handled = HashMap::from([("a".to_owned(), ready[0].version)]);
        let mut restarted = folders.watcher(handled);
        restarted.scan(folders.at(0));
        assert!(restarted.scan(folders.at(10)).is_empty());
        folders.write("after/a.png", "new pass");
        restarted.scan(folders.at(11));
        assert_eq!(names(&restarted.scan(folders.at(13))), ["a"]);
    }

    #[test]
    fn an_after_picture_alone_is_handed_out_when_the_wait_is_over() {
        let folders = Folders::new();
        let mut watcher = folders.watcher(HashMap::new());
        folders.write("after/a.png", "2");
        watcher.scan(folders.at(0));
        assert!(watcher.scan(folders.at(59)).is_empty());
        let ready = watcher.scan(folders.at(60));
        assert_eq!(ready[0].before, None);
        assert!(watcher.scan(folders.at(70)).is_empty());
        folders.write("before/a.png", "late");
        watcher.scan(folders.at(80));
        let ready = watcher.scan(folders.at(90));
        assert!(
            ready[0].before.is_some(),
            "the late picture makes it a pair after all"
        );
    }

    #[test]
    fn a_folder_that_comes_later_is_watched() {
        let folders = Folders::new();
        let mut watcher = folders.watcher(HashMap::new());
        fs::remove_dir(folders.dir.path().join("after")).unwrap();
        assert!(watcher.scan(folders.at(0)).is_empty());
        fs::create_dir(folders.dir.path().join("after")).unwrap();
        folders.write("before/a.png", "1");
        folders.write("after/a.png", "2");
        watcher.scan(folders.at(1));
        assert_eq!(watcher.scan(folders.at(4)).len(), 1);
    }

    fn tile_of(name: &str) -> u32 {
        deltavlm_messages::tile_number(name)
    }
}
