//! Changing the key over the link, cut at every storage call and at every frame.

use deltavlm_link::{
    Config, Duration, Endpoint, Event, Instant, LinkId, Role, RotateError, auth::Key, auth::Keys,
    auth::Protection, sim::PowerCut, storage::MemoryStorage,
};

type Disk = PowerCut<MemoryStorage<8_192>>;
type End = Endpoint<Disk>;

fn config(role: Role, seed: u64) -> Config {
    Config {
        id: LinkId::new(1, 2),
        uplink: Protection::Authenticated,
        downlink: Protection::Authenticated,
        keys: Keys::single(Key::new(6, b"the key so far..")),
        max_timeout: Duration::from_secs(2),
        seed,
        ..Config::new(role)
    }
}

fn start(role: Role, seed: u64, mut disk: Disk) -> End {
    disk.restore();
    Endpoint::new(config(role, seed), disk).unwrap()
}

/// Exchanges frames for so many milliseconds; `passes` says of each whether it comes through. An end
/// whose power fails starts again at once.
fn talk(
    ends: &mut [Option<End>; 2],
    millis: std::ops::Range<u64>,
    seed: &mut u64,
    mut passes: impl FnMut() -> bool,
) -> Vec<Event> {
    let mut events = Vec::new();
    for now in millis.step_by(5).map(Instant::from_millis) {
        for side in 0..2 {
            while let Some(frame) = ends[side].as_mut().unwrap().poll_transmit(now) {
                let frame = frame.to_vec();
                if passes() {
                    ends[1 - side].as_mut().unwrap().receive(&frame, now);
                }
            }
            let end = ends[side].as_mut().unwrap();
            while let Some(event) = end.poll_event() {
                if let Event::Message { id, .. } = event {
                    end.acknowledge(id);
                }
                events.push(event);
            }
        }
        for (side, role) in [(0, Role::Board), (1, Role::Ground)] {
            if ends[side].as_ref().unwrap().storage().is_off() {
                *seed += 1;
                let disk = ends[side].take().unwrap().into_storage();
                ends[side] = Some(start(role, *seed, disk));
            }
        }
    }
    events
}

fn met(seed: &mut u64) -> [Option<End>; 2] {
    let mut ends = [Role::Board, Role::Ground].map(|role| {
        *seed += 1;
        let disk = PowerCut::new(MemoryStorage::new(), *seed);
        Some(start(role, *seed, disk))
    });
    talk(&mut ends, 0..2_000, seed, || true);
    ends
}

fn new_key() -> Key {
    Key::new(7, b"and the next one")
}

/// Both use the new key, or both the old one, and messages pass in both directions.
fn agree(ends: &mut [Option<End>; 2], from: u64, seed: &mut u64, what: &str) -> u32 {
    let now = Instant::from_millis(from);
    for end in ends.iter_mut().flatten() {
        end.storage_mut().restore();
    }
    ends[0].as_mut().unwrap().send(1, b"alert", now).unwrap();
    ends[1].as_mut().unwrap().send(8, b"query", now).unwrap();
    let events = talk(ends, from..from + 30_000, seed, || true);
    let came = events
        .iter()
        .filter(|event| matches!(event, Event::Message { .. }))
        .count();
    assert_eq!(came, 2, "{what}: {events:?}");
    let [board, ground] = [0, 1].map(|side| ends[side].as_ref().unwrap().key_id());
    assert_eq!(board, ground, "{what}");
    board.unwrap()
}

#[test]
fn a_new_key_is_taken_by_both_and_kept_over_starts() {
    let mut seed = 0;
    let mut ends = met(&mut seed);
    let ground = ends[1].as_mut().unwrap();
    assert_eq!(
        ground.rotate_key(Key::new(8, &[1; 16])),
        Err(RotateError::Id)
    );
    ground.rotate_key(new_key()).unwrap();
    let events = talk(&mut ends, 2_000..8_000, &mut seed, || true);
    let changed = events
        .iter()
        .filter(|event| **event == Event::KeyChanged(7))
        .count();
    assert_eq!(changed, 2, "{events:?}");
    for (side, role) in [(0, Role::Board), (1, Role::Ground)] {
        seed += 1;
        let disk = ends[side].take().unwrap().into_storage();
        ends[side] = Some(start(role, seed, disk));
    }
    assert_eq!(agree(&mut ends, 8_000, &mut seed, "after starts"), 7);
}

/// Power fails at either end at every storage call of a change, once with and once without the effect of
/// that call.
#[test]
fn a_change_cut_at_every_storage_call_ends_on_one_key() {
    let mut seed = 0;
    let mut cuts = 0;
    for side in 0..2 {
        for call in 0..40 {
            for _ in 0..4 {
                let mut ends = met(&mut seed);
                let what = format!("end {side}, call {call}, seed {seed}");
                ends[side].as_mut().unwrap().storage_mut().cut_after(call);
                let offered = ends[1].as_mut().unwrap().rotate_key(new_key()).is_ok();
                cuts += u32::from(!offered);
                talk(&mut ends, 2_000..10_000, &mut seed, || true);
                let key = agree(&mut ends, 10_000, &mut seed, &what);
                assert!(key == 7 || !offered, "{what}: an accepted change is made");
            }
        }
    }
    assert!(cuts > 0);
}

/// Contact ends at every frame of a change, and both ends start again before the next.
#[test]
fn a_change_cut_at_every_frame_ends_on_one_key() {
    let mut seed = 0;
    for frames in 0..24 {
        for restart in [false, true] {
            let mut ends = met(&mut seed);
            let what = format!("after {frames} frames, seed {seed}");
            ends[1].as_mut().unwrap().rotate_key(new_key()).unwrap();
            let mut left = frames;
            talk(&mut ends, 2_000..20_000, &mut seed, || {
                left -= 1;
                left >= 0
            });
            if restart {
                for (side, role) in [(0, Role::Board), (1, Role::Ground)] {
                    seed += 1;
                    let disk = ends[side].take().unwrap().into_storage();
                    ends[side] = Some(start(role, seed, disk));
                }
            }
            talk(&mut ends, 20_000..40_000, &mut seed, || true);
            assert_eq!(agree(&mut ends, 40_000, &mut seed, &what), 7, "{what}");
        }
    }
}

/// Each frame of a change is lost once, alone.
#[test]
fn a_change_survives_the_loss_of_any_frame() {
    let mut seed = 0;
    for lost in 0..24 {
        let mut ends = met(&mut seed);
        ends[1].as_mut().unwrap().rotate_key(new_key()).unwrap();
        let mut number = -1;
        talk(&mut ends, 2_000..12_000, &mut seed, || {
            number += 1;
            number != lost
        });
        let what = format!("frame {lost}");
        assert_eq!(agree(&mut ends, 12_000, &mut seed, &what), 7);
    }
}
