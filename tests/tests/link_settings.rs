//! All that `[link]` and the ground's options can set, each tried from the configuration over TCP between
//! the two programs.

mod common;

use common::{Board, PixelAnalyzer, ask, deliver_pair, listen, station};
use deltavlm_ground::{Station, StationConfig, StationEvent};
use deltavlm_messages::Message;
use deltavlm_node::{
    ContactSchedule, DutyShare, LinkId, LinkSettings, MasterSecret, SharedKey, SimplexSettings,
};
use std::{
    path::Path,
    time::{Duration, Instant, SystemTime},
};

const TIMEOUT: Duration = Duration::from_secs(60);

/// The on-board program with these lines in `[link]`.
fn board(dir: &Path, link: &str) -> Board {
    let edit = |text: String| text.replace("[health]", &format!("{link}\n[health]"));
    Board::start_with(dir, edit, || Ok(Box::new(PixelAnalyzer)))
}

fn ground(dir: &Path, board: &Board, link: LinkSettings) -> Station {
    let key = SharedKey::read(&dir.join("link.key")).unwrap();
    with_key(dir, board, link, key)
}

fn with_key(dir: &Path, board: &Board, link: LinkSettings, key: SharedKey) -> Station {
    Station::start(StationConfig {
        address: board.ground.clone(),
        key: Some(key),
        state: dir.join("ground"),
        mtu: 128,
        rate: None,
        probe: Duration::from_secs(1),
        link,
    })
    .unwrap()
}

fn is_alert(message: &Message) -> bool {
    matches!(message, Message::Alert(_))
}

/// An alert comes, and a question is answered.
fn works(station: &mut Station) {
    listen(station, TIMEOUT, |messages| messages.iter().any(is_alert));
    ask(station, 17);
    listen(station, TIMEOUT, |messages| {
        messages
            .iter()
            .any(|message| matches!(message, Message::Answer(_)))
    });
}

#[test]
fn craft_station_encryption_and_a_key_of_a_master_secret() {
    let dir = tempfile::tempdir().unwrap();
    deliver_pair(dir.path(), "tile_17", true);
    let id = LinkId::new(300, 2);
    let master = MasterSecret::generate(1).unwrap();
    master.key(id).write(&dir.path().join("link.key")).unwrap();
    let board = board(dir.path(), "craft = 300\nstation = 2\nencrypt = true");
    let settings = LinkSettings {
        id,
        encrypt: true,
        ..LinkSettings::default()
    };
    let mut ground = with_key(dir.path(), &board, settings, master.key(id));
    works(&mut ground);
    board.stop().unwrap();
}

/// Failure story (D1): the ground of one craft took what another sent, and acknowledged it.
#[test]
fn d01_a_ground_of_another_craft_hears_nothing_and_acknowledges_nothing() {
    let dir = tempfile::tempdir().unwrap();
    deliver_pair(dir.path(), "tile_17", true);
    let board = board(dir.path(), "craft = 1");
    let other = LinkSettings {
        id: LinkId::new(2, 0),
        ..LinkSettings::default()
    };
    let mut stranger = ground(dir.path(), &board, other);
    let start = Instant::now();
    while stranger.counters().foreign < 3 {
        assert!(start.elapsed() < TIMEOUT, "{:?}", stranger.counters());
        assert!(
            stranger
                .step(Duration::from_millis(20))
                .iter()
                .all(|event| !matches!(event, StationEvent::Recorded { .. }))
        );
    }
    assert_eq!(stranger.counters().frames_received, 0);
    drop(stranger);
    std::fs::rename(dir.path().join("ground"), dir.path().join("stranger")).unwrap();
    // The alert still waits for the true one.
    let own = LinkSettings {
        id: LinkId::new(1, 0),
        ..LinkSettings::default()
    };
    works(&mut ground(dir.path(), &board, own));
    board.stop().unwrap();
}

#[test]
fn simplex_with_repairs_brings_alerts_to_a_ground_that_never_sends() {
    let dir = tempfile::tempdir().unwrap();
    deliver_pair(dir.path(), "tile_17", true);
    let board = board(
        dir.path(),
        "simplex = true\nsimplex_repeats = 5\nsimplex_group = 4\nsimplex_repairs = 2\nsimplex_pause_s = 0.5",
    );
    let settings = LinkSettings {
        simplex: Some(SimplexSettings::default()),
        ..LinkSettings::default()
    };
    let mut ground = ground(dir.path(), &board, settings);
    let came = listen(&mut ground, TIMEOUT, |messages| {
        messages.iter().any(is_alert)
    });
    assert_eq!(came.iter().filter(|message| is_alert(message)).count(), 1);
    assert_eq!(ground.counters().frames_sent, 0);
    board.stop().unwrap();
}

/// Windows by the wall clock: nothing is sent before the first, and all comes in it.
#[test]
fn nothing_is_sent_outside_the_contact_schedule() {
    let dir = tempfile::tempdir().unwrap();
    deliver_pair(dir.path(), "tile_17", true);
    let opens = clock() + 8;
    let text = format!("{} {} # the only one\n", utc(opens), utc(opens + 600));
    std::fs::write(dir.path().join("contacts.txt"), &text).unwrap();
    assert_eq!(
        ContactSchedule::parse(&text)
            .unwrap()
            .next(SystemTime::now()),
        Some((opens, opens + 600))
    );
    let board = board(dir.path(), "contacts = \"contacts.txt\"");
    let mut ground = station(&dir.path().join("ground"), board.ground.clone());
    while clock() + 1 < opens {
        ground.step(Duration::from_millis(50));
        assert_eq!(ground.counters().bytes_received, 0, "before the window");
    }
    works(&mut ground);
    assert!(clock() >= opens);
    board.stop().unwrap();
}

/// Seconds since 1970.
fn clock() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn utc(seconds: u64) -> String {
    let (year, month, day) = civil(seconds / 86_400);
    let rest = seconds % 86_400;
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    (year + era * 400 + u64::from(month <= 2), month, day)
}

/// One percent of a minute at 1000 bytes a second is 600 bytes.
#[test]
fn the_duty_cycle_holds_at_either_end() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..20 {
        deliver_pair(dir.path(), &format!("tile_{number}"), true);
    }
    let board = board(
        dir.path(),
        "bytes_per_s = 1000\nduty_cycle = 0.01\nduty_window_s = 60",
    );
    let settings = LinkSettings {
        duty_cycle: Some(DutyShare {
            share: 0.5,
            window: Duration::from_secs(60),
        }),
        ..LinkSettings::default()
    };
    let mut ground = ground(dir.path(), &board, settings);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(8) {
        ground.step(Duration::from_millis(50));
    }
    let bytes = ground.counters().bytes_received;
    assert!((1..=600).contains(&bytes), "{bytes} bytes of at most 600");
    board.stop().unwrap();
}

/// A question that could not be sent for its lifetime is given up and said so, once there is contact
/// again; another is cancelled, after its cost was asked for. The board sees neither.
#[test]
fn questions_expire_are_quoted_and_are_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    deliver_pair(dir.path(), "tile_17", true);
    let board = board(dir.path(), "reply_lifetime_s = 60");
    let window = format!("{} {}", utc(clock() + 6), utc(clock() + 600));
    let mut settings = LinkSettings {
        contacts: Some(ContactSchedule::parse(&window).unwrap()),
        ..LinkSettings::default()
    };
    settings.lifetimes.reply = Some(Duration::from_secs(2));
    let mut ground = ground(dir.path(), &board, settings);
    // The schedule is told with the first step.
    ground.step(Duration::from_millis(1));
    let (bytes, time) = ground
        .estimate(17, deltavlm_messages::Instruction::Classify.into())
        .unwrap();
    assert!((20..200).contains(&bytes), "{bytes}");
    assert!(time.unwrap() > Duration::from_secs(2), "{time:?}");
    let expires = ask(&mut ground, 17);
    let cancelled = ask(&mut ground, 17);
    assert!(ground.cancel(cancelled));
    assert!(!ground.cancel(cancelled));
    let start = Instant::now();
    let mut gone = Vec::new();
    while gone.is_empty() || start.elapsed() < Duration::from_secs(12) {
        assert!(start.elapsed() < TIMEOUT);
        for event in ground.step(Duration::from_millis(50)) {
            match event {
                StationEvent::Expired(query) => gone.push(query),
                StationEvent::Recorded { message, .. } => {
                    assert!(is_alert(&message), "{message:?}");
                }
                _ => {}
            }
        }
    }
    assert_eq!(gone, [expires]);
    assert_eq!(ground.queries().unanswered().count(), 0);
    board.stop().unwrap();
}
