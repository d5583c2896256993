//! The on-board program when its model, its worker or its folders fail it.

mod common;

use common::{Board, PixelAnalyzer, deliver_pair, listen, station};
use deltavlm_host::{AnalysisError, AnalyzedAnswer, Analyzer, Detection, HostError, PairFiles};
use deltavlm_messages::{FaultReason, Message, Prompt};
use deltavlm_runtime::Turn;
use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Does something else than answer for pairs of one name.
struct Failing(fn());

impl Analyzer for Failing {
    fn model(&self) -> &str {
        "failing"
    }

    fn detect(&mut self, pair: &PairFiles) -> Result<Detection, AnalysisError> {
        if pair.name == "tile_1" {
            (self.0)();
        }
        PixelAnalyzer.detect(pair)
    }

    fn ask(
        &mut self,
        pair: &PairFiles,
        prompt: &Prompt,
        history: &[Turn],
    ) -> Result<AnalyzedAnswer, AnalysisError> {
        PixelAnalyzer.ask(pair, prompt, history)
    }
}

/// A panic of the model once ended the worker while the program lived on, mute.
#[test]
fn d11_a_panic_of_the_model_costs_one_pair() {
    let dir = tempfile::tempdir().unwrap();
    deliver_pair(dir.path(), "tile_1", true);
    deliver_pair(dir.path(), "tile_2", true);
    let board = Board::start_with(
        dir.path(),
        |text| text,
        || Ok(Box::new(Failing(|| panic!("a test panics on purpose")))),
    );
    let mut ground = station(&dir.path().join("ground"), board.ground.clone());
    let messages = listen(&mut ground, TIMEOUT, |messages| messages.len() >= 2);
    board.stop().unwrap();
    let is_fault = |message: &Message| {
        matches!(message, Message::PairFault(fault)
            if fault.tile == 1 && fault.reason == FaultReason::Inference)
    };
    let is_alert = |message: &Message| matches!(message, Message::Alert(alert) if alert.tile == 2);
    assert!(
        messages.iter().any(is_fault) && messages.iter().any(is_alert),
        "{messages:?}"
    );
}

/// A worker that never came back was once invisible: health was well, questions had no answer.
#[test]
fn d11_a_worker_that_hangs_ends_the_program() {
    let dir = tempfile::tempdir().unwrap();
    deliver_pair(dir.path(), "tile_1", true);
    let board = Board::start_with(
        dir.path(),
        |text| text.replace("[watch]", "deadline_s = 0.1\n[watch]"),
        || {
            Ok(Box::new(Failing(|| {
                thread::sleep(Duration::from_secs(3600))
            })))
        },
    );
    let start = Instant::now();
    let ended = board.end();
    assert!(matches!(ended, Err(HostError::WorkerHangs)), "{ended:?}");
    assert!(start.elapsed() < TIMEOUT);
}

/// A second without the before-folder once raised a fault for every pair and sent every alert
/// again.
#[test]
fn d06_a_folder_that_goes_away_for_a_second_is_told_once_and_costs_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    for tile in 1..=8 {
        deliver_pair(dir.path(), &format!("tile_{tile}"), true);
    }
    let board = Board::start(dir.path(), "");
    let mut ground = station(&dir.path().join("ground"), board.ground.clone());
    listen(&mut ground, TIMEOUT, |messages| messages.len() == 8);
    let (before, away) = (dir.path().join("before"), dir.path().join("away"));
    fs::rename(&before, &away).unwrap();
    let told = listen(&mut ground, TIMEOUT, |messages| !messages.is_empty());
    assert!(
        matches!(&told[..], [Message::PairFault(fault)]
            if fault.tile == 0 && fault.reason == FaultReason::Unreadable),
        "{told:?}"
    );
    // Twice as long as a missing picture is waited for.
    let start = Instant::now();
    let mut rest = listen(&mut ground, TIMEOUT, |_| {
        start.elapsed() > Duration::from_secs(2)
    });
    fs::rename(&away, &before).unwrap();
    let start = Instant::now();
    rest.extend(listen(&mut ground, TIMEOUT, |_| {
        start.elapsed() > Duration::from_secs(1)
    }));
    board.stop().unwrap();
    assert!(rest.is_empty(), "{rest:?}");
    assert_eq!(ground.duplicates(), 0, "no alert was sent again");
}

/// The second time in the life of a station that a board's model failed was taken for the first.
#[test]
fn d08_a_model_that_fails_again_is_told_again() {
    static BROKEN: AtomicBool = AtomicBool::new(true);
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("ground");
    for day in 0..3 {
        BROKEN.store(day != 1, Ordering::Relaxed);
        let board = Board::start_with(
            dir.path(),
            |text| text,
            || match BROKEN.load(Ordering::Relaxed) {
                true => Err(AnalysisError {
                    reason: FaultReason::Inference,
                    detail: "the model cannot be opened".to_owned(),
                    message: "a test".to_owned(),
                }),
                false => Ok(Box::new(PixelAnalyzer)),
            },
        );
        let mut ground = station(&state, board.ground.clone());
        if day != 1 {
            let told = listen(&mut ground, TIMEOUT, |messages| !messages.is_empty());
            assert!(
                matches!(told[0], Message::PairFault(_)),
                "day {day}: {told:?}"
            );
        }
        board.stop().unwrap();
    }
}

/// A picture that is renamed into place, as cameras and `rsync` do it, with the default settings.
#[test]
fn an_alert_follows_a_rename_within_half_a_second() {
    let dir = tempfile::tempdir().unwrap();
    deliver_pair(dir.path(), "tile_1", true);
    // The poll alone would find it after five seconds, and then wait for it to settle.
    let slow = "poll_s = 5\nsettle_s = 2";
    let board = Board::start_with(
        dir.path(),
        |text| text.replace("poll_s = 0.05\nsettle_s = 0.1", slow),
        || Ok(Box::new(PixelAnalyzer)),
    );
    let mut ground = station(&dir.path().join("ground"), board.ground.clone());
    listen(&mut ground, TIMEOUT, |messages| !messages.is_empty());
    deliver_pair(dir.path(), "tile_2", true);
    let start = Instant::now();
    listen(&mut ground, TIMEOUT, |messages| !messages.is_empty());
    let elapsed = start.elapsed();
    board.stop().unwrap();
    println!("from rename to alert: {elapsed:?}");
    assert!(elapsed < Duration::from_millis(500), "{elapsed:?}");
}
