//! What an end keeps to: airtime, clocks, keys, counters, and repair without a way back.

mod common;

use common::{Storage, alert, converse, messages, pair, start};
use deltavlm_link::{
    Config, Duration, Endpoint, Event, Instant, MessageId, Role, auth::Key, auth::Keys,
    auth::Protection, config::Mode, config::Simplex, frame::overhead, pacing::DutyCycle,
    pacing::Pacing, sim::Channel, sim::Faults, sim::Mix, sim::PowerCut, sim::Rng, sim::TestMessage,
    sim::message_of,
};

#[test]
fn never_more_than_the_duty_cycle_in_any_window() {
    let duty = DutyCycle {
        window: Duration::from_secs(600),
        budget: Duration::from_secs(6),
        per_frame: Duration::from_millis(30),
        per_byte: Duration::from_millis(2),
    };
    let pacing = Pacing {
        duty_cycle: Some(duty),
        ..Pacing::at_rate(500)
    };
    let mut board = start(Config {
        pacing,
        ..Config::new(Role::Board)
    });
    let mut ground = start(Config::new(Role::Ground));
    let mut sent: Vec<(u64, u64)> = Vec::new();
    let mut tile = 0;
    for millis in (0..4_000_000).step_by(20) {
        let now = Instant::from_millis(millis);
        while board.waiting() < 40 {
            alert(tile).send(&mut board, now).unwrap();
            tile += 1;
        }
        while let Some(frame) = board.poll_transmit(now) {
            sent.push((millis, duty.airtime(frame.len()).as_micros()));
            ground.receive(frame, now);
        }
        while let Some(frame) = ground.poll_transmit(now) {
            board.receive(frame, now);
        }
        while let Some(event) = ground.poll_event() {
            if let Event::Message { id, .. } = event {
                ground.acknowledge(id);
            }
        }
        while board.poll_event().is_some() {}
    }
    let mut most = 0;
    for (index, (start, _)) in sent.iter().enumerate() {
        let window: u64 = sent[index..]
            .iter()
            .take_while(|(at, _)| at - start < 600_000)
            .map(|(_, air)| air)
            .sum();
        most = most.max(window);
    }
    assert!(most <= 6_000_000, "{most} us in one window");
    assert!(most >= 5_000_000, "the budget is used: {most} us");
}

#[test]
fn quiet_is_quiet_and_ends() {
    let (mut board, mut ground) = pair();
    board.quiet_until(Instant::from_secs(100));
    alert(1).send(&mut board, Instant::ZERO).unwrap();
    for second in 0..100 {
        assert!(board.poll_transmit(Instant::from_secs(second)).is_none());
    }
    assert_eq!(board.next_deadline(), Some(Instant::from_secs(100)));
    let (_, of_ground) = converse(&mut board, &mut ground, 100_000..103_000);
    assert_eq!(messages(&of_ground).len(), 1);
}

#[test]
fn a_clock_that_jumps_back_or_far_ahead_stops_nothing() {
    let (mut board, mut ground) = pair();
    let mut rng = Rng::new(8);
    let mut came = 0;
    for round in 0..50u32 {
        alert(round).send(&mut board, Instant::ZERO).unwrap();
        if round == 25 {
            board.receive(&[], Instant::MAX);
            ground.receive(&[], Instant::MAX);
        }
        let magnitude = rng.below(40);
        let origin = rng.below(1 << magnitude);
        let (_, of_ground) = converse(&mut board, &mut ground, origin..origin + 1_500);
        came += messages(&of_ground).len();
    }
    let (_, of_ground) = converse(&mut board, &mut ground, 0..20_000);
    assert_eq!(came + messages(&of_ground).len(), 50);
}

#[test]
fn an_estimate_is_near_what_it_costs() {
    let (mut board, mut ground) = pair();
    ground.set_rate(100).unwrap();
    board.set_rate(100).unwrap();
    converse(&mut board, &mut ground, 0..5_000);
    let question = TestMessage {
        kind: 8,
        body: b"are there any villas?".to_vec(),
    };
    let now = Instant::from_secs(5);
    let estimate = ground.estimate(8, question.body.len(), 40, now).unwrap();
    let before = ground.counters().bytes_sent;
    question.send(&mut ground, now).unwrap();
    let (of_board, _) = converse(&mut board, &mut ground, 5_000..6_500);
    assert_eq!(messages(&of_board).len(), 1);
    let cost = ground.counters().bytes_sent - before;
    assert!(
        cost <= estimate.bytes_up && estimate.bytes_up < cost * 3,
        "estimated {estimate:?}, cost {cost}"
    );
    assert!(estimate.time.unwrap() > Duration::from_millis(500));
    let busy = ground.estimate(8, question.body.len(), 40, now).unwrap();
    assert!(busy.time >= estimate.time);
}

#[test]
fn keys_roll_over_without_a_gap() {
    let config = |role| Config {
        uplink: Protection::AuthenticatedEncrypted,
        downlink: Protection::AuthenticatedEncrypted,
        keys: Keys::single(Key::new(8, &[1; 16])),
        ..Config::new(role)
    };
    let (mut board, mut ground) = (start(config(Role::Board)), start(config(Role::Ground)));
    converse(&mut board, &mut ground, 0..1_000);
    for end in [&mut board, &mut ground] {
        end.keys().install(Key::new(9, &[2; 16]));
    }
    alert(1).send(&mut board, Instant::from_secs(1)).unwrap();
    assert!(board.keys().activate(9), "one end may go first");
    let (_, of_ground) = converse(&mut board, &mut ground, 1_000..3_000);
    assert_eq!(messages(&of_ground).len(), 1);
    assert!(ground.keys().activate(9));
    for end in [&mut board, &mut ground] {
        assert!(
            !end.keys().remove(8),
            "it went when the other was heard under 9"
        );
    }
    alert(2).send(&mut board, Instant::from_secs(3)).unwrap();
    let (_, of_ground) = converse(&mut board, &mut ground, 3_000..5_000);
    assert_eq!(messages(&of_ground).len(), 1);
}

/// Failure story: the ground's computer is replaced. The board's numbers are far ahead of what the
/// new one expects, and nothing that waits may be taken for something old.
#[test]
fn a_ground_with_fresh_storage_catches_up_with_an_old_board_and_the_other_way_round() {
    let (mut board, mut ground) = pair();
    let mut clock = 0;
    for round in 0..40u32 {
        for tile in 0..20 {
            alert(round * 20 + tile)
                .send(&mut board, Instant::from_millis(clock))
                .unwrap();
        }
        let (_, of_ground) = converse(&mut board, &mut ground, clock..clock + 4_000);
        assert_eq!(messages(&of_ground).len(), 20, "round {round}");
        clock += 4_000;
        if round == 20 {
            ground = start(Config {
                seed: 77,
                ..Config::new(Role::Ground)
            });
        }
        if round == 30 {
            board = start(Config {
                seed: 78,
                ..Config::new(Role::Board)
            });
            clock += 60_000;
        }
    }
}

/// Failure story: power fails between taking a counter and writing it down, and the next start sends
/// another message under the same one. With encryption that gives both away.
#[test]
fn no_counter_is_used_twice_wherever_the_power_fails() {
    let (mut highest, mut epochs) = (None, None);
    let mut storage = PowerCut::new(Storage::new(), 5);
    for calls in 0..400u64 {
        storage.restore();
        storage.cut_after(calls % 37);
        let config = Config {
            uplink: Protection::Plain,
            ..Config::new(Role::Board)
        };
        let Ok(mut board) = Endpoint::new(config, &mut storage) else {
            continue;
        };
        // Unintroduced frames carry the whole counter.
        for second in 0..40 {
            let now = Instant::from_secs(second * 60);
            let _ = alert(second as u32).send(&mut board, now);
            while let Some(frame) = board.poll_transmit(now) {
                let mut block = frame[..frame.len() - 1].to_vec();
                let content = deltavlm_link::cobs::decode_in_place(&mut block).unwrap();
                assert_eq!(content[0] & 2, 2, "a handshake");
                let mut counter = [0; 8];
                counter[..6].copy_from_slice(&content[2..8]);
                let counter = u64::from_le_bytes(counter);
                let epoch = u32::from_le_bytes(content[8..12].try_into().unwrap());
                assert_eq!(*epochs.get_or_insert(epoch), epoch, "the storage was kept");
                assert!(highest < Some(counter), "{counter} after {highest:?}");
                highest = Some(counter);
            }
        }
    }
    assert!(highest > Some(400));
}

/// A ground that only listens, behind a channel that loses a tenth.
#[test]
fn simplex_repairs_what_is_lost() {
    let arrive = |repeats, repairs| {
        let simplex = Simplex {
            repeats,
            group: 6,
            repairs,
            pause: Duration::from_secs(15),
        };
        let config = |role| Config {
            mode: Mode::Simplex(simplex),
            mtu: 64,
            pacing: Pacing::at_rate(200),
            downlink: Protection::Authenticated,
            keys: Keys::single(Key::new(1, &[9; 16])),
            ..Config::new(role)
        };
        let (mut board, mut ground) = (start(config(Role::Board)), start(config(Role::Ground)));
        let mut air = Channel::new(
            Faults {
                loss: 0.1,
                reorder: 3,
                rate: 200,
                ..Faults::default()
            },
            3,
        );
        let (mut came, mut sent) = (Vec::new(), 0);
        for millis in (0..4_000_000).step_by(50) {
            let now = Instant::from_millis(millis);
            if sent < 1_000 && board.waiting() < 30 {
                message_of(1, Role::Board, Mix::All, sent)
                    .send(&mut board, now)
                    .unwrap();
                sent += 1;
            }
            while let Some(frame) = board.poll_transmit(now) {
                air.send(frame, now);
            }
            while let Some(frame) = air.receive(now) {
                ground.receive(&frame, now);
            }
            assert!(ground.poll_transmit(now).is_none(), "it only listens");
            while let Some(event) = ground.poll_event() {
                if let Event::Message { id, body, .. } = event {
                    ground.acknowledge(id);
                    came.push((id, body));
                }
            }
            while board.poll_event().is_some() {}
        }
        assert_eq!(sent, 1_000, "all were sent");
        let distinct: std::collections::BTreeSet<MessageId> =
            came.iter().map(|(id, _)| *id).collect();
        assert_eq!(distinct.len(), came.len(), "none twice");
        (came.len(), ground.counters().frames_repaired)
    };
    let (bare, _) = arrive(1, 0);
    let (repaired, won) = arrive(1, 2);
    let (repeated, _) = arrive(3, 2);
    assert!(bare < 950, "{bare}");
    assert!(
        won > 50 && repaired > bare,
        "{repaired} with {won} frames won back, {bare} without"
    );
    assert!(repeated >= 999, "{repeated}");
}

#[test]
fn overhead_is_ten_bytes_plain_and_fourteen_authenticated() {
    assert_eq!(
        [
            Protection::Plain,
            Protection::Authenticated,
            Protection::AuthenticatedEncrypted
        ]
        .map(overhead),
        [10, 14, 14]
    );
}
