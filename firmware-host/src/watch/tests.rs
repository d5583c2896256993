use super::*;
use crate::config::Pattern;
use std::{fs, fs::File, io::Write, sync::mpsc::channel};

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

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    fn write(&self, file: &str, content: &str) {
        fs::write(self.path(file), content).unwrap();
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
    assert!(watcher.scan(folders.at(0)).ready.is_empty());
    folders.write("after/a.jpg", "half");
    assert!(watcher.scan(folders.at(1)).ready.is_empty());
    folders.write("after/a.jpg", "half and half");
    assert!(
        watcher.scan(folders.at(3)).ready.is_empty(),
        "it grew since it was last seen"
    );
    let ready = watcher.scan(folders.at(5)).ready;
    assert_eq!(names(&ready), ["a"]);
    assert!(watcher.scan(folders.at(60)).ready.is_empty());
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
    let ready = watcher.scan(folders.at(2)).ready;
    let handled = HashMap::from([("a".to_owned(), ready[0].version)]);
    let mut restarted = folders.watcher(handled);
    restarted.scan(folders.at(0));
    assert!(restarted.scan(folders.at(10)).ready.is_empty());
    folders.write("after/a.png", "new pass");
    restarted.scan(folders.at(11));
    assert_eq!(names(&restarted.scan(folders.at(13)).ready), ["a"]);
}

#[test]
fn an_after_picture_alone_is_handed_out_when_the_wait_is_over() {
    let folders = Folders::new();
    let mut watcher = folders.watcher(HashMap::new());
    folders.write("after/a.png", "2");
    watcher.scan(folders.at(0));
    assert!(watcher.scan(folders.at(59)).ready.is_empty());
    let ready = watcher.scan(folders.at(60)).ready;
    assert_eq!(ready[0].before, None);
    assert!(watcher.scan(folders.at(70)).ready.is_empty());
    folders.write("before/a.png", "late");
    watcher.scan(folders.at(80));
    let ready = watcher.scan(folders.at(90)).ready;
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
    assert!(watcher.scan(folders.at(0)).ready.is_empty());
    fs::create_dir(folders.dir.path().join("after")).unwrap();
    folders.write("before/a.png", "1");
    folders.write("after/a.png", "2");
    watcher.scan(folders.at(1));
    assert_eq!(watcher.scan(folders.at(4)).ready.len(), 1);
}

fn tile_of(name: &str) -> u32 {
    deltavlm_messages::tile_number(name)
}

/// One second without the before-folder once reported every pair as missing its picture,
/// analysed all of them again and sent their alerts again.
#[test]
fn d06_a_folder_that_goes_away_suspends_judgement_and_is_told_once() {
    let folders = Folders::new();
    let mut watcher = folders.watcher(HashMap::new());
    for tile in ["a", "b"] {
        folders.write(&format!("before/{tile}.png"), "1");
        folders.write(&format!("after/{tile}.png"), "2");
    }
    watcher.scan(folders.at(0));
    assert_eq!(watcher.scan(folders.at(3)).ready.len(), 2);
    let (before, away) = (folders.path("before"), folders.path("away"));
    fs::rename(&before, &away).unwrap();
    folders.write("after/c.png", "new, and its before-picture cannot be seen");
    let scan = watcher.scan(folders.at(1000));
    assert!(
        matches!(&scan.folders[..], [FolderEvent::Unreadable { dir, .. }] if *dir == before),
        "{:?}",
        scan.folders
    );
    for second in 1001..1100 {
        let scan = watcher.scan(folders.at(second));
        assert!(scan.ready.is_empty() && scan.folders.is_empty(), "{scan:?}");
    }
    fs::rename(&away, &before).unwrap();
    let scan = watcher.scan(folders.at(1100));
    assert!(matches!(&scan.folders[..], [FolderEvent::Readable { .. }]));
    assert!(scan.ready.iter().all(|pair| pair.name == "c"), "{scan:?}");
}

/// A script that deletes the before-pictures first must not raise a fault for each pair.
#[test]
fn d06_a_before_picture_that_goes_after_its_pair_was_analysed_is_not_missed() {
    let folders = Folders::new();
    let mut watcher = folders.watcher(HashMap::new());
    folders.write("before/a.png", "1");
    folders.write("after/a.png", "2");
    folders.write("before/b.png", "1");
    watcher.scan(folders.at(0));
    assert_eq!(names(&watcher.scan(folders.at(3)).ready), ["a"]);
    fs::remove_file(folders.path("before/a.png")).unwrap();
    fs::remove_file(folders.path("before/b.png")).unwrap();
    folders.write("after/b.png", "2");
    assert!(watcher.scan(folders.at(1000)).ready.is_empty());
    assert!(watcher.scan(folders.at(1059)).ready.is_empty());
    assert_eq!(names(&watcher.scan(folders.at(1061)).ready), ["b"]);
}

/// `field_1` was once answered for when `town_1` was asked about.
#[test]
fn d09_a_tile_number_of_two_pairs_has_no_answer() {
    let folders = Folders::new();
    for tile in ["field_1", "town_1", "town_2"] {
        folders.write(&format!("before/{tile}.png"), "1");
        folders.write(&format!("after/{tile}.png"), "2");
    }
    let mut watcher = folders.watcher(HashMap::new());
    watcher.scan(folders.at(0));
    let names = vec!["field_1".to_owned(), "town_1".to_owned()];
    assert_eq!(
        watcher.find_tile(1),
        Err(FindError::Ambiguous { tile: 1, names })
    );
    assert_eq!(watcher.find_tile(2).unwrap().name, "town_2");
    assert_eq!(watcher.find_tile(3), Err(FindError::Unknown(3)));
    fs::remove_file(folders.path("after/field_1.png")).unwrap();
    watcher.scan(folders.at(1));
    assert_eq!(watcher.find_tile(1).unwrap().name, "town_1");
}

/// Which of two files was taken once depended on the order of the directory.
#[test]
fn d10_two_files_for_one_name_are_a_fault_until_one_goes() {
    let folders = Folders::new();
    folders.write("before/a.png", "1");
    folders.write("after/a.jpg", "2");
    folders.write("after/a.tif", "22");
    folders.write("after/a.tfw", "a world file");
    let mut watcher = folders.watcher(HashMap::new());
    watcher.scan(folders.at(0));
    let ready = watcher.scan(folders.at(3)).ready;
    assert_eq!(names(&ready), ["a"]);
    assert_eq!(ready[0].ambiguous.len(), 2, "{ready:?}");
    assert!(
        watcher.scan(folders.at(4)).ready.is_empty(),
        "it is told once"
    );
    assert!(matches!(
        watcher.find_tile(tile_of("a")),
        Err(FindError::SeveralFiles(_))
    ));
    fs::remove_file(folders.path("after/a.tif")).unwrap();
    let ready = watcher.scan(folders.at(8)).ready;
    assert_eq!(ready[0].after, folders.path("after/a.jpg"));
    assert!(ready[0].ambiguous.is_empty());
}

/// `cp -p` over a picture leaves size and modification time as they were.
#[test]
fn d18_a_new_picture_of_the_same_size_and_time_is_a_new_pair() {
    let folders = Folders::new();
    folders.write("before/a.png", "1");
    folders.write("after/a.png", "one");
    let mut watcher = folders.watcher(HashMap::new());
    watcher.scan(folders.at(0));
    let first = watcher.scan(folders.at(3)).ready.remove(0);
    let path = folders.path("after/a.png");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    std::thread::sleep(Duration::from_millis(30));
    folders.write("after/a.png", "two");
    let file = File::options().append(true).open(&path).unwrap();
    file.set_modified(modified).unwrap();
    watcher.scan(folders.at(4));
    let again = watcher.scan(folders.at(7)).ready;
    assert_eq!(names(&again), ["a"]);
    let (one, two) = (first.version.after, again[0].version.after);
    assert_eq!((one.bytes, one.modified_ns), (two.bytes, two.modified_ns));
    // Also over a restart, for which the inode does not count.
    let stored: PairVersion =
        serde_json::from_str(&serde_json::to_string(&first.version).unwrap()).unwrap();
    let mut restarted = folders.watcher(HashMap::from([("a".to_owned(), stored)]));
    restarted.scan(folders.at(0));
    assert_eq!(restarted.scan(folders.at(3)).ready.len(), 1);
}

/// A scan of 10,000 pairs once took 14 seconds, and one ran before every pair.
#[test]
fn d03_the_time_of_a_scan_grows_with_the_number_of_files_and_not_with_its_square() {
    let folders = Folders::new();
    let mut watcher = folders.watcher(HashMap::new());
    let time = |watcher: &mut Watcher, from: usize, to: usize| {
        for tile in from..to {
            folders.write(&format!("before/{tile}.png"), "1");
            folders.write(&format!("after/{tile}.png"), "2");
        }
        watcher.scan(folders.at(from as u64));
        watcher.scan(folders.at(from as u64 + 10));
        let scans = (0..5).map(|_| {
            let start = Instant::now();
            watcher.scan(folders.at(10_000));
            start.elapsed()
        });
        scans.min().unwrap()
    };
    let few = time(&mut watcher, 0, 500);
    let many = time(&mut watcher, 500, 4000);
    // Eight times as many files: 64 times as long if it were quadratic.
    assert!(many < few * 32, "{few:?} for 500 pairs, {many:?} for 4000");
    let due = watcher.next_due().unwrap();
    assert!(
        due >= folders.at(10_000) + many / 2 * (LISTING_SHARE - 1),
        "the next scan is counted from the end of this one, and scans take one per cent at most"
    );
    assert!(watcher.poll(folders.at(10_000)).ready.is_empty());
    assert_eq!(watcher.next_due(), Some(due), "no scan before it is due");
}

/// What the kernel notifies about, in the order in which it comes.
fn notified(
    folders: &Folders,
    watcher: &mut Watcher,
) -> impl FnMut(&mut Watcher, u64) -> Scan + use<> {
    let (sender, batches) = channel();
    watcher
        .notify(move |batch| sender.send(batch).is_ok())
        .unwrap();
    let start = folders.start;
    move |watcher: &mut Watcher, second| {
        let now = start + Duration::from_secs(second);
        let mut all = Scan::default();
        // A notification is there within milliseconds; a busy machine may need longer.
        while let Ok(batch) = batches.recv_timeout(Duration::from_millis(300)) {
            all.ready.extend(watcher.on_notifications(batch, now).ready);
        }
        all
    }
}

#[test]
fn a_picture_that_is_renamed_into_place_is_ready_at_once() {
    let folders = Folders::new();
    folders.write("before/a.png", "1");
    let mut watcher = folders.watcher(HashMap::new());
    let mut notified = notified(&folders, &mut watcher);
    watcher.scan(folders.at(0));
    notified(&mut watcher, 5);
    folders.write("after/a.png.part", "2");
    fs::rename(
        folders.path("after/a.png.part"),
        folders.path("after/a.png"),
    )
    .unwrap();
    assert_eq!(names(&notified(&mut watcher, 5).ready), ["a"]);
    assert!(watcher.find_tile(tile_of("a")).is_ok());
}

/// A file of full length whose second half was still to come once raised a false alert.
#[test]
fn d17_a_file_that_its_writer_has_not_closed_is_not_read_however_long_it_rests() {
    let folders = Folders::new();
    folders.write("before/a.tif", "1");
    let mut watcher = folders.watcher(HashMap::new());
    let mut notified = notified(&folders, &mut watcher);
    watcher.scan(folders.at(0));
    let mut file = File::create(folders.path("after/a.tif")).unwrap();
    file.set_len(1000).unwrap();
    file.write_all(&[1; 500]).unwrap();
    assert!(notified(&mut watcher, 1).ready.is_empty());
    for second in 2..50 {
        assert!(watcher.scan(folders.at(second)).ready.is_empty());
    }
    file.write_all(&[1; 500]).unwrap();
    drop(file);
    assert!(
        notified(&mut watcher, 50).ready.is_empty(),
        "it settles now"
    );
    assert_eq!(names(&watcher.poll(folders.at(53)).ready), ["a"]);
}
