//! What an application sees of an end: sizes, priorities, lifetimes, refusals.

mod common;

use std::mem::size_of;

use common::{Storage, alert, caption, converse, messages, pair, query, start};
use deltavlm_link::{
    Class, Config, Duration, Endpoint, Event, Instant, Role, SendError, auth::Key, auth::Keys,
    auth::Protection, sim::Mix, sim::message_of, storage::MemoryStorage,
};
use deltavlm_messages::{Health, Instruction, Message, RefusalReason};

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
            board.send(&alert(u32::MAX), Instant::from_secs(3)).unwrap();
            let frame = board.poll_transmit(Instant::from_secs(3)).unwrap();
            assert_eq!(frame.len(), expected, "{protection:?}, MTU {mtu}");
        }
    }
}

#[test]
fn fixed_queries_take_at_most_twelve_bytes() {
    use Instruction::{Caption, Classify, Count, Localize, Survey};
    for instruction in [Classify, Count, Localize, Caption, Survey] {
        let mut body = [0; 64];
        assert!(query(u16::MAX, instruction).encode(&mut body).unwrap() <= 12);
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
    board
        .send(&message_of(1, Role::Board, Mix::Bulk, 0), now)
        .unwrap();
    board.send(&caption(20), now).unwrap();
    let mut first_alert = None;
    let mut order = Vec::new();
    let mut sent = 0;
    for millis in 3_000..60_000 {
        // There is always another alert.
        while board.waiting() < 20 {
            board
                .send(&alert(sent), Instant::from_millis(millis))
                .unwrap();
            sent += 1;
        }
        let (_, seen) = converse(&mut board, &mut ground, millis..millis + 1);
        for message in messages(&seen) {
            first_alert.get_or_insert(order.len());
            order.push(Class::of_kind(message.kind() as u8));
        }
    }
    assert_eq!(order[0], Class::Alert);
    let place = |class| order.iter().position(|&seen| seen == class);
    let (text, chip) = (place(Class::Text).unwrap(), place(Class::Chip).unwrap());
    assert!(text < chip, "text came {text}th and the chip {chip}th");
    assert!(order.iter().filter(|&&class| class == Class::Alert).count() > order.len() / 2);
}

#[test]
fn newer_health_supersedes_older() {
    let (mut board, mut ground) = pair();
    let health = |uptime| {
        Message::Health(Health {
            uptime,
            ..Health::default()
        })
    };
    let first = board.send(&health(1), Instant::ZERO).unwrap();
    board.send(&health(2), Instant::ZERO).unwrap();
    let (of_board, of_ground) = converse(&mut board, &mut ground, 0..5_000);
    assert!(of_board.contains(&Event::Superseded(first)));
    assert_eq!(messages(&of_ground), [&health(2)]);
}

#[test]
fn messages_expire_by_class_and_alerts_never() {
    let mut board = start(Config::new(Role::Board));
    board.send(&alert(1), Instant::ZERO).unwrap();
    let health = board
        .send(&Message::Health(Health::default()), Instant::ZERO)
        .unwrap();
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
        ground
            .send(&query(id, Instruction::Count), Instant::ZERO)
            .unwrap();
    }
    let late = Instant::from_secs(10);
    while ground.poll_transmit(late).is_some() {}
    let kept = query(999, Instruction::Classify);
    ground.send(&kept, late).unwrap();
    let (of_board, of_ground) = converse(&mut board, &mut ground, 10_000..10_900);
    let expired = of_ground
        .iter()
        .filter(|event| matches!(event, Event::Expired(_)))
        .count();
    assert_eq!(expired, 70);
    assert_eq!(messages(&of_board), [&kept]);
}

#[test]
fn a_cancelled_message_does_not_come() {
    let (mut board, mut ground) = pair();
    let id = board.send(&caption(10), Instant::ZERO).unwrap();
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
        ground
            .send(&query(id, Instruction::Classify), Instant::ZERO)
            .unwrap();
    }
    let (of_board, of_ground) = converse(&mut board, &mut ground, 0..5_000);
    assert_eq!(messages(&of_board).len(), 3);
    let refused = of_ground
        .iter()
        .filter(|event| matches!(event, Event::Rejected(_, RefusalReason::RateLimited)))
        .count();
    assert_eq!(refused, 2);
}

#[test]
fn a_full_inbox_refuses_commands_and_defers_alerts() {
    let (mut board, mut ground) = pair();
    for number in 0..40 {
        ground
            .send(&query(number, Instruction::Classify), Instant::ZERO)
            .unwrap();
        board.send(&alert(number.into()), Instant::ZERO).unwrap();
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
        .filter(|event| matches!(event, Event::Rejected(_, RefusalReason::QueueFull)))
        .count();
    assert_eq!(messages(&of_board).len() + refused, 40);
    assert!(refused > 0);
    assert_eq!(messages(&of_ground).len(), 40, "no alert was lost");
}

#[test]
fn the_board_sends_no_commands_and_nothing_too_large_or_too_much() {
    let mut board = start(Config::new(Role::Board));
    assert_eq!(
        board.send(&query(1, Instruction::Classify), Instant::ZERO),
        Err(SendError::WrongDirection)
    );
    let mut small = Endpoint::new(Config::new(Role::Board), MemoryStorage::<64>::new()).unwrap();
    assert!(small.send(&alert(1), Instant::ZERO).is_ok());
    assert!(small.send(&alert(2), Instant::ZERO).is_ok());
    assert_eq!(
        small.send(&alert(3), Instant::ZERO),
        Err(SendError::QueueFull)
    );
}

#[test]
fn pictures_that_wait_leave_room_for_alerts() {
    let mut board = start(Config::new(Role::Board));
    let chips = (0..100)
        .take_while(|number| {
            board
                .send(
                    &message_of(1, Role::Board, Mix::Bulk, *number),
                    Instant::ZERO,
                )
                .is_ok()
        })
        .count();
    assert!((30..60).contains(&chips), "{chips} chips");
    for tile in 0..20 {
        board.send(&alert(tile), Instant::ZERO).unwrap();
    }
}
