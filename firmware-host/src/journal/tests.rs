use super::*;
use crate::pair_files::FileFingerprint;
use deltavlm_messages::{Alert, CellSet, Confidence};
use deltavlm_node::{
    crc_log::encode_line,
    store::{Fault, Faults},
};
use serde_json::json;
use std::time::Duration;

fn version(n: u64) -> PairVersion {
    let file = FileFingerprint {
        bytes: n,
        modified_ns: 1_700_000_000_000_000_000,
        changed_ns: None,
        inode: None,
    };
    PairVersion {
        before: Some(file),
        after: file,
    }
}

fn alert(tile: u32) -> Message {
    Message::Alert(Alert {
        tile,
        time: 1_700_000_000,
        confidence: Confidence::from_fraction(0.9),
        roads: 1,
        buildings: 2,
        roads_grid: CellSet::from_bits(0b101),
        buildings_grid: CellSet::EMPTY,
        pair: 0xBEEF,
    })
}

fn decision(name: &str, number: u64, message: Option<Message>) -> Decision {
    Decision {
        name: name.to_owned(),
        version: version(number),
        message,
    }
}

/// A link that has room for so many messages, and writes what goes with them.
struct Link {
    store: Store,
    room: usize,
    taken: Vec<Message>,
}

impl Link {
    fn new(store: &Store, room: usize) -> Self {
        Self {
            store: store.clone(),
            room,
            taken: Vec::new(),
        }
    }

    fn take(&mut self, message: &Message, batch: Batch) -> Handover {
        if self.room == 0 || self.store.commit(&batch).is_err() {
            return Handover::Later;
        }
        self.room -= 1;
        self.taken.push(message.clone());
        Handover::Taken
    }
}

fn write(journal: &mut Journal, link: &mut Link) {
    journal.write(|message, batch| link.take(message, batch));
}

#[test]
fn what_the_link_had_no_room_for_waits_also_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    {
        let (store, _) = Store::open(&path, FORGETTABLE).unwrap();
        let (mut journal, _) = Journal::open(&store, dir.path()).unwrap();
        let mut link = Link::new(&store, 1);
        for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
            let message = (name != "b").then(|| alert(number as u32));
            journal.decide(decision(name, number as u64, message));
        }
        write(&mut journal, &mut link);
        assert_eq!(link.taken, [alert(0)]);
        assert_eq!(journal.waiting(), 1);
    }
    let (store, _) = Store::open(&path, FORGETTABLE).unwrap();
    let (mut journal, decided) = Journal::open(&store, dir.path()).unwrap();
    assert_eq!(decided.len(), 3);
    assert_eq!(decided["b"], version(1));
    let mut link = Link::new(&store, 9);
    journal.decide(decision("c", 7, Some(alert(7))));
    write(&mut journal, &mut link);
    assert_eq!(link.taken, [alert(2), alert(7)], "the oldest first");
    drop((journal, link, store));
    let (store, _) = Store::open(&path, FORGETTABLE).unwrap();
    let (journal, decided) = Journal::open(&store, dir.path()).unwrap();
    assert_eq!(journal.waiting(), 0);
    assert_eq!(decided["c"], version(7));
}

/// One failed rewrite of the journal lost 51 of 130 decided alerts. Whichever write fails, and for
/// however long: every alert is handed over once.
#[test]
fn d02_whichever_write_fails_every_alert_is_handed_over_once() {
    let dir = tempfile::tempdir().unwrap();
    for (case, fault) in [Fault::Full, Fault::ReadOnly, Fault::Device]
        .into_iter()
        .enumerate()
    {
        // Four alerts, one of which the link takes later: 16 writes in all.
        for failing in 0..18 {
            let path = dir.path().join(format!("store{case}_{failing}"));
            let (store, _) = Store::open(&path, FORGETTABLE).unwrap();
            let (mut journal, _) = Journal::open(&store, dir.path()).unwrap();
            let mut link = Link::new(&store, 3);
            store.inject(Faults::after(failing, 1 + failing % 3, fault));
            for number in 0..4 {
                let name = format!("tile_{number}");
                journal.decide(decision(&name, number, Some(alert(number as u32))));
                write(&mut journal, &mut link);
            }
            while link.taken.len() < 4 {
                std::thread::sleep(Duration::from_millis(5));
                link.room = 9;
                write(&mut journal, &mut link);
            }
            let expected: Vec<Message> = (0..4).map(alert).collect();
            assert_eq!(link.taken, expected, "{fault:?} at write {failing}");
            drop((journal, link, store));
            let (store, _) = Store::open(&path, FORGETTABLE).unwrap();
            let (journal, decided) = Journal::open(&store, dir.path()).unwrap();
            assert_eq!((decided.len(), journal.waiting()), (4, 0));
        }
    }
}

/// There was a line for each name for ever.
#[test]
fn d25_pairs_without_pictures_are_forgotten_but_for_the_latest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let (store, _) = Store::open(&path, FORGETTABLE).unwrap();
    let (mut journal, _) = Journal::open(&store, dir.path()).unwrap();
    let mut link = Link::new(&store, 0);
    for number in 0..10 {
        journal.decide(decision(&format!("tile_{number}"), number, None));
    }
    write(&mut journal, &mut link);
    let present = HashSet::from(["tile_1".to_owned(), "tile_9".to_owned()]);
    let forgotten = journal.forget_absent(&present, 3);
    assert_eq!(
        forgotten,
        ["tile_0", "tile_2", "tile_3", "tile_4", "tile_5"]
    );
    drop((journal, link, store));
    let (store, _) = Store::open(&path, FORGETTABLE).unwrap();
    let (_, decided) = Journal::open(&store, dir.path()).unwrap();
    let mut names: Vec<String> = decided.into_keys().collect();
    names.sort();
    assert_eq!(names, ["tile_1", "tile_6", "tile_7", "tile_8", "tile_9"]);
}

#[test]
fn the_journal_of_an_earlier_version_is_taken_over_once() {
    let dir = tempfile::tempdir().unwrap();
    let earlier = dir.path().join("journal");
    let mut lines = Vec::new();
    for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
        let message = (name != "b").then(|| EncodedMessage::new(&alert(number as u32)));
        let stamp = version(number as u64);
        lines.push(json!({"decided": {"name": name, "stamp": stamp, "message": message}}));
    }
    lines.push(json!({"handed_over": {"name": "a"}}));
    let content: Vec<u8> = lines
        .iter()
        .flat_map(|line| encode_line(line).unwrap())
        .collect();
    std::fs::write(&earlier, content).unwrap();
    let path = dir.path().join("store");
    for _ in 0..2 {
        let (store, _) = Store::open(&path, FORGETTABLE).unwrap();
        let (journal, decided) = Journal::open(&store, dir.path()).unwrap();
        assert_eq!(decided.len(), 3);
        assert_eq!(decided["b"], version(1));
        assert_eq!(journal.waiting(), 1);
        assert!(!earlier.exists());
    }
}
