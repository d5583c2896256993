//! Questions from the ground: each gets one answer or one refusal with its reason, also when the
//! ground program is started again in between.

mod common;

use common::{Board, ask, deliver_pair, listen, station};
use deltavlm_ground::{StationEvent, queries::PendingQuery};
use deltavlm_messages::{AnswerBody, Confidence, Message, RefusalReason, Setting, short_hash};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

const TIMEOUT: Duration = Duration::from_secs(30);

fn replies(messages: &[Message]) -> usize {
    messages
        .iter()
        .filter(|message| matches!(message, Message::Answer(_) | Message::Refusal(_)))
        .count()
}

#[test]
fn an_answer_names_its_pair_and_model_and_a_wrong_tile_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    deliver_pair(dir.path(), "tile_17", true);
    let board = Board::start(dir.path(), "");
    let mut ground = station(&dir.path().join("ground"), board.ground.clone());
    let (known, unknown) = (ask(&mut ground, 17), ask(&mut ground, 18));
    let messages = listen(&mut ground, TIMEOUT, |messages| replies(messages) == 2);
    board.stop().unwrap();
    for message in messages {
        match message {
            Message::Answer(answer) => {
                assert_eq!(answer.query, known);
                assert_eq!(answer.source.model, short_hash(b"pixels"));
                assert!(matches!(
                    answer.body,
                    AnswerBody::Classify { changed: true, .. }
                ));
            }
            Message::Refusal(refusal) => {
                assert_eq!(refusal.query, unknown);
                assert_eq!(refusal.reason, RefusalReason::UnknownTarget);
            }
            _ => {}
        }
    }
}

#[test]
fn more_questions_than_the_queue_holds_are_refused_and_none_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    deliver_pair(dir.path(), "tile_17", true);
    let board = Board::start(dir.path(), "[query]\nqueue = 2\nper_minute = 600\n");
    let mut ground = station(&dir.path().join("ground"), board.ground.clone());
    let asked: Vec<u16> = (0..12).map(|_| ask(&mut ground, 17)).collect();
    let messages = listen(&mut ground, TIMEOUT, |messages| {
        replies(messages) == asked.len()
    });
    board.stop().unwrap();
    let mut seen = BTreeMap::new();
    let mut full = 0;
    for message in &messages {
        let query = match message {
            Message::Answer(answer) => answer.query,
            Message::Refusal(refusal) => {
                assert_eq!(refusal.reason, RefusalReason::QueueFull);
                full += 1;
                refusal.query
            }
            _ => continue,
        };
        *seen.entry(query).or_insert(0) += 1;
    }
    assert!(
        seen.keys().eq(asked.iter()) && seen.values().all(|&count| count == 1),
        "{seen:?}"
    );
    assert!(
        full > 0 && full < asked.len(),
        "{full} of {} were refused",
        asked.len()
    );
}

#[test]
fn the_answer_finds_a_ground_program_that_was_started_again() {
    let dir = tempfile::tempdir().unwrap();
    deliver_pair(dir.path(), "tile_17", true);
    let board = Board::start(dir.path(), "");
    let state = dir.path().join("ground");
    // Asked and ended before the line was even open: the question is on disk.
    let query = ask(&mut station(&state, board.ground.clone()), 17);
    let mut ground = station(&state, board.ground.clone());
    let start = Instant::now();
    let mut answers = Vec::new();
    while start.elapsed() < TIMEOUT && answers.is_empty() {
        answers.extend(
            ground
                .step(Duration::from_millis(20))
                .into_iter()
                .filter_map(|event| match event {
                    StationEvent::Recorded {
                        message: Message::Answer(answer),
                        pending,
                        ..
                    } => Some((answer, pending)),
                    _ => None,
                }),
        );
    }
    board.stop().unwrap();
    let (answer, pending) = answers.pop().expect("an answer");
    assert_eq!(answer.query, query);
    assert_eq!(
        pending.unwrap().tile,
        "17",
        "the new program knows what was asked"
    );
    assert_eq!(ground.queries().unanswered().count(), 0);
}

#[test]
fn a_setting_holds_after_a_restart_of_the_board() {
    let dir = tempfile::tempdir().unwrap();
    let board = Board::start(dir.path(), "");
    let state = dir.path().join("ground");
    let mut ground = station(&state, board.ground.clone());
    let pending = PendingQuery {
        tile: "-".to_owned(),
        instruction: "set".to_owned(),
        question: None,
        follow_up: false,
    };
    // The pixel analyst is 90 % sure of everything.
    let threshold = Setting::AlertThreshold(Confidence::from_fraction(0.95));
    let query = ground.set(threshold, pending).unwrap();
    let start = Instant::now();
    let mut done = false;
    while !done && start.elapsed() < TIMEOUT {
        let events = ground.step(Duration::from_millis(20));
        done = events
            .iter()
            .any(|event| matches!(event, StationEvent::Applied(id) if *id == query));
    }
    assert!(done);
    board.stop().unwrap();
    drop(ground);
    let board = Board::start(dir.path(), "");
    let mut ground = station(&state, board.ground.clone());
    deliver_pair(dir.path(), "tile_1", true);
    ask(&mut ground, 1);
    let mut replied = Instant::now() + TIMEOUT;
    let messages = listen(&mut ground, TIMEOUT * 2, |messages| {
        if replies(messages) == 1 {
            // The pair itself is looked at within this time as well.
            replied = replied.min(Instant::now() + Duration::from_secs(2));
        }
        Instant::now() > replied
    });
    board.stop().unwrap();
    assert!(
        !messages
            .iter()
            .any(|message| matches!(message, Message::Alert(_))),
        "{messages:?}"
    );
}
