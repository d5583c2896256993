//! What an application sees of an end: sizes, priorities, lifetimes, refusals.

mod common;

use std::mem::size_of;

use common::{Storage, alert, caption, converse, messages, pair, query, start};
use deltavlm_link::{
    Class, Config, Duration, Endpoint, Event, Instant, MAX_MESSAGE, MessageTypes, RejectReason,
    Role, SendError, auth::Key, auth::Keys, auth::Protection, message_types::InvalidMessage,
    message_types::KindSet, sim::Mix, sim::TestMessage, sim::message_of, storage::MemoryStorage,
};

#[test]
fn an_alert_is_32_bytes_on_the_air_authenticated_and_28_plain() {
    for (protection, expected) in [
        (Protection::Plain, 28),
        (Protection::Authenticated, 32),
        (Protection::AuthenticatedEncrypted, 32),
    ] {
        for mtu in [32, 255] {
            let config = |role| Config {
                mtu,
                uplink: protection,
                downlink: protection,
                keys: Keys::single(Key::new(1, &[7; 16])),
                ..Config::new(role)
            };
            let (mut board, mut ground) = (start(config(Role::Board)), start(config(Role::Ground)));
            converse(&mut board, &mut ground, 0..3_000);
            alert(u32::MAX)
                .send(&mut board, Instant::from_secs(3))
                .unwrap();
            let frame = board.poll_transmit(Instant::from_secs(3)).unwrap();
            assert_eq!(frame.len(), expected, "{protection:?}, MTU {mtu}");
        }
    }
}

#[test]
fn an_end_takes_at_most_24_kib() {
    let bytes = size_of::<Endpoint<&mut Storage>>();
    assert!(bytes <= 24 * 1024, "{bytes}");
    let with_storage = size_of::<Endpoint<MemoryStorage<2048>>>();
    assert!(
        with_storage <= 24 * 1024,
        "{with_storage} with 2 KiB for messages"
    );
}

#[test]
fn the_urgent_goes_first_and_the_rest_is_not_starved() {
    let (mut board, mut ground) = pair();
    converse(&mut board, &mut ground, 0..3_000);
    board.set_rate(400).unwrap();
    let now = Instant::from_secs(3);
    message_of(1, Role::Board, Mix::Bulk, 0)
        .send(&mut board, now)
        .unwrap();
    caption(20).send(&mut board, now).unwrap();
    let mut first_alert = None;
    let mut order = Vec::new();
    let mut sent = 0;
    for millis in 3_000..60_000 {
        // There is always another alert.
        while board.waiting() < 20 {
            alert(sent)
                .send(&mut board, Instant::from_millis(millis))
                .unwrap();
            sent += 1;
        }
        let (_, seen) = converse(&mut board, &mut ground, millis..millis + 1);
        for message in messages(&seen) {
            first_alert.get_or_insert(order.len());
            order.push(Class::of_kind(message.kind));
        }
    }
    assert_eq!(order[0], Class::Urgent);
    let place = |class| order.iter().position(|&seen| seen == class);
    let (text, chip) = (place(Class::Routine).unwrap(), place(Class::Bulk).unwrap());
    assert!(text < chip, "text came {text}th and the chip {chip}th");
    assert!(
        order
            .iter()
            .filter(|&&class| class == Class::Urgent)
            .count()
            > order.len() / 2
    );
}

/// A message of the class of which the newest supersedes the others.
fn status(body: &[u8]) -> TestMessage {
    TestMessage {
        kind: 24,
        body: body.to_vec(),
    }
}

#[test]
fn newer_health_supersedes_older() {
    let (mut board, mut ground) = pair();
    let health = |uptime: u8| status(&[uptime]);
    let first = health(1).send(&mut board, Instant::ZERO).unwrap();
    health(2).send(&mut board, Instant::ZERO).unwrap();
    let (of_board, of_ground) = converse(&mut board, &mut ground, 0..5_000);
    assert!(of_board.contains(&Event::Superseded(first)));
    assert_eq!(messages(&of_ground), [health(2)]);
}

#[test]
fn messages_expire_by_class_and_alerts_never() {
    let mut board = start(Config::new(Role::Board));
    alert(1).send(&mut board, Instant::ZERO).unwrap();
    let health = status(&[0]).send(&mut board, Instant::ZERO).unwrap();
    let year = Instant::from_secs(366 * 86_400);
    let _ = board.poll_transmit(year);
    let events: Vec<Event> = std::iter::from_fn(|| board.poll_event()).collect();
    assert!(events.contains(&Event::Expired(health)));
    assert_eq!(board.waiting(), 1);
}

#[test]
fn an_expired_message_does_not_hold_up_those_behind_it() {
    let config = Config {
        lifetimes: [None, Some(Duration::from_secs(1)), None, None, None],
        ..Config::new(Role::Ground)
    };
    let (mut board, mut ground) = (start(Config::new(Role::Board)), start(config));
    for id in 0..70 {
        query(id).send(&mut ground, Instant::ZERO).unwrap();
    }
    let late = Instant::from_secs(10);
    while ground.poll_transmit(late).is_some() {}
    let kept = query(999);
    kept.send(&mut ground, late).unwrap();
    let (of_board, of_ground) = converse(&mut board, &mut ground, 10_000..10_900);
    let expired = of_ground
        .iter()
        .filter(|event| matches!(event, Event::Expired(_)))
        .count();
    assert_eq!(expired, 70);
    assert_eq!(messages(&of_board), [kept]);
}

#[test]
fn a_cancelled_message_does_not_come() {
    let (mut board, mut ground) = pair();
    let id = caption(10).send(&mut board, Instant::ZERO).unwrap();
    assert!(board.cancel(id));
    assert!(!board.cancel(id));
    let (of_board, of_ground) = converse(&mut board, &mut ground, 0..5_000);
    assert!(of_board.contains(&Event::Superseded(id)));
    assert!(messages(&of_ground).is_empty());
}

#[test]
fn commands_over_the_limit_are_refused_with_a_reason() {
    let config = Config {
        commands_per_minute: 3,
        ..Config::new(Role::Board)
    };
    let (mut board, mut ground) = (start(config), start(Config::new(Role::Ground)));
    for id in 0..5 {
        query(id).send(&mut ground, Instant::ZERO).unwrap();
    }
    let (of_board, of_ground) = converse(&mut board, &mut ground, 0..5_000);
    assert_eq!(messages(&of_board).len(), 3);
    let refused = of_ground
        .iter()
        .filter(|event| matches!(event, Event::Rejected(_, RejectReason::RateLimited)))
        .count();
    assert_eq!(refused, 2);
}

#[test]
fn a_full_inbox_refuses_commands_and_defers_alerts() {
    let (mut board, mut ground) = pair();
    for number in 0..40 {
        query(number).send(&mut ground, Instant::ZERO).unwrap();
        alert(number.into())
            .send(&mut board, Instant::ZERO)
            .unwrap();
    }
    // Nobody polls for events, so nothing is taken out.
    for now in (0..5_000).map(Instant::from_millis) {
        while let Some(frame) = board.poll_transmit(now) {
            ground.receive(frame, now);
        }
        while let Some(frame) = ground.poll_transmit(now) {
            board.receive(frame, now);
        }
    }
    let (of_board, of_ground) = converse(&mut board, &mut ground, 5_000..60_000);
    let refused = of_ground
        .iter()
        .filter(|event| matches!(event, Event::Rejected(_, RejectReason::QueueFull)))
        .count();
    assert_eq!(messages(&of_board).len() + refused, 40);
    assert!(refused > 0);
    assert_eq!(messages(&of_ground).len(), 40, "no alert was lost");
}

#[test]
fn the_board_sends_no_commands_and_nothing_too_large_or_too_much() {
    let mut board = start(Config::new(Role::Board));
    assert_eq!(
        query(1).send(&mut board, Instant::ZERO),
        Err(SendError::WrongDirection)
    );
    let mut small = Endpoint::new(Config::new(Role::Board), MemoryStorage::<64>::new()).unwrap();
    assert!(alert(1).send(&mut small, Instant::ZERO).is_ok());
    assert!(alert(2).send(&mut small, Instant::ZERO).is_ok());
    assert_eq!(
        alert(3).send(&mut small, Instant::ZERO),
        Err(SendError::QueueFull)
    );
}

#[test]
fn pictures_that_wait_leave_room_for_alerts() {
    let mut board = start(Config::new(Role::Board));
    let chips = (0..100)
        .take_while(|number| {
            message_of(1, Role::Board, Mix::Bulk, *number)
                .send(&mut board, Instant::ZERO)
                .is_ok()
        })
        .count();
    assert!((30..60).contains(&chips), "{chips} chips");
    for tile in 0..20 {
        alert(tile).send(&mut board, Instant::ZERO).unwrap();
    }
}

/// What an application cannot read is skipped before anybody asks who may send it, and so the sender
/// is done with it: a later version may send what this one does not know.
#[test]
fn what_cannot_be_read_is_skipped_and_what_is_not_for_this_end_is_rejected() {
    let board_types = MessageTypes {
        commands: KindSet::of(&[]),
        ..MessageTypes::default()
    };
    let ground_types = MessageTypes {
        validate: |kind, body| match (kind, body) {
            (60, _) => Err(InvalidMessage::UnknownKind),
            (_, b"bad") => Err(InvalidMessage::Malformed),
            _ => Ok(()),
        },
        ..MessageTypes::default()
    };
    let config = |role, message_types| Config {
        message_types,
        ..Config::new(role)
    };
    let mut board = start(config(Role::Board, board_types));
    let mut ground = start(config(Role::Ground, ground_types));
    let now = Instant::ZERO;
    let unknown = board.send(60, b"later", now).unwrap();
    let malformed = board.send(9, b"bad", now).unwrap();
    let misdirected = board.send(9, b"good", now).unwrap();
    let good = board.send(1, b"good", now).unwrap();
    let (of_board, of_ground) = converse(&mut board, &mut ground, 0..10_000);
    for id in [unknown, malformed, good] {
        assert!(of_board.contains(&Event::Delivered(id)), "{id:?}");
    }
    assert!(of_board.contains(&Event::Rejected(misdirected, RejectReason::Unsupported)));
    assert_eq!(
        messages(&of_ground),
        [TestMessage {
            kind: 1,
            body: b"good".to_vec()
        }]
    );
    let counters = ground.counters();
    assert_eq!(
        (counters.unknown_kinds, counters.malformed_messages),
        (1, 1)
    );
    assert_eq!(counters.rejected, 1);
}

#[test]
fn what_no_peer_could_read_is_not_taken_for_sending() {
    let mut board = start(Config {
        message_types: MessageTypes {
            validate: |_, body| match body {
                b"bad" => Err(InvalidMessage::Malformed),
                _ => Ok(()),
            },
            ..MessageTypes::default()
        },
        ..Config::new(Role::Board)
    });
    let now = Instant::ZERO;
    for (kind, body) in [(1, &b""[..]), (0, b"x"), (62, b"x"), (1, b"bad")] {
        assert_eq!(board.send(kind, body, now), Err(SendError::Invalid));
    }
    assert_eq!(
        board.send(1, &[0; MAX_MESSAGE + 1], now),
        Err(SendError::TooLarge)
    );
    assert!(board.send(1, &[0; MAX_MESSAGE], now).is_ok());
}
