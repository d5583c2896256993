//! Two ends of a link in memory that exchange messages of this program's own.
//!
//!     cargo run -p deltavlm-examples --example link_in_memory

use deltavlm_link::{
    Config, Endpoint, Event, Instant, MessageTypes, Role,
    message_types::{InvalidMessage, KindSet},
    storage::MemoryStorage,
};

/// From the board: degrees Celsius. Kinds 0 to 7 are the most urgent.
const OVERHEAT: u8 = 1;
/// From the ground: off or on.
const SET_HEATER: u8 = 8;

const MESSAGE_TYPES: MessageTypes = MessageTypes {
    validate: |kind, body| match (kind, body) {
        (OVERHEAT, [_]) | (SET_HEATER, [0 | 1]) => Ok(()),
        (OVERHEAT | SET_HEATER, _) => Err(InvalidMessage::Malformed),
        _ => Err(InvalidMessage::UnknownKind),
    },
    commands: KindSet::of(&[SET_HEATER]),
};

fn start(role: Role) -> Result<Endpoint<MemoryStorage<4096>>, Box<dyn std::error::Error>> {
    let config = Config {
        message_types: MESSAGE_TYPES,
        ..Config::new(role)
    };
    Ok(Endpoint::new(config, MemoryStorage::new())?)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut board, mut ground) = (start(Role::Board)?, start(Role::Ground)?);
    let alert = board.send(OVERHEAT, &[61], Instant::ZERO)?;
    let (mut frames, mut delivered, mut heater) = (0, false, None);
    for millis in 0..10_000 {
        let now = Instant::from_millis(millis);
        while let Some(frame) = board.poll_transmit(now) {
            frames += 1;
            // Every third frame of the board is lost.
            if frames % 3 != 0 {
                ground.receive(frame, now);
            }
        }
        while let Some(frame) = ground.poll_transmit(now) {
            board.receive(frame, now);
        }
        while let Some(event) = ground.poll_event() {
            if let Event::Message { id, body, .. } = event {
                println!("{millis} ms: the ground hears of {} degrees", body[0]);
                ground.send(SET_HEATER, &[0], now)?;
                ground.acknowledge(id);
            }
        }
        while let Some(event) = board.poll_event() {
            match event {
                Event::Delivered(id) => delivered |= id == alert,
                Event::Message { id, body, .. } => {
                    println!("{millis} ms: the board sets its heater to {}", body[0]);
                    heater = Some(body[0]);
                    board.acknowledge(id);
                }
                _ => {}
            }
        }
    }
    if delivered && heater == Some(0) {
        Ok(())
    } else {
        Err("a message did not come".into())
    }
}
