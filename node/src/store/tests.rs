use super::*;
use deltavlm_link::{
    Class,
    storage::{Direction, FileStorage, Key, Register, Storage, Value},
};
use proptest::prelude::*;
use std::{collections::BTreeMap, fs};

fn key(class: Class, sequence: u32) -> Key {
    Key {
        direction: Direction::Outbound,
        class,
        sequence,
    }
}

const COUNTER: Value = [7, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A store with 40 entries, 200 decided pairs and a counter, closed.
fn filled(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let (store, _) = Store::open(path, &["decided"]).unwrap();
    let mut link = store.link_storage().unwrap();
    let mut content = BTreeMap::new();
    let mut batch = Batch::default();
    for number in 0..200 {
        let (name, value) = (format!("tile_{number:03}"), format!("version {number}"));
        batch.put("decided", name.as_bytes(), value.as_bytes());
        content.insert(name.into_bytes(), value.into_bytes());
    }
    store.commit(&batch).unwrap();
    for number in 0..40_u32 {
        link.append(key(Class::Urgent, number), &[&[1], &[number as u8; 30]])
            .unwrap();
    }
    link.set(Register::SendCounter, COUNTER).unwrap();
    content
}

fn entries(store: &Store) -> Vec<u32> {
    let mut found = Vec::new();
    let mut link = store.link_storage().unwrap();
    link.recover(&mut |key, _| found.push(key.sequence))
        .unwrap();
    found
}

#[test]
fn what_was_written_is_there_after_opening_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let content = filled(&path);
    let (store, report) = Store::open(&path, &["decided"]).unwrap();
    assert!(!report.created && report.salvage.is_none());
    assert_eq!(entries(&store), (0..40).collect::<Vec<_>>());
    let mut found = BTreeMap::new();
    store
        .for_each("decided", |key, value| {
            found.insert(key.to_vec(), value.to_vec());
        })
        .unwrap();
    assert_eq!(found, content);
    let mut link = store.link_storage().unwrap();
    assert_eq!(link.get(Register::SendCounter).unwrap(), Some(COUNTER));
    let mut body = [0; 64];
    assert_eq!(link.read(key(Class::Urgent, 3), 1, &mut body).unwrap(), 30);
    assert_eq!(body[0], 3);
}

/// Whichever write of a transaction fails, and however: nothing of it is there, and the next
/// attempt leaves the same as if there had been no failure.
#[test]
fn a_commit_that_fails_at_any_write_leaves_nothing_and_the_next_one_succeeds() {
    let directory = tempfile::tempdir().unwrap();
    for fault in [Fault::Full, Fault::ReadOnly, Fault::Device] {
        // A beginning, three changes and an end.
        for write in 0..5 {
            let path = directory.path().join(format!("{fault:?}{write}"));
            let (store, _) = Store::open(&path, &["decided"]).unwrap();
            let mut link = store.link_storage().unwrap();
            let mut deferred = Batch::default();
            deferred.put("decided", b"tile_0", b"v");
            store.defer(deferred);
            let mut batch = Batch::default();
            batch.put("decided", b"tile_1", b"v");
            link.attach(batch.clone());
            store.inject(Faults::after(write, 1, fault));
            assert!(link.append(key(Class::Urgent, 1), &[b"alert"]).is_err());
            assert!(store.is_failing());
            assert!(matches!(
                store.commit(&batch),
                Err(StoreError::Unavailable { .. })
            ));
            assert_eq!(store.get("decided", b"tile_1").unwrap(), None);
            assert!(entries(&store).is_empty());
            let mut body = [0; 8];
            assert_eq!(link.read(key(Class::Urgent, 1), 0, &mut body).unwrap(), 0);

            link.attach(batch);
            while link.append(key(Class::Urgent, 1), &[b"alert"]).is_err() {
                std::thread::sleep(Duration::from_millis(5));
                let mut batch = link.detach();
                batch.put("decided", b"tile_1", b"v");
                link.attach(batch);
            }
            assert!(!store.is_failing());
            assert_eq!(entries(&store), [1]);
            for name in [b"tile_0", b"tile_1"] {
                assert!(store.get("decided", name).unwrap().is_some());
            }
        }
    }
}

/// A log that could not be written anew once was mute for ever, with 39 lines of errors a second.
#[test]
fn d04_a_store_that_fails_is_left_alone_between_attempts_and_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&directory.path().join("store"), &["decided"]).unwrap();
    let mut batch = Batch::default();
    batch.put("decided", b"tile_1", b"v");
    store.inject(Faults::after(0, 3, Fault::Full));
    let mut attempts = 0;
    let mut waits = Vec::new();
    loop {
        match store.commit(&batch) {
            Ok(()) => break,
            Err(StoreError::Full { .. }) => {
                attempts += 1;
                waits.push(store.retry_at().unwrap() - Instant::now());
            }
            Err(StoreError::Unavailable { .. }) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(attempts, 3);
    assert!(waits.is_sorted(), "{waits:?}");
    assert_eq!(store.retry_at(), None);
}

/// "An alert that cannot be noted is still sent" was not true: the link's log is on the same disk.
#[test]
fn d12_a_database_that_cannot_grow_takes_thousands_of_alerts() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&directory.path().join("store"), &["decided"]).unwrap();
    let mut link = store.link_storage().unwrap();
    let wal = salvage::with_suffix(store.path(), "-wal");
    let log_bytes = fs::metadata(&wal).unwrap().len();
    store.freeze_size();
    for number in 0..2000_u32 {
        let mut batch = Batch::default();
        batch.put("decided", format!("tile_{number:06}").as_bytes(), &[7; 150]);
        link.attach(batch);
        link.append(key(Class::Urgent, number), &[&[1], &[7; 31]])
            .unwrap();
        if number > 40 {
            link.acknowledge(key(Class::Urgent, number - 40)).unwrap();
        }
    }
    assert_eq!(fs::metadata(&wal).unwrap().len(), log_bytes);
}

#[test]
fn what_was_deferred_is_written_with_the_next_commit_and_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let (store, _) = Store::open(&path, &["decided"]).unwrap();
    let mut link = store.link_storage().unwrap();
    for number in 0..3 {
        link.append(key(Class::Urgent, number), &[b"alert"])
            .unwrap();
    }
    link.acknowledge(key(Class::Urgent, 0)).unwrap();
    assert_eq!(entries(&store), [0, 1, 2], "what a power cut would leave");
    assert!(store.flush_at().is_some());
    link.append(key(Class::Urgent, 3), &[b"alert"]).unwrap();
    assert_eq!(entries(&store), [1, 2, 3]);
    assert_eq!(store.flush_at(), None);
    link.acknowledge(key(Class::Urgent, 1)).unwrap();
    drop((link, store));
    let (store, _) = Store::open(&path, &["decided"]).unwrap();
    assert_eq!(entries(&store), [2, 3]);
}

#[test]
fn a_second_process_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let (_store, _) = Store::open(&path, &["decided"]).unwrap();
    assert!(matches!(
        Store::open(&path, &["decided"]),
        Err(StoreError::InUse { .. })
    ));
}

#[test]
fn health_is_not_written_to_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let (store, _) = Store::open(&path, &["decided"]).unwrap();
    let mut link = store.link_storage().unwrap();
    link.append(key(Class::Telemetry, 1), &[b"health"]).unwrap();
    let mut body = [0; 6];
    assert_eq!(
        link.read(key(Class::Telemetry, 1), 0, &mut body).unwrap(),
        6
    );
    drop((link, store));
    let (store, _) = Store::open(&path, &["decided"]).unwrap();
    assert!(entries(&store).is_empty());
}

#[test]
fn the_log_of_an_earlier_version_is_taken_over_once() {
    let directory = tempfile::tempdir().unwrap();
    let log_path = directory.path().join("link");
    let mut log = FileStorage::at(&log_path).unwrap();
    log.append(key(Class::Urgent, 9), &[b"\x01alert"]).unwrap();
    log.set(Register::SendCounter, [5; 12]).unwrap();
    drop(log);
    let (store, _) = Store::open(&directory.path().join("store"), &["decided"]).unwrap();
    assert_eq!(import_log(&log_path, &store).unwrap(), 1);
    assert_eq!(import_log(&log_path, &store).unwrap(), 0);
    assert_eq!(entries(&store), [9]);
    let mut link = store.link_storage().unwrap();
    assert_eq!(link.get(Register::SendCounter).unwrap(), Some([5; 12]));
    assert!(!log_path.exists());
}

/// One flipped bit once ended the program for good. Now at most the record that it hit is lost.
#[test]
fn d05_a_flipped_bit_costs_at_most_one_record() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    filled(&path);
    let wal = salvage::with_suffix(&path, "-wal");
    let (sound, sound_log) = (fs::read(&path).unwrap(), fs::read(&wal).unwrap());
    let total = sound.len() + sound_log.len();
    let mut hit = 0;
    for at in (0..total).step_by(15_013) {
        let (mut bytes, mut log) = (sound.clone(), sound_log.clone());
        match at.checked_sub(bytes.len()) {
            None => bytes[at] ^= 0x10,
            Some(at) => log[at] ^= 0x10,
        }
        let case = directory.path().join(format!("case{at}"));
        fs::create_dir(&case).unwrap();
        let path = case.join("store");
        fs::write(&path, &bytes).unwrap();
        fs::write(salvage::with_suffix(&path, "-wal"), &log).unwrap();
        let (store, report) = Store::open(&path, &["decided"]).unwrap();
        hit += usize::from(report.salvage.is_some());
        let mut decided = 0;
        store.for_each("decided", |_, _| decided += 1).unwrap();
        let kept = entries(&store).len();
        assert!(kept >= 39, "byte {at}: {kept} of 40 messages, {report:?}");
        // What only a damaged log says to be decided is looked at again.
        assert!(
            kept + decided >= 239 || at >= sound.len(),
            "byte {at}: {kept} and {decided} of 240, {report:?}"
        );
        let mut link = store.link_storage().unwrap();
        let counter = link.get(Register::SendCounter).unwrap();
        if let Some(salvage) = report.salvage {
            assert!(salvage.quarantine.exists(), "the damaged file is kept");
            assert!(link.is_salvaged(), "byte {at}: counters may be old");
        } else {
            assert!(link.is_salvaged() || counter == Some(COUNTER), "byte {at}");
        }
        drop((link, store));
        let (_, report) = Store::open(&path, &["decided"]).unwrap();
        assert!(report.salvage.is_none(), "byte {at}: salvaged twice");
    }
    assert!(hit > 3, "only {hit} of the flips were noticed");
}

#[test]
fn d05_a_log_of_an_earlier_version_with_a_flipped_bit_is_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let log_path = directory.path().join("link");
    let mut log = FileStorage::at(&log_path).unwrap();
    log.set(Register::SendCounter, COUNTER).unwrap();
    for number in 0..20 {
        log.append(key(Class::Urgent, number), &[b"\x01alert"])
            .unwrap();
    }
    drop(log);
    let mut bytes = fs::read(&log_path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&log_path, &bytes).unwrap();
    let (store, _) = Store::open(&directory.path().join("store"), &["decided"]).unwrap();
    assert_eq!(import_log(&log_path, &store).unwrap(), 19);
    assert!(store.link_storage().unwrap().is_salvaged());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Any damage, also of whole pages, ends in a store that opens.
    #[test]
    fn a_damaged_store_always_opens(
        in_log: bool, from in 0_usize..200_000, length in 1_usize..9_000, fill in any::<u8>(),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        filled(&path);
        let damaged = if in_log { salvage::with_suffix(&path, "-wal") } else { path.clone() };
        let mut bytes = fs::read(&damaged).unwrap();
        let end = bytes.len();
        let range = from.min(end - 1)..(from + length).min(end);
        bytes[range].fill(fill);
        fs::write(&damaged, &bytes).unwrap();
        let (store, _) = Store::open(&path, &["decided"]).unwrap();
        let mut batch = Batch::default();
        batch.put("decided", b"new", b"value");
        store.commit(&batch).unwrap();
    }
}
