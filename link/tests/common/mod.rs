//! Two ends without a channel between them, and messages for them.

// Every test file uses a part of it.
#![allow(dead_code)]

use deltavlm_link::{
    Config, Endpoint, Event, Instant, Role, sim::TestMessage, storage::MemoryStorage,
};

pub(crate) type Storage = MemoryStorage<32_768>;
pub(crate) type End = Endpoint<Storage>;

pub(crate) fn start(config: Config) -> End {
    Endpoint::new(config, Storage::new()).unwrap()
}

pub(crate) fn pair() -> (End, End) {
    (
        start(Config::new(Role::Board)),
        start(Config::new(Role::Ground)),
    )
}

/// Exchanges frames for so many milliseconds and returns what each end saw.
pub(crate) fn converse(
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
                    end.acknowledge(id);
                }
                events.push(event);
            }
        }
    }
    (of_board, of_ground)
}

pub(crate) fn messages(events: &[Event]) -> Vec<TestMessage> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Message { kind, body, .. } => Some(TestMessage {
                kind: *kind,
                body: body.to_vec(),
            }),
            _ => None,
        })
        .collect()
}

/// A message of the most urgent class, as long as an alert.
pub(crate) fn alert(number: u32) -> TestMessage {
    let mut body = vec![0xFF; 15];
    body[..4].copy_from_slice(&number.to_le_bytes());
    TestMessage { kind: 1, body }
}

/// A command, as long as the longest fixed query.
pub(crate) fn query(id: u16) -> TestMessage {
    let mut body = vec![0xFF; 9];
    body[..2].copy_from_slice(&id.to_le_bytes());
    TestMessage { kind: 8, body }
}

/// A message of the routine class with this many words of text.
pub(crate) fn caption(words: usize) -> TestMessage {
    let text: String = (0..words).map(|word| format!("q{word}x ")).collect();
    TestMessage {
        kind: 32,
        body: text.into_bytes(),
    }
}
