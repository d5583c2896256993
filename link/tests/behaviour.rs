//! What an application sees of an end: priorities, lifetimes, refusals, budgets, simplex.

use std::mem::size_of;

use deltavlm_link::{
    Config, Duration, Endpoint, Event, Instant, MessageId, Refused, Role,
    auth::{Key, Keys, Protection},
    config::{Mode, Simplex},
    frame::overhead,
    message::{
        Alert, Answer, AnswerBody, Class, Confidence, Grid9, Health, Instruction, Message, Query,
        RefusalReason, Source,
    },
    pacing::{DutyCycle, Pacing},
    sim::{Channel, Faults, Mix, PowerCut, Rng, message_of},
    storage::MemoryStorage,
    text::Text,
};

type Storage = MemoryStorage<32_768>;
type End = Endpoint<Storage>;

fn start(config: Config) -> End {
    Endpoint::new(config, Storage::new()).unwrap()
}

fn pair() -> (End, End) {
    (
        start(Config::new(Role::Board)),
        start(Config::new(Role::Ground)),
    )
}

/// Exchanges frames for so many milliseconds and returns what each end saw.
fn converse(
    board: &mut End,
    ground: &mut End,
    millis: std::ops::Range<u64>,
) -> (Vec<Event>, Vec<Event>) {
    let (mut of_board, mut of_ground) = (Vec::new(), Vec::new());
    for now in millis.map(Instant::from_millis) {
        while let Some(frame) = board.poll_transmit(now) {
            ground.receive(frame, now);
        }
        while let Some(frame) = ground.poll_transmit(now) {
            board.receive(frame, now);
        }
        for (end, events) in [(&mut *board, &mut of_board), (&mut *ground, &mut of_ground)] {
            while let Some(event) = end.poll_event() {
                if let Event::Message { id, .. } = event {
                    end.accept(id);
                }
                events.push(event);
            }
        }
    }
    (of_board, of_ground)
}

fn messages(events: &[Event]) -> Vec<&Message> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Message { message, .. } => Some(message),
            _ => None,
        })
        .collect()
}

fn alert(tile: u32) -> Message {
    Message::Alert(Alert {
        tile,
        time: u32::MAX,
        confidence: Confidence::from_step(127),
        roads: 31,
        buildings: 255,
        roads_grid: Grid9::from_bits(0x1FF),
        buildings_grid: Grid9::from_bits(0x1FF),
        pair: 0xFFFF,
    })
}

fn query(id: u16, instruction: Instruction) -> Message {
    Message::Query(Query {
        id,
        tile: u32::MAX,
        instruction,
    })
}

fn caption(words: usize) -> Message {
    let text: String = (0..words).map(|word| format!("q{word}x ")).collect();
    let body = AnswerBody::Text {
        text: Text::truncated(&text),
        confidence: Confidence::default(),
    };
    Message::Answer(Answer {
        query: 1,
        source: Source {
            pair: 1,
            model: 2,
            prompt: 3,
        },
        body,
    })
}

#[test]
fn an_alert_is_32_bytes_on_the_air_authenticated_and_28_plain() {
    for (protection, expected) in [
        (Protection::Plain, 28),
        (Protection::Signed, 32),
        (Protection::Encrypted, 32),
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
            order.push(message.kind().class());
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
        .filter(|event| matches!(event, Event::Refused(_, RefusalReason::RateLimited)))
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
        .filter(|event| matches!(event, Event::Refused(_, RefusalReason::QueueFull)))
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
        Err(Refused::WrongDirection)
    );
    let mut small = Endpoint::new(Config::new(Role::Board), MemoryStorage::<64>::new()).unwrap();
    assert!(small.send(&alert(1), Instant::ZERO).is_ok());
    assert!(small.send(&alert(2), Instant::ZERO).is_ok());
    assert_eq!(
        small.send(&alert(3), Instant::ZERO),
        Err(Refused::QueueFull)
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
            board.send(&alert(tile), now).unwrap();
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
                ground.accept(id);
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
    board.send(&alert(1), Instant::ZERO).unwrap();
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
        board.send(&alert(round), Instant::ZERO).unwrap();
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
fn a_quote_is_near_what_it_costs() {
    let (mut board, mut ground) = pair();
    ground.set_rate(100).unwrap();
    board.set_rate(100).unwrap();
    converse(&mut board, &mut ground, 0..5_000);
    let question = query(
        1,
        Instruction::Open(Text::truncated("are there any new villas near the lake?")),
    );
    let now = Instant::from_secs(5);
    let quote = ground.quote(&question, now).unwrap();
    let before = ground.counters().bytes_sent;
    ground.send(&question, now).unwrap();
    let (of_board, _) = converse(&mut board, &mut ground, 5_000..6_500);
    assert_eq!(messages(&of_board).len(), 1);
    let cost = ground.counters().bytes_sent - before;
    assert!(
        cost <= quote.bytes_up && quote.bytes_up < cost * 3,
        "quoted {quote:?}, cost {cost}"
    );
    assert!(quote.time.unwrap() > Duration::from_millis(500));
    let busy = ground.quote(&question, now).unwrap();
    assert!(busy.time >= quote.time);
}

#[test]
fn keys_roll_over_without_a_gap() {
    let config = |role| Config {
        uplink: Protection::Encrypted,
        downlink: Protection::Encrypted,
        keys: Keys::single(Key::new(8, &[1; 16])),
        ..Config::new(role)
    };
    let (mut board, mut ground) = (start(config(Role::Board)), start(config(Role::Ground)));
    converse(&mut board, &mut ground, 0..1_000);
    for end in [&mut board, &mut ground] {
        end.keys().install(Key::new(9, &[2; 16]));
    }
    board.send(&alert(1), Instant::from_secs(1)).unwrap();
    assert!(board.keys().activate(9), "one end may go first");
    let (_, of_ground) = converse(&mut board, &mut ground, 1_000..3_000);
    assert_eq!(messages(&of_ground).len(), 1);
    assert!(ground.keys().activate(9));
    assert!(ground.keys().remove(8) && board.keys().remove(8));
    board.send(&alert(2), Instant::from_secs(3)).unwrap();
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
            board
                .send(&alert(round * 20 + tile), Instant::from_millis(clock))
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
    let mut highest = None;
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
            let _ = board.send(&alert(second as u32), now);
            while let Some(frame) = board.poll_transmit(now) {
                let mut block = frame[..frame.len() - 1].to_vec();
                let content = deltavlm_link::cobs::decode_in_place(&mut block).unwrap();
                assert_eq!(content[0] & 2, 2, "a greeting");
                let counter = u64::from_le_bytes(content[2..10].try_into().unwrap());
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
            downlink: Protection::Signed,
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
                board
                    .send(&message_of(1, Role::Board, Mix::All, sent), now)
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
                if let Event::Message { id, message, .. } = event {
                    ground.accept(id);
                    came.push((id, message));
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
        [Protection::Plain, Protection::Signed, Protection::Encrypted].map(overhead),
        [10, 14, 14]
    );
}
