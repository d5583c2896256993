//! Nothing is lost when the board's disk fails, is full or damages what it holds.

mod common;

use common::{Board, deliver_pair, listen, station};
use deltavlm_ground::{Station, StationEvent};
use deltavlm_messages::{FaultReason, Message, StorageState};
use deltavlm_node::store::{Fault, Faults};
use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

const TIMEOUT: Duration = Duration::from_secs(60);

fn alerts<'a>(messages: impl IntoIterator<Item = &'a Message>) -> BTreeMap<u32, usize> {
    let mut tiles = BTreeMap::new();
    for message in messages {
        if let Message::Alert(alert) = message {
            *tiles.entry(alert.tile).or_default() += 1;
        }
    }
    tiles
}

/// Steps the station until `done` says so; what happened meanwhile.
fn watch(ground: &mut Station, done: impl Fn(&[StationEvent]) -> bool) -> Vec<StationEvent> {
    let start = Instant::now();
    let mut events = Vec::new();
    while !done(&events) {
        assert!(start.elapsed() < TIMEOUT, "only this came: {events:?}");
        events.extend(ground.step(Duration::from_millis(20)));
    }
    events
}

fn recorded(events: &[StationEvent]) -> Vec<&Message> {
    let messages = events.iter().map(|event| match event {
        StationEvent::Recorded { message, .. } => Some(message),
        _ => None,
    });
    messages.flatten().collect()
}

fn tells(state: StorageState) -> impl Fn(&StationEvent) -> bool {
    move |event| matches!(event, StationEvent::Health(health) if health.storage == state)
}

/// A journal that could not be rewritten lost what it held, a log that could not be compacted was
/// mute for ever, and a full disk stopped all alerts. Now they wait, the ground is told, and each
/// comes once.
#[test]
fn d02_d04_d12_a_disk_that_fails_for_a_while_is_told_and_costs_nothing() {
    for fault in [Fault::Full, Fault::ReadOnly, Fault::Device] {
        let dir = tempfile::tempdir().unwrap();
        let board = Board::start(dir.path(), "");
        let store = board.store();
        let mut ground = station(&dir.path().join("ground"), board.ground.clone());
        deliver_pair(dir.path(), "tile_1", true);
        let mut events = watch(&mut ground, |events| !recorded(events).is_empty());
        // With pauses of 0.1 s, 0.2 s, 0.4 s and so on between the attempts.
        store.inject(Faults::after(1, 5, fault));
        for tile in 2..=6 {
            deliver_pair(dir.path(), &format!("tile_{tile}"), true);
        }
        events.extend(watch(&mut ground, |events| {
            events.iter().any(tells(StorageState::Failing))
        }));
        events.extend(watch(&mut ground, |events| {
            events.iter().any(tells(StorageState::Working))
        }));
        let before = alerts(recorded(&events)).len();
        events.extend(watch(&mut ground, |events| {
            alerts(recorded(events)).len() + before == 6
        }));
        board.stop().unwrap();
        let expected: BTreeMap<u32, usize> = (1..=6).map(|tile| (tile, 1)).collect();
        assert_eq!(alerts(recorded(&events)), expected, "{fault:?}");
        assert_eq!(ground.duplicates(), 0, "{fault:?}: handed over twice");
    }
}

/// One flipped bit in the spool ended the program, for good, while `check` said "ready to run".
#[test]
fn d05_one_flipped_bit_is_told_and_no_alert_is_lost_or_shown_twice() {
    let dir = tempfile::tempdir().unwrap();
    for tile in 1..=5 {
        deliver_pair(dir.path(), &format!("tile_{tile}"), true);
    }
    let board = Board::start(dir.path(), "");
    let mut ground = station(&dir.path().join("ground"), board.ground.clone());
    let mut shown = listen(&mut ground, TIMEOUT, |messages| messages.len() == 5);
    board.stop().unwrap();

    let path = dir.path().join("spool/store-wal");
    let mut bytes = fs::read(&path).unwrap();
    let name = b"tile_2";
    let place = bytes.windows(name.len()).position(|window| window == name);
    bytes[place.unwrap()] ^= 1;
    fs::write(&path, bytes).unwrap();

    let board = Board::start(dir.path(), "");
    let mut ground = {
        drop(ground);
        station(&dir.path().join("ground"), board.ground.clone())
    };
    deliver_pair(dir.path(), "tile_6", true);
    shown.extend(listen(&mut ground, TIMEOUT, |messages| {
        alerts(messages).contains_key(&6) && messages.len() >= 2
    }));
    // Whatever is said twice may come now.
    let start = Instant::now();
    shown.extend(listen(&mut ground, TIMEOUT, |_| {
        start.elapsed() > Duration::from_secs(2)
    }));
    board.stop().unwrap();
    let is_told = |message: &Message| {
        matches!(message, Message::PairFault(fault)
            if fault.tile == 0 && fault.reason == FaultReason::Storage)
    };
    assert_eq!(shown.iter().filter(|m| is_told(m)).count(), 1, "{shown:?}");
    let expected: BTreeMap<u32, usize> = (1..=6).map(|tile| (tile, 1)).collect();
    assert_eq!(alerts(&shown), expected);
    assert!(dir.path().join("spool/store.damaged-1").exists());
}
