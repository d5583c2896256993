//! How an endpoint starts from what storage holds.

use core::fmt;

use super::{AckTracker, Clock, Endpoint, FrameCounter, Handshake, Receiver, Repair, Transmitter};
use crate::{
    MAX_MESSAGE,
    class::Class,
    config::{Config, Mode},
    config_error::ConfigError,
    counters::Counters,
    frame::MAX_MTU,
    id::MessageId,
    inbox::{Inbox, Waiting, Window},
    outbox::Outbox,
    replay_window::{REPLAY_FLOOR_BLOCK, ReplayWindow},
    storage::{Direction, Key, Register, Storage, StorageError, Value},
    time::Instant,
};

/// Why an endpoint could not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError<E> {
    /// The configuration contradicts itself.
    Config(ConfigError),
    /// Storage could not be read or written.
    Storage(StorageError<E>),
    /// Storage holds more messages than the endpoint has room for.
    TooMany,
}

impl<E: fmt::Display> fmt::Display for StartError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Storage(error) => error.fmt(f),
            Self::TooMany => f.write_str("storage holds more messages than there is room for"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for StartError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Storage(error) => Some(error),
            Self::TooMany => None,
        }
    }
}

impl<E> From<StorageError<E>> for StartError<E> {
    fn from(error: StorageError<E>) -> Self {
        Self::Storage(error)
    }
}

impl<S: Storage> Endpoint<S> {
    /// Starts an end from what storage holds: nothing that was accepted before is lost.
    pub fn new(config: Config, mut storage: S) -> Result<Self, StartError<S::Error>> {
        config.check().map_err(StartError::Config)?;
        let mut random = (config.seed ^ 0x9E37_79B9).max(1);

        let identity_value = storage.get(Register::Identity)?;
        let (storage_id, peer_storage_id, boot_count) = identity_value.map_or_else(
            || ((next_random(&mut random) as u16).max(1), 0, 0),
            |value| {
                let [a, b, c, d, e, f, g, h, ..] = value;
                (
                    u16::from_le_bytes([a, b]),
                    u16::from_le_bytes([c, d]),
                    u32::from_le_bytes([e, f, g, h]),
                )
            },
        );
        let boot_count = boot_count.wrapping_add(1);
        storage.set(
            Register::Identity,
            identity_register(storage_id, peer_storage_id, boot_count),
        )?;

        // A fresh key begins at zero; later starts leave out as much as a peer's floor may run ahead.
        let next_counter = storage
            .get(Register::SendCounter)?
            .map_or(0, |value| number(value) + REPLAY_FLOOR_BLOCK);
        let numbering = FrameCounter::reserve(next_counter, &mut storage)?;
        let replay_window =
            ReplayWindow::new(storage.get(Register::ReplayFloor)?.map_or(0, number));

        let mut inbox = Inbox::new();
        let mut next_sequence = [0; 5];
        for class in Class::ALL {
            if let Some(value) = storage.get(Register::Settled(class))? {
                *inbox.window(class) = Window::from_value(value);
            }
            if let Some(value) = storage.get(Register::NextSequence(class))? {
                next_sequence[class.index()] = number(value) as u32;
            }
        }
        let mut outbox = Outbox::new(config.max_skips);
        recover_entries(
            &config,
            &mut storage,
            &mut inbox,
            &mut outbox,
            &mut next_sequence,
        )?;

        Ok(Self {
            clock: Clock::default(),
            random,
            counters: Counters::default(),
            numbering,
            handshake: Handshake::new(
                storage_id,
                peer_storage_id,
                boot_count,
                config.mode == Mode::Duplex,
            ),
            transmitter: Transmitter::new(&config, outbox, next_sequence),
            receiver: Receiver::new(replay_window, inbox, config.commands_per_minute),
            acks: AckTracker::new(),
            repair: Repair::new(&config),
            notices: heapless::Deque::new(),
            frame: [0; MAX_MTU + 1],
            config,
            storage,
        })
    }
}

/// Puts every entry of storage back to where it was.
fn recover_entries<S: Storage>(
    config: &Config,
    storage: &mut S,
    inbox: &mut Inbox,
    outbox: &mut Outbox,
    next_sequence: &mut [u32; 5],
) -> Result<(), StartError<S::Error>> {
    let mut too_many = false;
    let repeats = match config.mode {
        Mode::Duplex => 0,
        Mode::Simplex(simplex) => simplex.repeats,
    };
    storage.recover(&mut |key, length| {
        let id = MessageId {
            class: key.class,
            sequence: key.sequence,
        };
        match key.direction {
            Direction::Inbound => {
                match key.class.latest_wins() {
                    true => inbox
                        .window(key.class)
                        .advance(key.sequence.saturating_add(1)),
                    false => inbox.window(key.class).insert(key.sequence),
                }
                too_many |= inbox
                    .waiting
                    .push(Waiting {
                        id,
                        shown: false,
                        redelivered: true,
                    })
                    .is_err();
            }
            Direction::Outbound => {
                too_many |=
                    !outbox.has_room(Class::Urgent) || !(2..=MAX_MESSAGE + 1).contains(&length);
                let next = &mut next_sequence[key.class.index()];
                *next = (*next).max(key.sequence.saturating_add(1));
                let expires = config.lifetimes[key.class.index()]
                    .map_or(Instant::MAX, |life| Instant::ZERO + life);
                outbox.insert(id, 0, length.saturating_sub(1) as u16, expires, repeats);
            }
        }
    })?;
    if too_many {
        return Err(StartError::TooMany);
    }
    for slot in outbox.slots_mut() {
        let key = Key {
            direction: Direction::Outbound,
            class: slot.id.class,
            sequence: slot.id.sequence,
        };
        let mut kind = [0];
        storage.read(key, 0, &mut kind)?;
        slot.kind = kind[0] & 0x3F;
    }
    Ok(())
}

pub(super) fn register(number: u64) -> Value {
    let mut value = [0; 12];
    value[..8].copy_from_slice(&number.to_le_bytes());
    value
}

pub(super) fn number(value: Value) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = value;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

pub(super) fn identity_register(storage_id: u16, peer: u16, boot_count: u32) -> Value {
    let mut value = [0; 12];
    value[..2].copy_from_slice(&storage_id.to_le_bytes());
    value[2..4].copy_from_slice(&peer.to_le_bytes());
    value[4..8].copy_from_slice(&boot_count.to_le_bytes());
    value
}

pub(super) fn next_random(state: &mut u32) -> u32 {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    *state
}
