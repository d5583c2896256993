//! The size of a message on the air.
//!
//! Two ends of the real link, with the same settings as the programs' and a perfect carrier
//! between them, in virtual time: the bytes of all frames that it takes to deliver the
//! message once, framing and authentication included. What the air of a real run adds by
//! losing frames is in the link's own counters.

use deltavlm_link::{
    Config, Endpoint, Event, Instant, Role, auth::Key, auth::Keys, auth::Protection,
    storage::MemoryStorage,
};
use deltavlm_messages::{MAX_BODY, Message};
use deltavlm_node::{MESSAGE_TYPES, SharedKey};

type End = Endpoint<MemoryStorage<8192>>;

/// Virtual time goes on in steps of this many milliseconds.
const STEP: u64 = 20;
/// How long two idle ends may need to get a message across, in milliseconds.
const TIMEOUT: u64 = 60_000;

/// The bytes on the air that deliver the message once; `None` when the link refuses it.
#[must_use]
pub fn wire_size(message: &Message, mtu: u8, key: &SharedKey) -> Option<usize> {
    let mut board = end(Role::Board, mtu, key)?;
    let mut ground = end(Role::Ground, mtu, key)?;
    let mut clock = 0;
    // Greetings and whatever else a start needs are not part of the message.
    let (sender, receiver) = if message.kind().is_command() {
        run(&mut ground, &mut board, &mut clock, 5_000, false);
        (&mut ground, &mut board)
    } else {
        run(&mut board, &mut ground, &mut clock, 5_000, false);
        (&mut board, &mut ground)
    };
    let mut body = [0; MAX_BODY];
    let length = message.encode(&mut body)?;
    sender
        .send(
            message.kind() as u8,
            &body[..length],
            Instant::from_millis(clock),
        )
        .ok()?;
    run(sender, receiver, &mut clock, TIMEOUT, true)
}

/// Runs both ends; the bytes that `sender` sent, until its message is delivered if that is
/// what is waited for.
fn run(
    sender: &mut End,
    receiver: &mut End,
    clock: &mut u64,
    millis: u64,
    until_delivered: bool,
) -> Option<usize> {
    let mut bytes = 0;
    let end = *clock + millis;
    while *clock < end {
        *clock += STEP;
        let now = Instant::from_millis(*clock);
        while let Some(frame) = sender.poll_transmit(now) {
            bytes += frame.len();
            receiver.receive(frame, now);
        }
        while let Some(frame) = receiver.poll_transmit(now) {
            sender.receive(frame, now);
        }
        while let Some(event) = receiver.poll_event() {
            if let Event::Message { id, .. } = event {
                receiver.acknowledge(id);
            }
        }
        while let Some(event) = sender.poll_event() {
            if until_delivered && matches!(event, Event::Delivered(_)) {
                return Some(bytes);
            }
        }
    }
    None
}

fn end(role: Role, mtu: u8, key: &SharedKey) -> Option<End> {
    let mut config = Config::new(role);
    config.message_types = MESSAGE_TYPES;
    config.mtu = mtu;
    config.keys = Keys::single(Key::new(key.id, &key.secret));
    config.uplink = Protection::Authenticated;
    config.downlink = Protection::Authenticated;
    Endpoint::new(config, MemoryStorage::new()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use deltavlm_messages::{
        Alert, Answer, AnswerBody, CellSet, Confidence, Instruction, Provenance, Query, Text,
    };

    fn key() -> SharedKey {
        SharedKey {
            id: 1,
            secret: [7; 16],
        }
    }

    /// The promise of the project: counts, grids, confidence, tile and time in 40 bytes.
    #[test]
    fn the_longest_alert_takes_at_most_40_bytes_with_its_signature() {
        let alert = Message::Alert(Alert {
            tile: u32::MAX,
            time: u32::MAX,
            confidence: Confidence::from_fraction(1.0),
            roads: 31,
            buildings: 255,
            roads_grid: CellSet::from_bits(0x1FF),
            buildings_grid: CellSet::from_bits(0x1FF),
            pair: 0xFFFF,
        });
        let bytes = wire_size(&alert, 128, &key()).unwrap();
        assert!((20..=40).contains(&bytes), "{bytes} bytes");
    }

    #[test]
    fn a_text_weighs_more_than_a_yes_and_a_question_goes_up() {
        let source = Provenance {
            pair: 1,
            model: 2,
            prompt: 3,
        };
        let confidence = Confidence::from_fraction(0.5);
        let weigh_body = |body| {
            wire_size(
                &Message::Answer(Answer {
                    query: 1,
                    source,
                    body,
                }),
                128,
                &key(),
            )
            .unwrap()
        };
        let yes = weigh_body(AnswerBody::Classify {
            changed: true,
            confidence,
        });
        let text = Text::truncated("a new road and several houses appear beside the woodland");
        let caption = weigh_body(AnswerBody::Caption { text, confidence });
        assert!(yes < caption, "{yes} and {caption}");
        let query = Message::Query(Query {
            id: 1,
            tile: 17,
            prompt: Instruction::Count.into(),
        });
        assert!(wire_size(&query, 128, &key()).unwrap() <= 40);
    }

    #[test]
    fn a_long_message_counts_all_of_its_frames() {
        let source = Provenance {
            pair: 1,
            model: 2,
            prompt: 3,
        };
        let confidence = Confidence::from_fraction(0.5);
        let text = Text::truncated(&"Zq9-".repeat(50));
        let message = Message::Answer(Answer {
            query: 1,
            source,
            body: AnswerBody::Text { text, confidence },
        });
        let (wide, narrow) = (
            wire_size(&message, 255, &key()).unwrap(),
            wire_size(&message, 40, &key()).unwrap(),
        );
        assert!(
            narrow > wide + 50,
            "{narrow} in short frames, {wide} in long ones"
        );
    }
}
