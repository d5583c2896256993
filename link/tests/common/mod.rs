//! Two ends without a channel between them, and messages for them.

// Every test file uses a part of it.
#![allow(dead_code)]

use deltavlm_link::{Config, Endpoint, Event, Instant, Role, storage::MemoryStorage};
use deltavlm_messages::{
    Alert, Answer, AnswerBody, CellSet, Confidence, Message, Prompt, Provenance, Query, Text,
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

pub(crate) fn messages(events: &[Event]) -> Vec<&Message> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Message { message, .. } => Some(message),
            _ => None,
        })
        .collect()
}

pub(crate) fn alert(tile: u32) -> Message {
    Message::Alert(Alert {
        tile,
        time: u32::MAX,
        confidence: Confidence::from_step(127),
        roads: 31,
        buildings: 255,
        roads_grid: CellSet::from_bits(0x1FF),
        buildings_grid: CellSet::from_bits(0x1FF),
        pair: 0xFFFF,
    })
}

pub(crate) fn query(id: u16, prompt: impl Into<Prompt>) -> Message {
    Message::Query(Query {
        id,
        tile: u32::MAX,
        prompt: prompt.into(),
    })
}

pub(crate) fn caption(words: usize) -> Message {
    let text: String = (0..words).map(|word| format!("q{word}x ")).collect();
    let body = AnswerBody::Text {
        text: Text::truncated(&text),
        confidence: Confidence::default(),
    };
    Message::Answer(Answer {
        query: 1,
        source: Provenance {
            pair: 1,
            model: 2,
            prompt: 3,
        },
        body,
    })
}
