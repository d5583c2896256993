//! One end of a link: bytes and time in, frames and events out.

mod acks;
mod clock;
mod command_limit;
mod deliver;
mod event;
mod frame_counter;
mod handshake;
mod meet;
mod receive;
mod receiver;
mod repair;
mod rotation;
mod start;
mod transmit;
mod transmitter;
mod write_frame;

pub use event::{Event, SendError};
pub use rotation::RotateError;
pub use start::StartError;

use acks::AckTracker;
use clock::Clock;
use event::Notice;
use frame_counter::FrameCounter;
use handshake::Handshake;
use receiver::Receiver;
use repair::Repair;
use rotation::Rotation;
use start::register;
use transmitter::{Link, Transmitter};

use crate::{
    MAX_MESSAGE,
    auth::{Key as SecretKey, Keys},
    chunk::REPAIR_HEAD,
    class::Class,
    config::{Config, Mode},
    config_error::ConfigError,
    counters::Counters,
    frame::{MAX_MTU, capacity},
    id::MessageId,
    inbox::Waiting,
    outbox::{Outcome, State},
    pacing::{Contact, MAX_CONTACTS, check_contacts},
    role::Role,
    storage::{Direction, Key, Register, Storage, StorageError},
    time::{Duration, Instant},
};

/// Numbers of health messages are taken from storage in blocks of this many.
const SEQUENCE_BLOCK: u32 = 64;

/// One end of a link.
///
/// It does no I/O and reads no clock. The program around it
///
/// - passes the bytes it receives to [`receive`](Self::receive),
/// - sends what [`poll_transmit`](Self::poll_transmit) returns until it returns `None`,
/// - deals with what [`poll_event`](Self::poll_event) returns until it returns `None`,
/// - and does so again when bytes come, after it sent a message, and at
///   [`next_deadline`](Self::next_deadline).
#[derive(Debug)]
pub struct Endpoint<S> {
    config: Config,
    storage: S,
    clock: Clock,
    random: u64,
    counters: Counters,
    numbering: FrameCounter,
    handshake: Handshake,
    transmitter: Transmitter,
    receiver: Receiver,
    acks: AckTracker,
    repair: Repair,
    rotation: Rotation,
    notices: heapless::Deque<Notice, 8>,
    frame: [u8; MAX_MTU + 1],
}

impl<S: Storage> Endpoint<S> {
    /// Accepts a message for sending. When this returns `Ok`, the message is in storage, and it
    /// will be sent until the peer has it, whatever happens to the link or the power.
    ///
    /// The `kind` decides the class, and with it how urgent the message is.
    pub fn send(&mut self, kind: u8, body: &[u8], now: Instant) -> Result<MessageId, SendError> {
        let now = self.clock.read(now);
        let types = &self.config.message_types;
        if types.commands.contains(kind) && self.config.role == Role::Board {
            return Err(SendError::WrongDirection);
        }
        if body.len() > MAX_MESSAGE {
            return Err(SendError::TooLarge);
        }
        types.check(kind, body).map_err(|_| SendError::Invalid)?;
        let class = Class::of_kind(kind);
        if class.latest_wins() {
            self.supersede(class);
        }
        if !self.transmitter.outbox.has_room(class) {
            return Err(SendError::QueueFull);
        }
        let id = MessageId {
            class,
            sequence: self.transmitter.next_sequence[class.index()],
        };
        let next = id.sequence.wrapping_add(1);
        if class.latest_wins() && id.sequence >= self.transmitter.reserved_sequence {
            let reserved = id.sequence.saturating_add(SEQUENCE_BLOCK);
            let stored = self
                .storage
                .set(Register::NextSequence(class), register(u64::from(reserved)));
            self.storage_result(stored).ok_or(SendError::Storage)?;
            self.transmitter.reserved_sequence = reserved;
        }
        let key = Key {
            direction: Direction::Outbound,
            class,
            sequence: id.sequence,
        };
        match self.storage.append(key, &[&[kind], body]) {
            Ok(()) => {}
            Err(StorageError::Full) => return Err(SendError::QueueFull),
            Err(error) => {
                self.storage_result(Err::<(), _>(error));
                return Err(SendError::Storage);
            }
        }
        self.transmitter.next_sequence[class.index()] = next;
        let expires =
            self.config.lifetimes[class.index()].map_or(Instant::MAX, |lifetime| now + lifetime);
        self.transmitter
            .outbox
            .insert(id, kind, body.len() as u16, expires, self.repeats());
        Ok(id)
    }

    /// Gives a message up. The peer is told; [`Event::Superseded`] follows. False if the message is
    /// not waiting.
    pub fn cancel(&mut self, id: MessageId) -> bool {
        let found = self
            .transmitter
            .outbox
            .find(id)
            .is_some_and(|slot| slot.state == State::Open);
        if found {
            self.give_up(id, Outcome::Superseded);
        }
        found
    }

    /// The next event, if there is one.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(notice) = self.notices.pop_front() {
            return Some(match notice {
                Notice::LinkUp => Event::LinkUp,
                Notice::LinkDown => Event::LinkDown,
                Notice::PeerStarted => Event::PeerStarted,
                Notice::StorageFailed => Event::StorageFailed,
                Notice::AuthDenied(reason) => Event::AuthDenied(reason),
                Notice::KeyChanged(id) => Event::KeyChanged(id),
                Notice::PeerReplaced => Event::PeerReplaced,
                Notice::DuplicateIdentity => Event::DuplicateIdentity,
                Notice::OtherFormat(version) => Event::OtherFormat(version),
            });
        }
        if let Some((id, outcome)) = self.transmitter.outbox.take_done() {
            return Some(match outcome {
                Outcome::Delivered => Event::Delivered(id),
                Outcome::Rejected(reason) => Event::Rejected(id, reason),
                Outcome::Expired => Event::Expired(id),
                Outcome::Superseded => Event::Superseded(id),
                Outcome::Sent => Event::Sent(id),
            });
        }
        while let Some(waiting) = self
            .receiver
            .inbox
            .waiting
            .iter_mut()
            .find(|waiting| !waiting.shown)
        {
            waiting.shown = true;
            let Waiting {
                id, redelivered, ..
            } = *waiting;
            match self.read_inbound(id) {
                Some((kind, body)) => {
                    return Some(Event::Message {
                        id,
                        kind,
                        body,
                        redelivered,
                    });
                }
                // It was readable when it came: only storage that lies leads here.
                None => self.acknowledge(id),
            }
        }
        None
    }

    /// Says that a message which [`poll_event`](Self::poll_event) returned is dealt with: it will
    /// not be shown again, not even after a start. Until then it takes up room in storage.
    pub fn acknowledge(&mut self, id: MessageId) {
        let Some(place) = self
            .receiver
            .inbox
            .waiting
            .iter()
            .position(|waiting| waiting.id == id)
        else {
            return;
        };
        let value = self.receiver.inbox.window(id.class).to_value();
        let stored = self.storage.set(Register::Settled(id.class), value);
        if self.storage_result(stored).is_none() {
            return;
        }
        let key = Key {
            direction: Direction::Inbound,
            class: id.class,
            sequence: id.sequence,
        };
        let removed = self.storage.acknowledge(key);
        if self.storage_result(removed).is_some() {
            self.receiver.inbox.waiting.swap_remove(place);
        }
    }

    /// Says that a message which [`poll_event`](Self::poll_event) returned cannot be dealt with now:
    /// it will be returned again.
    pub fn defer(&mut self, id: MessageId) {
        if let Some(waiting) = self
            .receiver
            .inbox
            .waiting
            .iter_mut()
            .find(|waiting| waiting.id == id)
        {
            waiting.shown = false;
        }
    }

    /// What happened since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whether the peer has been heard lately.
    pub fn is_up(&self) -> bool {
        self.transmitter.link == Link::Up
    }

    /// Messages that are accepted for sending and not over.
    pub fn waiting(&self) -> usize {
        self.transmitter.outbox.waiting()
    }

    /// How often a program has started on this storage.
    pub fn boot_count(&self) -> u32 {
        self.handshake.own.boot_count
    }

    /// Names this end's storage: drawn when it was first used. Never zero.
    pub fn epoch(&self) -> u32 {
        self.handshake.own.epoch
    }

    /// The peer's epoch, once the peer has proved that it speaks from it.
    pub fn peer_epoch(&self) -> Option<u32> {
        self.handshake.verified()
    }

    /// The smoothed time from a frame to its acknowledgement.
    pub fn round_trip(&self) -> Duration {
        self.transmitter.timer.round_trip()
    }

    /// The storage.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// The storage, for settings of its own. What it holds is not to be changed behind the endpoint.
    pub fn storage_mut(&mut self) -> &mut S {
        &mut self.storage
    }

    /// Ends the endpoint and gives its storage back.
    pub fn into_storage(self) -> S {
        self.storage
    }

    /// Sends nothing at all before `until`.
    pub fn quiet_until(&mut self, until: Instant) {
        self.transmitter.pacer.quiet_until = until + self.clock.offset;
    }

    /// Sends at most `rate` bytes in a second from now on.
    pub fn set_rate(&mut self, rate: u32) -> Result<(), ConfigError> {
        if rate == 0 {
            return Err(ConfigError::Rate);
        }
        self.transmitter.pacer.rate = rate;
        Ok(())
    }

    /// Replaces the contact schedule; an empty one means that the peer can always hear.
    pub fn set_contacts(&mut self, contacts: &[Contact]) -> Result<(), ConfigError> {
        check_contacts(contacts)?;
        let mut shifted: heapless::Vec<Contact, MAX_CONTACTS> =
            heapless::Vec::from_slice(contacts).map_err(|_| ConfigError::Contacts)?;
        for contact in &mut shifted {
            contact.start = contact.start + self.clock.offset;
            contact.end = contact.end + self.clock.offset;
        }
        self.transmitter.pacer.contacts = shifted;
        Ok(())
    }

    /// The keys, to roll them over.
    pub fn keys(&mut self) -> &mut Keys {
        &mut self.config.keys
    }

    /// Installs a key in its slot and signs with it from now on.
    pub fn roll_over(&mut self, key: SecretKey) {
        let id = key.id();
        self.config.keys.install(key);
        self.config.keys.activate(id);
    }

    fn repeats(&self) -> u8 {
        match self.config.mode {
            Mode::Duplex => 0,
            Mode::Simplex(simplex) => simplex.repeats,
        }
    }

    /// Ends a message before it was delivered. Its number stays taken until the peer knows.
    fn give_up(&mut self, id: MessageId, outcome: Outcome) {
        let simplex = self.config.mode != Mode::Duplex;
        if let Some(slot) = self.transmitter.outbox.find(id) {
            if simplex || id.class.latest_wins() {
                self.finish(id, outcome);
            } else {
                slot.state = State::Cancelled { outcome, due: true };
            }
        }
    }

    /// Ends a message for good: storage forgets it, the application is told.
    fn finish(&mut self, id: MessageId, outcome: Outcome) {
        let class = id.class;
        // The register keeps the numbers going when the newest entry is no longer there to tell.
        if !class.latest_wins()
            && id.sequence.wrapping_add(1) == self.transmitter.next_sequence[class.index()]
        {
            let next = u64::from(self.transmitter.next_sequence[class.index()]);
            let stored = self
                .storage
                .set(Register::NextSequence(class), register(next));
            if self.storage_result(stored).is_none() {
                return;
            }
        }
        let key = Key {
            direction: Direction::Outbound,
            class,
            sequence: id.sequence,
        };
        let removed = self.storage.acknowledge(key);
        if self.storage_result(removed).is_some()
            && let Some(slot) = self.transmitter.outbox.find(id)
        {
            slot.state = State::Done(outcome);
        }
    }

    fn supersede(&mut self, class: Class) {
        let old = self
            .transmitter
            .outbox
            .slots()
            .find(|slot| slot.id.class == class && slot.state == State::Open)
            .map(|slot| slot.id);
        if let Some(id) = old {
            self.finish(id, Outcome::Superseded);
        }
    }

    fn read_inbound(&mut self, id: MessageId) -> Option<(u8, heapless::Vec<u8, MAX_MESSAGE>)> {
        let key = Key {
            direction: Direction::Inbound,
            class: id.class,
            sequence: id.sequence,
        };
        let mut entry = [0; MAX_MESSAGE + 1];
        let length = self.storage.read(key, 0, &mut entry).ok()?;
        let (&kind, body) = entry[..length].split_first()?;
        self.config.message_types.check(kind, body).ok()?;
        Some((kind, heapless::Vec::from_slice(body).ok()?))
    }

    /// Counts and reports a failure; `None` for one.
    fn storage_result<T>(&mut self, result: Result<T, StorageError<S::Error>>) -> Option<T> {
        if result.is_err() {
            Counters::count(&mut self.counters.storage_failures);
            self.notice(Notice::StorageFailed);
        }
        result.ok()
    }

    fn notice(&mut self, notice: Notice) {
        if !self.notices.iter().any(|queued| *queued == notice) {
            let _ = self.notices.push_back(notice);
        }
    }

    /// The longest payload of a frame that carries no handshake.
    fn capacity(&self) -> usize {
        capacity(self.config.mtu, self.config.sending(), false) - self.repair_margin()
    }

    /// What a repair frame needs on top of the longest payload it protects.
    fn repair_margin(&self) -> usize {
        match self.config.mode {
            Mode::Simplex(simplex) if simplex.repairs > 0 => REPAIR_HEAD + 1,
            _ => 0,
        }
    }

    /// Names this start of the program.
    #[cfg(feature = "std")]
    pub(crate) fn session(&self) -> u32 {
        self.handshake.session
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn bytes_ahead(&self, class: Class) -> usize {
        self.transmitter.outbox.bytes_ahead(class)
    }

    /// Bytes on the air with the repetitions to expect.
    pub(crate) fn with_loss(&self, bytes: usize) -> u32 {
        self.transmitter.with_loss(bytes)
    }

    /// How long the pacing takes for so many bytes.
    pub(crate) fn time_for(&self, bytes: u64) -> Duration {
        self.transmitter.pacer.time_for(bytes)
    }

    /// How long something takes that needs `span` of contact.
    pub(crate) fn within_schedule(&self, span: Duration, now: Instant) -> Option<Duration> {
        let now = self.clock.peek(now);
        self.transmitter
            .pacer
            .after_contact(span, now)
            .map(|end| end.since(now))
    }
}
