//! Peers that lie and strangers that guess, on both ends.

use deltavlm_link::{
    Config, Endpoint, Event, Instant, RejectReason, Role, auth::Key, auth::Keys, auth::Protection,
    sim::Mix, sim::Rng, sim::message_of, sim::plain_frame, storage::MemoryStorage,
};

type Storage = MemoryStorage<16_384>;

fn config(role: Role, protection: Protection) -> Config {
    Config {
        uplink: protection,
        downlink: protection,
        keys: Keys::single(Key::new(1, b"nobody knows it.")),
        ..Config::new(role)
    }
}

fn start(config: Config) -> Endpoint<Storage> {
    Endpoint::new(config, Storage::new()).unwrap()
}

/// Lets both ends exchange what they have for so many milliseconds, and returns the board's frames.
fn converse(
    board: &mut Endpoint<Storage>,
    ground: &mut Endpoint<Storage>,
    millis: std::ops::Range<u64>,
) -> Vec<Vec<u8>> {
    let mut overheard = Vec::new();
    for now in millis.map(Instant::from_millis) {
        while let Some(frame) = board.poll_transmit(now) {
            overheard.push(frame.to_vec());
            ground.receive(frame, now);
        }
        while let Some(frame) = ground.poll_transmit(now) {
            board.receive(frame, now);
        }
    }
    overheard
}

/// A peer that writes well-formed frames full of lies: neither end panics, runs out of memory, or
/// stops being able to talk to itself afterwards.
#[test]
fn a_peer_that_lies_breaks_nothing() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let role = if seed % 2 == 0 {
            Role::Board
        } else {
            Role::Ground
        };
        let mut end = start(config(role, Protection::Plain));
        for step in 0..500u64 {
            let now = Instant::from_millis(step * rng.below(2_000));
            let mut payload = Vec::new();
            // Half the time a known chunk with wild content, half the time anything.
            if rng.chance(0.5) {
                let kinds = [
                    1, 2, 3, 4, 5, 6, 7, 8, 9, 0x10, 0x18, 0x41, 0x48, 0x81, 0x88, 0xC1, 0xE8,
                    0xA0, 0xD8,
                ];
                payload.push(kinds[rng.below(kinds.len() as u64) as usize]);
            }
            let small = rng.chance(0.5);
            (0..rng.below(60)).for_each(|_| {
                payload.push(if small {
                    rng.below(4) as u8
                } else {
                    rng.bits() as u8
                })
            });
            let frame = plain_frame(&end, step, &payload);
            end.receive(&frame, now);
            if step % 50 == 0 {
                let _ = message_of(seed, role, Mix::All, step as u32).send(&mut end, now);
            }
            while end.poll_transmit(now).is_some() {}
            while let Some(event) = end.poll_event() {
                if let Event::Message { id, .. } = event {
                    end.acknowledge(id);
                }
            }
            let _ = end.next_deadline();
        }
        assert!(
            end.counters().frames_received > 300,
            "the lies got through to be dealt with"
        );
        let storage = end.into_storage();
        Endpoint::new(config(role, Protection::Plain), storage).expect("it starts again");
    }
}

#[test]
fn reflected_frames_are_refused_and_counted() {
    let mut board = start(config(Role::Board, Protection::Authenticated));
    let mut ground = start(config(Role::Ground, Protection::Authenticated));
    let frames = converse(&mut board, &mut ground, 0..200);
    let before = board.counters().frames_received;
    for frame in &frames {
        board.receive(frame, Instant::from_secs(1));
    }
    assert_eq!(board.counters().reflected as usize, frames.len());
    assert_eq!(board.counters().frames_received, before);
}

#[test]
fn truncated_frames_are_refused_and_counted() {
    let mut board = start(config(Role::Board, Protection::Authenticated));
    let mut ground = start(config(Role::Ground, Protection::Authenticated));
    let frame = board.poll_transmit(Instant::ZERO).unwrap().to_vec();
    for length in 1..frame.len() - 1 {
        ground.receive(&frame[..length], Instant::ZERO);
        ground.receive(&[0], Instant::ZERO);
    }
    let counters = *ground.counters();
    assert_eq!(counters.frames_received, 0);
    let refused = counters.bad_stuffing
        + counters.bad_length
        + counters.unknown_epoch
        + counters.bad_version
        + counters.bad_authentication;
    assert_eq!(refused as usize, frame.len() - 2);
}

#[test]
fn a_wrong_key_and_an_empty_slot_are_told_apart() {
    let mut board = start(config(Role::Board, Protection::Authenticated));
    let keys = |id, secret| Config {
        keys: Keys::single(Key::new(id, secret)),
        ..config(Role::Ground, Protection::Authenticated)
    };
    let mut same_slot = start(keys(3, b"nobody knows it."));
    let mut other_slot = start(keys(2, b"nobody knows it."));
    let mut other_secret = start(keys(1, b"nobody knows it!"));
    let now = Instant::ZERO;
    for end in [&mut same_slot, &mut other_slot, &mut other_secret] {
        let frame = end.poll_transmit(now).unwrap().to_vec();
        board.receive(&frame, now);
    }
    assert_eq!(
        board.counters().bad_authentication,
        2,
        "another id or another secret"
    );
    assert_eq!(board.counters().unknown_key, 1);
    assert_eq!(board.counters().frames_received, 0);
    assert_eq!(board.counters().unknown_epoch, 0, "no handshake was read");
}

#[test]
fn a_plain_command_to_a_board_that_wants_signatures_is_refused_and_said_so() {
    let mut board = start(config(Role::Board, Protection::Authenticated));
    let mut stranger = start(Config {
        uplink: Protection::Plain,
        ..config(Role::Ground, Protection::Authenticated)
    });
    stranger.send(8, b"query", Instant::ZERO).unwrap();
    converse(&mut board, &mut stranger, 0..5_000);
    assert!(board.counters().unprotected > 0);
    assert_eq!(board.counters().frames_received, 0);
    assert!(
        std::iter::from_fn(|| board.poll_event())
            .all(|event| !matches!(event, Event::Message { .. }))
    );
    let denied = std::iter::from_fn(|| stranger.poll_event())
        .any(|event| event == Event::AuthDenied(RejectReason::BadAuthentication));
    assert!(denied, "the stranger is told why it is not heard");
}

#[test]
fn replays_are_refused_before_and_after_a_start() {
    let mut board = start(config(Role::Board, Protection::AuthenticatedEncrypted));
    let mut ground = start(config(Role::Ground, Protection::AuthenticatedEncrypted));
    for number in 0..60 {
        message_of(1, Role::Board, Mix::Short, number)
            .send(&mut board, Instant::ZERO)
            .unwrap();
    }
    let frames = converse(&mut board, &mut ground, 0..3_000);
    assert!(frames.len() > 15);
    for round in 0..3 {
        let before = ground.counters().frames_received;
        let replayed = ground.counters().replayed;
        for frame in frames.iter().rev().chain(&frames) {
            ground.receive(frame, Instant::from_secs(10));
        }
        assert_eq!(ground.counters().frames_received, before, "round {round}");
        assert_eq!(
            ground.counters().replayed - replayed,
            2 * frames.len() as u32
        );
        ground = Endpoint::new(
            config(Role::Ground, Protection::AuthenticatedEncrypted),
            ground.into_storage(),
        )
        .unwrap();
    }
}

#[test]
fn damaged_frames_are_not_accepted() {
    for protection in [
        Protection::Plain,
        Protection::Authenticated,
        Protection::AuthenticatedEncrypted,
    ] {
        let mut board = start(config(Role::Board, protection));
        let mut ground = start(config(Role::Ground, protection));
        let frame = board.poll_transmit(Instant::ZERO).unwrap().to_vec();
        // Every pair of flipped bits, the end of the frame left where it is.
        let bits = (frame.len() - 1) * 8;
        for first in 0..bits {
            for second in first..bits {
                let mut damaged = frame.clone();
                damaged[first / 8] ^= 1 << (first % 8);
                if second != first {
                    damaged[second / 8] ^= 1 << (second % 8);
                }
                ground.receive(&damaged, Instant::ZERO);
            }
        }
        assert_eq!(ground.counters().frames_received, 0, "{protection:?}");
        let unknown = ground.counters().unknown_epoch;
        ground.receive(&frame, Instant::ZERO);
        assert_eq!(
            ground.counters().unknown_epoch,
            unknown + 1,
            "the frame itself is a good handshake"
        );
    }
}

/// A garbled stretch costs the one frame it runs into, and no more.
#[test]
fn garbage_costs_at_most_one_good_frame() {
    let mut rng = Rng::new(4);
    for _ in 0..200 {
        let mut ground = start(config(Role::Ground, Protection::Plain));
        let garbage: Vec<u8> = (0..rng.below(700)).map(|_| rng.bits() as u8).collect();
        ground.receive(&garbage, Instant::ZERO);
        for counter in 0..5 {
            let frame = plain_frame(&ground, counter, &[0x20, 0]);
            ground.receive(&frame, Instant::ZERO);
        }
        assert!(ground.counters().frames_received >= 4);
    }
}
