//! How an endpoint starts from what storage holds.

use core::fmt;

use super::{
    AckTracker, Clock, Endpoint, FrameCounter, Handshake, Receiver, Repair, Rotation, Transmitter,
    handshake::Identity,
};
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
    pub fn new(mut config: Config, mut storage: S) -> Result<Self, StartError<S::Error>> {
        config.check().map_err(StartError::Config)?;
        let stored = storage.get(Register::Identity)?;
        let boot_count = stored.map_or(0, |value| {
            let [_, _, _, _, a, b, c, d, ..] = value;
            u32::from_le_bytes([a, b, c, d])
        });
        let boot_count = boot_count.wrapping_add(1);
        let mut random = config.seed ^ u64::from(boot_count) << 32;
        let before = stored.and_then(Identity::from_value);
        let kept = before.filter(|kept| !kept.renew && !config.storage_salvaged);
        let own = Identity {
            epoch: kept.map_or_else(|| draw(&mut random), |kept| kept.epoch),
            boot_count,
            // A peer that does not know the new epoch could not be told of the floor either.
            unproved: kept.is_none_or(|kept| kept.unproved),
            renew: false,
        };
        let session = draw(&mut random);
        storage.set(Register::Identity, own.to_value())?;

        // A fresh epoch begins at zero; later starts leave out as much as a peer's floor may run ahead.
        let used = storage
            .get(Register::SendCounter)?
            .filter(|_| kept.is_some());
        let next_counter = used.map_or(0, |value| number(value) + REPLAY_FLOOR_BLOCK);
        let numbering = FrameCounter::reserve(next_counter, &mut storage)?;
        let (floor, peer_epoch) = storage
            .get(Register::ReplayFloor)?
            .map_or((0, 0), floor_and_epoch);
        let replay_window = ReplayWindow::new(floor);
        let replaced = storage
            .get(Register::ReplacedEpochs)?
            .map_or([0; 3], replaced_epochs);

        let rotation = Rotation::recover(&mut config.keys, &mut storage)?;
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
            handshake: Handshake::new(own, session, peer_epoch, replaced),
            transmitter: Transmitter::new(&config, outbox, next_sequence),
            receiver: Receiver::new(replay_window, inbox, config.commands_per_minute),
            acks: AckTracker::new(),
            repair: Repair::new(&config),
            rotation,
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

/// The floor of an epoch of the peer.
pub(super) fn floor_register(floor: u64, epoch: u32) -> Value {
    let mut value = register(floor);
    value[8..].copy_from_slice(&epoch.to_le_bytes());
    value
}

fn floor_and_epoch(value: Value) -> (u64, u32) {
    let [.., a, b, c, d] = value;
    (number(value), u32::from_le_bytes([a, b, c, d]))
}

pub(super) fn epochs_register(epochs: [u32; 3]) -> Value {
    let mut value = [0; 12];
    for (place, epoch) in value.chunks_exact_mut(4).zip(epochs) {
        place.copy_from_slice(&epoch.to_le_bytes());
    }
    value
}

fn replaced_epochs(value: Value) -> [u32; 3] {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = value;
    [[a, b, c, d], [e, f, g, h], [i, j, k, l]].map(u32::from_le_bytes)
}

/// The next number of SplitMix64, which gives different numbers for different seeds.
pub(super) fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

/// A random name; never zero.
pub(super) fn draw(state: &mut u64) -> u32 {
    ((next_random(state) >> 32) as u32).max(1)
}
