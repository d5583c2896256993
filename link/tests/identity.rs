//! Who is who: several craft and stations on one channel, lost storage, records of old traffic.

mod common;

use common::{Storage, alert, converse, messages, query};
use deltavlm_link::{
    Config, Endpoint, Event, Instant, LinkId, RejectReason, Role, auth::Key, auth::Keys,
    auth::Protection, config::ConfigError, sim::Rng, sim::version_1_frame,
};
use std::collections::BTreeSet;

type End = Endpoint<Storage>;

fn config(role: Role, id: LinkId, seed: u64) -> Config {
    Config {
        id,
        uplink: Protection::Authenticated,
        downlink: Protection::Authenticated,
        keys: Keys::single(Key::new(1, b"the only secret.")),
        seed,
        ..Config::new(role)
    }
}

fn start(role: Role, id: LinkId, seed: u64) -> End {
    common::start(config(role, id, seed))
}

/// Every end hears what every other sends, for so many milliseconds. Returns all that was on the air,
/// and what each end saw.
fn share_the_air(
    ends: &mut [End],
    millis: std::ops::Range<u64>,
) -> (Vec<Vec<u8>>, Vec<Vec<Event>>) {
    let (mut air, mut seen) = (Vec::new(), vec![Vec::new(); ends.len()]);
    for now in millis.map(Instant::from_millis) {
        for sender in 0..ends.len() {
            while let Some(frame) = ends[sender].poll_transmit(now) {
                let frame = frame.to_vec();
                for hearer in (0..ends.len()).filter(|&hearer| hearer != sender) {
                    ends[hearer].receive(&frame, now);
                }
                air.push(frame);
            }
        }
        for (end, seen) in ends.iter_mut().zip(&mut seen) {
            while let Some(event) = end.poll_event() {
                if let Event::Message { id, .. } = event {
                    end.acknowledge(id);
                }
                seen.push(event);
            }
        }
    }
    (air, seen)
}

fn delivered(events: &[Event]) -> usize {
    events
        .iter()
        .filter(|event| matches!(event, Event::Delivered(_)))
        .count()
}

/// Failure story (D1): two craft had one key, as the instructions said, and one ground. The second
/// took the acknowledgements of the first one's frames for its own: 20 of 20 of its alerts were
/// reported delivered, and none was.
#[test]
fn d01_two_craft_with_one_key_on_one_channel_lose_and_mix_nothing() {
    let (first, second) = (LinkId::new(1, 0), LinkId::new(2, 0));
    let mut ends = [
        start(Role::Board, first, 1),
        start(Role::Board, second, 2),
        start(Role::Ground, first, 3),
        start(Role::Ground, second, 4),
    ];
    for number in 0..20 {
        for (board, offset) in [(0, 100), (1, 200)] {
            alert(offset + number)
                .send(&mut ends[board], Instant::ZERO)
                .unwrap();
        }
    }
    let (_, seen) = share_the_air(&mut ends, 0..20_000);
    for (board, ground, offset) in [(0, 2, 100), (1, 3, 200)] {
        assert_eq!(delivered(&seen[board]), 20);
        let expected: Vec<_> = (0..20).map(|number| alert(offset + number)).collect();
        let mut came = messages(&seen[ground]);
        came.sort_by_key(|message| message.body.clone());
        assert_eq!(came, expected);
        let counters = ends[board].counters();
        assert!(counters.foreign > 0, "the others' frames are told apart");
        assert_eq!(counters.bad_authentication, 0);
    }
}

/// The same, where even the numbers are the same: nothing can make that work, but nothing is reported
/// delivered that was not, and both sides are told.
#[test]
fn d01_two_craft_with_one_number_are_told_of_and_lose_nothing() {
    let id = LinkId::new(1, 0);
    for protection in [Protection::Plain, Protection::Authenticated] {
        let start = |role, seed| {
            common::start(Config {
                uplink: protection,
                downlink: protection,
                ..config(role, id, seed)
            })
        };
        let mut ends = [
            start(Role::Board, 1),
            start(Role::Board, 2),
            start(Role::Ground, 3),
        ];
        let mut heard = Vec::new();
        let mut told = [0; 3];
        let mut reported = [0; 2];
        for round in 0..30u32 {
            let from = u64::from(round) * 4_000;
            for (board, offset) in [(0, 1000), (1, 2000)] {
                alert(offset + round)
                    .send(&mut ends[board], Instant::from_millis(from))
                    .unwrap();
            }
            let (_, seen) = share_the_air(&mut ends, from..from + 4_000);
            heard.extend(messages(&seen[2]));
            for board in 0..2 {
                reported[board] += delivered(&seen[board]);
            }
            for (told, seen) in told.iter_mut().zip(&seen) {
                *told += seen
                    .iter()
                    .filter(|event| {
                        matches!(
                            event,
                            Event::DuplicateIdentity
                                | Event::AuthDenied(RejectReason::DuplicateIdentity)
                        )
                    })
                    .count();
            }
        }
        for (board, offset) in [(0, 1000), (1, 2000)] {
            let came: BTreeSet<Vec<u8>> = heard
                .iter()
                .filter(|message| {
                    (offset..offset + 30)
                        .contains(&u32::from_le_bytes(*message.body.first_chunk().unwrap()))
                })
                .map(|message| message.body.clone())
                .collect();
            assert!(
                reported[board] <= came.len(),
                "{protection:?}: board {board} believes in {} of {}",
                reported[board],
                came.len()
            );
            assert_eq!(
                reported[board] + ends[board].waiting(),
                30,
                "what was not delivered waits"
            );
        }
        assert!(told[2] > 0, "{protection:?}: the ground is told");
        assert!(told[0] + told[1] > 0, "{protection:?}: and so is a board");
        assert!(
            reported.iter().sum::<usize>() >= 20,
            "one of them is served"
        );
    }
}

/// What nonce a signed frame of a fresh end has, beyond what is the same for all of them.
fn handshake_nonce(frame: &[u8]) -> (u32, u64) {
    let mut block = frame[..frame.len() - 1].to_vec();
    let content = deltavlm_link::cobs::decode_in_place(&mut block).unwrap();
    assert_eq!(content[0] & 2, 2, "a handshake");
    let mut counter = [0; 8];
    counter[..6].copy_from_slice(&content[2..8]);
    let epoch = u32::from_le_bytes(*content[8..].first_chunk().unwrap());
    (epoch, u64::from_le_bytes(counter))
}

/// Failure story (D7 a): a second station with an empty state directory, or a board that had lost its
/// spool, began at counter 0 under the same key, as the one before had.
#[test]
fn d07_fresh_storage_repeats_no_nonce() {
    let mut used = BTreeSet::new();
    for seed in 0..2_000 {
        let mut board = start(Role::Board, LinkId::new(1, 0), seed);
        for second in 0..3 {
            let frame = board
                .poll_transmit(Instant::from_secs(second * 60))
                .unwrap();
            assert!(used.insert(handshake_nonce(frame)), "seed {seed}");
        }
    }
}

/// What may become of a board's storage over a restart.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Loss {
    Kept,
    Empty,
    /// As it was some time ago, and the storage knows that it was damaged.
    SetBack,
}

/// Failure story (D7 b): a board that had lost its spool obeyed the recorded `set` of the day before,
/// played by somebody without a key.
#[test]
fn d07_nothing_recorded_is_obeyed_after_any_loss_of_storage() {
    let id = LinkId::new(3, 1);
    for seed in 0..25 {
        let mut rng = Rng::new(seed);
        let mut seeds = 1000 * seed..;
        let mut seed_of = || seeds.next().unwrap();
        let mut board = start(Role::Board, id, seed_of());
        let mut ground = start(Role::Ground, id, seed_of());
        let mut record: Vec<Vec<u8>> = Vec::new();
        let mut clock = 0;
        let mut asked = 0;
        let mut snapshot = board.storage().clone();
        for round in 0..6u32 {
            // An honest exchange, overheard.
            let mut ends = [board, ground];
            for _ in 0..5 {
                query(asked)
                    .send(&mut ends[1], Instant::from_millis(clock))
                    .unwrap();
                asked += 1;
            }
            let (air, seen) = share_the_air(&mut ends, clock..clock + 10_000);
            assert_eq!(
                messages(&seen[0]).len(),
                5,
                "seed {seed}, round {round}: the true ground is obeyed"
            );
            record.extend(air);
            clock += 10_000;
            [board, ground] = ends;
            // The board starts again, and the record is played, in whatever order.
            let loss = [Loss::Kept, Loss::Empty, Loss::SetBack][rng.below(3) as usize];
            let storage = match loss {
                Loss::Kept => board.into_storage(),
                Loss::Empty => Storage::new(),
                Loss::SetBack => snapshot.clone(),
            };
            board = Endpoint::new(
                Config {
                    storage_salvaged: loss == Loss::SetBack,
                    ..config(Role::Board, id, seed_of())
                },
                storage,
            )
            .unwrap();
            for _ in 0..2 {
                for step in 0..record.len() {
                    let at = if rng.chance(0.5) {
                        step
                    } else {
                        rng.below(record.len() as u64) as usize
                    };
                    clock += rng.below(40);
                    let now = Instant::from_millis(clock);
                    board.receive(&record[at], now);
                    while let Some(frame) = board.poll_transmit(now) {
                        // What the board says to it is on record as well from now on.
                        record.push(frame.to_vec());
                        if record.len() > 2_000 {
                            record.remove(0);
                        }
                    }
                    while let Some(event) = board.poll_event() {
                        assert!(
                            !matches!(event, Event::Message { .. }),
                            "seed {seed}, round {round}, {loss:?}: obeyed a record"
                        );
                    }
                }
            }
            if rng.chance(0.5) {
                snapshot = board.storage().clone();
            }
        }
    }
}

/// Failure story: what was salvaged is older than what was there, so the floor is too low; and the
/// start after that finds nothing wrong with the storage any more.
#[test]
fn d07_salvaged_storage_stays_unproved_over_further_starts() {
    let id = LinkId::new(3, 1);
    let (mut board, mut ground) = (start(Role::Board, id, 1), start(Role::Ground, id, 2));
    converse(&mut board, &mut ground, 0..2_000);
    let old = board.storage().clone();
    let mut record = Vec::new();
    query(7).send(&mut ground, Instant::from_secs(2)).unwrap();
    for millis in 2_000..4_000 {
        let now = Instant::from_millis(millis);
        while let Some(frame) = ground.poll_transmit(now) {
            record.push(frame.to_vec());
            board.receive(frame, now);
        }
        while let Some(frame) = board.poll_transmit(now) {
            ground.receive(frame, now);
        }
    }
    assert!(
        std::iter::from_fn(|| board.poll_event())
            .any(|event| matches!(event, Event::Message { .. })),
        "it was obeyed once"
    );
    let salvaged = Config {
        storage_salvaged: true,
        ..config(Role::Board, id, 3)
    };
    let mut storage = Endpoint::new(salvaged, old).unwrap().into_storage();
    for seed in 4..8 {
        let mut board = Endpoint::new(config(Role::Board, id, seed), storage).unwrap();
        for frame in &record {
            board.receive(frame, Instant::ZERO);
        }
        assert!(board.poll_event().is_none(), "start {seed}");
        storage = board.into_storage();
    }
    // The true ground is heard all the same, and what waits there comes.
    let mut board = Endpoint::new(config(Role::Board, id, 9), storage).unwrap();
    query(8).send(&mut ground, Instant::from_secs(4)).unwrap();
    let (of_board, of_ground) = converse(&mut board, &mut ground, 4_000..20_000);
    assert_eq!(messages(&of_board).last(), Some(&query(8)));
    assert!(of_ground.contains(&Event::PeerReplaced));
}

/// A board that another took the place of goes on with all it has, once it has a channel of its own
/// and has started again.
#[test]
fn a_board_that_was_displaced_is_heard_again_after_a_start() {
    let id = LinkId::new(1, 0);
    let mut first = start(Role::Board, id, 1);
    let mut ground = start(Role::Ground, id, 2);
    converse(&mut first, &mut ground, 0..2_000);
    // While the first is away, another takes its name.
    let mut second = start(Role::Board, id, 3);
    converse(&mut second, &mut ground, 2_000..60_000);
    alert(1).send(&mut first, Instant::from_secs(60)).unwrap();
    let (of_first, of_ground) = converse(&mut first, &mut ground, 60_000..120_000);
    assert!(of_ground.contains(&Event::DuplicateIdentity));
    assert!(of_first.contains(&Event::AuthDenied(RejectReason::DuplicateIdentity)));
    assert_eq!(delivered(&of_first), 0);
    let storage = first.into_storage();
    let mut first = Endpoint::new(config(Role::Board, id, 4), storage).unwrap();
    let (of_first, of_ground) = converse(&mut first, &mut ground, 120_000..180_000);
    assert_eq!(delivered(&of_first), 1);
    assert_eq!(messages(&of_ground), [alert(1)]);
}

#[test]
fn a_peer_of_version_1_is_told_of_and_noise_is_not() {
    let mut ground = start(Role::Ground, LinkId::new(1, 0), 1);
    let events =
        |end: &mut End| -> Vec<Event> { std::iter::from_fn(|| end.poll_event()).collect() };
    ground.receive(&version_1_frame(Role::Board, 1), Instant::ZERO);
    assert!(events(&mut ground).is_empty(), "one may be noise");
    for counter in 2..9 {
        ground.receive(&version_1_frame(Role::Board, counter), Instant::ZERO);
    }
    assert_eq!(events(&mut ground), [Event::OtherFormat(1)], "told once");
    assert_eq!(ground.counters().version_1, 8);
    assert_eq!(ground.counters().frames_received, 0);
}

#[test]
fn a_station_that_the_nonce_has_no_room_for_is_refused() {
    let bad = config(Role::Ground, LinkId::new(0, 128), 1);
    assert_eq!(bad.check(), Err(ConfigError::Station));
}

/// Frames of strangers, of other craft, records, and all of them damaged: none is taken.
#[test]
fn no_hostile_frame_is_accepted() {
    let id = LinkId::new(5, 2);
    // Everything an attacker may have: all traffic of this link so far, of other craft under the same
    // key, and of this craft under another.
    let mut record = Vec::new();
    let other_key = |role, seed| {
        common::start(Config {
            keys: Keys::single(Key::new(1, b"another secret..")),
            ..config(role, id, seed)
        })
    };
    let mut pairs = [
        [
            start(Role::Board, LinkId::new(6, 2), 1),
            start(Role::Ground, LinkId::new(6, 2), 2),
        ],
        [
            start(Role::Board, LinkId::new(5, 3), 3),
            start(Role::Ground, LinkId::new(5, 3), 4),
        ],
        // The same address on the air.
        [
            start(Role::Board, LinkId::new(37, 2), 5),
            start(Role::Ground, LinkId::new(37, 2), 6),
        ],
        [other_key(Role::Board, 7), other_key(Role::Ground, 8)],
        [start(Role::Board, id, 9), start(Role::Ground, id, 10)],
    ];
    for pair in &mut pairs {
        for number in 0..30 {
            query(number as u16)
                .send(&mut pair[1], Instant::ZERO)
                .unwrap();
            alert(number).send(&mut pair[0], Instant::ZERO).unwrap();
        }
        record.extend(share_the_air(pair, 0..4_000).0);
    }
    // A board with storage of its own that has met its ground, and one that has met nobody.
    let [board, mut ground] = pairs.into_iter().next_back().unwrap();
    let mut fresh = start(Role::Board, id, 11);
    let mut known = Endpoint::new(config(Role::Board, id, 12), board.into_storage()).unwrap();
    converse(&mut known, &mut ground, 10_000..12_000);
    let mut rng = Rng::new(1);
    let before = [&known, &fresh].map(|end| end.counters().frames_received);
    for step in 0..150_000u64 {
        let mut frame = record[rng.below(record.len() as u64) as usize].clone();
        if rng.chance(0.8) {
            for _ in 0..=rng.below(4) {
                let at = rng.below(frame.len() as u64 - 1) as usize;
                frame[at] = match rng.below(3) {
                    0 => frame[at] ^ 1 << rng.below(8),
                    1 => rng.bits() as u8 | 1,
                    _ => frame[at].wrapping_add(1),
                };
            }
        }
        let now = Instant::from_millis(12_000 + step);
        for end in [&mut known, &mut fresh] {
            end.receive(&frame, now);
            if step % 16 == 0 {
                let _ = end.poll_transmit(now);
            }
            while let Some(event) = end.poll_event() {
                assert!(
                    !matches!(event, Event::Message { .. }),
                    "step {step}: {event:?}"
                );
            }
        }
    }
    for (end, before) in [&known, &fresh].into_iter().zip(before) {
        assert_eq!(end.counters().frames_received, before);
    }
}
