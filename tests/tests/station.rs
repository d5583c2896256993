//! What the ground program is told, and what it keeps, when things go wrong on the way.

mod common;

use common::{Board, ask, deliver_pair, listen, station};
use deltavlm_ground::{Station, StationConfig, StationEvent};
use deltavlm_messages::{Message, RefusalReason};
use deltavlm_node::SharedKey;
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

const TIMEOUT: Duration = Duration::from_secs(30);

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// The third question in a minute once had no answer, no refusal, and stayed open for ever.
#[test]
fn d13_a_question_that_the_link_refuses_is_a_refusal_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    deliver_pair(dir.path(), "tile_17", true);
    let board = Board::start(dir.path(), "[query]\nper_minute = 2\n");
    let mut ground = station(&dir.path().join("ground"), board.ground.clone());
    let asked: Vec<u16> = (0..3).map(|_| ask(&mut ground, 17)).collect();
    let is_reply = |message: &&Message| matches!(message, Message::Answer(_) | Message::Refusal(_));
    let messages = listen(&mut ground, TIMEOUT, |messages| {
        messages.iter().filter(is_reply).count() == asked.len()
    });
    board.stop().unwrap();
    let refused: Vec<RefusalReason> = messages
        .iter()
        .filter_map(|message| match message {
            Message::Refusal(refusal) => Some(refusal.reason),
            _ => None,
        })
        .collect();
    assert_eq!(refused, [RefusalReason::RateLimited]);
    assert_eq!(ground.queries().unanswered().count(), 0);
}

/// With a wrong key the ground once said that it heard nothing.
#[test]
fn d13_a_station_with_a_wrong_key_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let board = Board::start(dir.path(), "");
    for (name, key) in [
        ("none", None),
        (
            "wrong",
            Some(SharedKey {
                id: 1,
                secret: [7; 16],
            }),
        ),
    ] {
        let mut ground = Station::start(StationConfig {
            address: board.ground.clone(),
            key,
            state: dir.path().join(name),
            mtu: 128,
            rate: None,
            probe: Duration::from_secs(1),
            link: deltavlm_node::LinkSettings::default(),
        })
        .unwrap();
        ask(&mut ground, 17);
        let start = Instant::now();
        let is_told = |ground: &Station| {
            let counters = ground.counters();
            ground.is_denied() || counters.bad_authentication + counters.unknown_key > 0
        };
        while !is_told(&ground) {
            assert!(start.elapsed() < TIMEOUT, "{name}: {:?}", ground.counters());
            ground.step(Duration::from_millis(20));
        }
    }
    board.stop().unwrap();
}

/// An answer whose program was killed between recording and showing it was never shown, and its
/// question stayed open for ever.
#[test]
fn d16_what_was_recorded_and_not_shown_is_shown_after_a_restart_and_once() {
    let dir = tempfile::tempdir().unwrap();
    deliver_pair(dir.path(), "tile_17", false);
    let board = Board::start(dir.path(), "");
    let (state, killed) = (dir.path().join("ground"), dir.path().join("killed"));
    let mut ground = station(&state, board.ground.clone());
    let query = ask(&mut ground, 17);
    let is_answer = |event: &StationEvent| {
        matches!(event, StationEvent::Recorded { message: Message::Answer(answer), .. }
            if answer.query == query)
    };
    let start = Instant::now();
    while !ground.step(Duration::from_millis(20)).iter().any(is_answer) {
        assert!(start.elapsed() < TIMEOUT);
    }
    // What the disk holds at this moment is what a killed program leaves.
    copy(&state, &killed);
    drop(ground);

    let mut ground = station(&killed, board.ground.clone());
    let mut shown = Vec::new();
    while start.elapsed() < TIMEOUT && shown.is_empty() {
        let events = ground.step(Duration::from_millis(20));
        shown.extend(events.into_iter().filter(is_answer));
    }
    let Some(StationEvent::Recorded {
        pending: Some(pending),
        ..
    }) = shown.first()
    else {
        panic!("not shown after the restart: {shown:?}");
    };
    assert_eq!(pending.tile, "17", "d15: the record holds what was asked");
    assert_eq!(ground.queries().unanswered().count(), 0);
    drop(ground);

    let mut ground = station(&killed, board.ground.clone());
    for _ in 0..50 {
        let events = ground.step(Duration::from_millis(20));
        assert!(!events.iter().any(is_answer), "shown again");
    }
    assert_eq!(ground.record().entries().len(), 1);
    board.stop().unwrap();
}
