use super::*;
use crate::pair_files::FileFingerprint;
use deltavlm_messages::{Alert, CellSet, Confidence};

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

fn pending(journal: &Journal) -> Vec<&str> {
    journal
        .pending()
        .iter()
        .map(|pending| pending.name.as_str())
        .collect()
}

#[test]
fn what_was_decided_and_not_handed_over_waits_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mut journal = Journal::open(&path).unwrap();
    journal.decide("a", version(1), Some(&alert(1))).unwrap();
    journal.decide("b", version(2), None).unwrap();
    journal.decide("c", version(3), Some(&alert(3))).unwrap();
    journal.handed_over().unwrap();
    for _ in 0..3 {
        journal = Journal::open(&path).unwrap();
        assert_eq!(pending(&journal), ["c"]);
        assert_eq!(journal.pending()[0].message, alert(3));
        assert_eq!(journal.decided().len(), 3);
        assert_eq!(journal.decided()["b"], version(2));
    }
}

#[test]
fn a_new_picture_under_an_old_name_waits_on_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mut journal = Journal::open(&path).unwrap();
    journal.decide("a", version(1), Some(&alert(1))).unwrap();
    journal.decide("a", version(2), Some(&alert(2))).unwrap();
    journal.handed_over().unwrap();
    let journal = Journal::open(&path).unwrap();
    assert_eq!(
        journal.pending(),
        [PendingMessage {
            name: "a".to_owned(),
            message: alert(2)
        }]
    );
    assert_eq!(journal.decided()["a"], version(2));
}

/// A power cut may leave any prefix of the last write. Whatever it leaves, every line before
/// it stands, and the journal can be written on.
#[test]
fn a_cut_at_every_byte_loses_only_the_line_that_it_hit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mut journal = Journal::open(&path).unwrap();
    journal.decide("a", version(1), Some(&alert(1))).unwrap();
    let first = std::fs::read(&path).unwrap().len();
    journal.decide("b", version(2), Some(&alert(2))).unwrap();
    let second = std::fs::read(&path).unwrap().len();
    journal.handed_over().unwrap();
    let whole = std::fs::read(&path).unwrap();
    for length in 0..=whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let mut journal = Journal::open(&path).unwrap();
        // A line is complete without its line feed.
        let expected: &[&str] = match length {
            _ if length + 1 < first => &[],
            _ if length + 1 < second => &["a"],
            _ if length + 1 < whole.len() => &["a", "b"],
            _ => &["b"],
        };
        assert_eq!(pending(&journal), expected, "cut at {length}");
        journal.decide("z", version(9), None).unwrap();
        assert!(
            Journal::open(&path).unwrap().decided().contains_key("z"),
            "cut at {length}"
        );
    }
}

#[test]
fn every_damaged_byte_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    Journal::open(&path)
        .unwrap()
        .decide("a", version(1), Some(&alert(1)))
        .unwrap();
    let good = std::fs::read(&path).unwrap();
    for place in 0..good.len() - 1 {
        let mut bad = good.clone();
        bad[place] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        let journal = Journal::open(&path).unwrap();
        assert!(
            journal.damaged_lines() > 0 && journal.pending().is_empty(),
            "byte {place}"
        );
    }
}

#[test]
fn it_stays_small_however_long_it_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mut journal = Journal::open(&path).unwrap();
    for n in 0..40 {
        journal.decide("a", version(n % 4), None).unwrap();
    }
    let before = journal.log.bytes();
    journal.compact(before).unwrap();
    assert_eq!(journal.log.bytes(), before, "it is not yet too long");
    journal.compact(0).unwrap();
    let after = journal.log.bytes();
    assert!(before > 1000 && after < 1000, "{before}, then {after}");
    assert_eq!(Journal::open(&path).unwrap().decided()["a"], version(3));
}
