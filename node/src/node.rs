//! One end of a link: carrier, endpoint, clock, and the loop that ties them.

use crate::{
    CarrierEvent, CarrierSource, ContactSchedule, LinkSettings, MESSAGE_TYPES, NodeEvent,
    ReconnectingCarrier, SharedKey,
    event::translate,
    store::{Batch, LinkStorage, Store, StoreError},
};
use deltavlm_link::{
    Config, Counters, Endpoint, Estimate, MessageId, Role, SendError, StartError,
    auth::{Key, Keys, Protection},
    config::ConfigError,
    pacing::Pacing,
};
use deltavlm_messages::{MAX_BODY, Message, expected_reply_size};
use std::{
    hash::{BuildHasher, Hasher, RandomState},
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

/// How often the contact schedule is put to the link's clock, for wall clocks that are set.
const CONTACTS_INTERVAL: Duration = Duration::from_secs(5);

/// How one end is set up.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Which end it is.
    pub role: Role,
    /// The key that the other end holds as well; without one nothing is authenticated.
    pub key: Option<SharedKey>,
    /// The longest frame in bytes, 32 to 255.
    pub mtu: u8,
    /// Bytes per second on the air.
    pub rate: u32,
    /// The longest pause between two attempts to reach an end that is not heard.
    pub probe_interval: Duration,
    /// Commands that the board takes in a minute; zero for no limit.
    pub commands_per_minute: u16,
    /// Who the ends are, and all else that the link can be told.
    pub link: LinkSettings,
}

/// Why one end cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The link's part of the store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The link cannot start from its storage, or its settings contradict each other.
    #[error("link storage {path}: {source}")]
    Start {
        /// The store.
        path: PathBuf,
        /// What is wrong.
        source: StartError<StoreError>,
    },
}

impl NodeError {
    /// Whether the settings are at fault, so that starting again does not help.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::Start {
                source: StartError::Config(_),
                ..
            }
        )
    }
}

/// One end of a link. The program around it calls, in a loop,
///
/// - [`receive`](Self::receive), which waits for bytes,
/// - [`poll_event`](Self::poll_event) until it returns `None`,
/// - whatever it wants to send,
/// - and [`transmit`](Self::transmit).
pub struct Node {
    carrier: ReconnectingCarrier,
    endpoint: Endpoint<LinkStorage>,
    store: Store,
    started: Instant,
    contacts: Option<ContactSchedule>,
    /// When the contact schedule was last put to the link's clock.
    contacts_at: Option<Instant>,
}

impl Node {
    /// Starts from what the store holds. The carrier is an [`Address`](crate::Address), which is opened
    /// with the first [`receive`](Self::receive) and again whenever it is lost, or a boxed
    /// [`Carrier`](crate::Carrier) of the program's own.
    ///
    /// # Errors
    /// The store cannot be read or written, or the settings contradict each other.
    pub fn start(
        config: NodeConfig,
        store: &Store,
        carrier: impl Into<CarrierSource>,
    ) -> Result<Self, NodeError> {
        let mut link = Config::new(config.role);
        link.message_types = MESSAGE_TYPES;
        link.mtu = config.mtu;
        link.pacing = Pacing::at_rate(config.rate.max(1));
        link.max_timeout = link_duration(config.probe_interval);
        link.commands_per_minute = config.commands_per_minute;
        // The hasher's keys come from the system's random source.
        link.seed = RandomState::new().build_hasher().finish();
        if let Some(key) = &config.key {
            link.keys = Keys::single(Key::new(key.id, &key.secret));
            link.uplink = Protection::Authenticated;
            link.downlink = Protection::Authenticated;
        }
        config.link.apply(&mut link);
        let storage = store.link_storage()?;
        link.storage_salvaged = storage.is_salvaged();
        let mut endpoint = Endpoint::new(link, storage).map_err(|source| NodeError::Start {
            path: store.path().to_owned(),
            source,
        })?;
        endpoint.storage_mut().renewed();
        Ok(Self {
            carrier: ReconnectingCarrier::from_source(carrier.into()),
            endpoint,
            store: store.clone(),
            started: Instant::now(),
            contacts: config.link.contacts,
            contacts_at: None,
        })
    }

    /// Takes what the carrier brings. Waits for it, but no longer than `max_wait` and not beyond
    /// the moment at which the link wants to send.
    pub fn receive(&mut self, max_wait: Duration) {
        let mut buffer = [0; 1024];
        let wait = self.wait(max_wait);
        let read = self.carrier.read(&mut buffer, wait);
        let now = self.now();
        self.endpoint.receive(&buffer[..read], now);
    }

    /// Sends everything that is due, and writes down what was deferred for long enough.
    pub fn transmit(&mut self) {
        self.follow_contacts();
        loop {
            let now = self.now();
            let Some(frame) = self.endpoint.poll_transmit(now) else {
                break;
            };
            self.carrier.write(frame);
        }
        self.store.flush_due();
    }

    /// The next event, if there is one.
    pub fn poll_event(&mut self) -> Option<NodeEvent> {
        loop {
            match translate(self.endpoint.poll_event()?) {
                Ok(Some(event)) => return Some(event),
                Ok(None) => {}
                // The link checked it before: only a change of version leads here.
                Err(id) => self.endpoint.acknowledge(id),
            }
        }
    }

    /// The latest change of the carrier that was not reported yet.
    pub fn poll_carrier_event(&mut self) -> Option<CarrierEvent> {
        self.carrier.poll_event()
    }

    /// Accepts a message for sending: it is in storage when this returns.
    ///
    /// # Errors
    /// The link did not take it.
    pub fn send(&mut self, message: &Message) -> Result<MessageId, SendError> {
        let now = self.now();
        let mut body = [0; MAX_BODY];
        let length = message.encode(&mut body).ok_or(SendError::TooLarge)?;
        self.endpoint
            .send(message.kind() as u8, &body[..length], now)
    }

    /// Accepts a message for sending, and makes the changes in the store, in one transaction.
    ///
    /// # Errors
    /// The link did not take it, and nothing was changed.
    pub fn send_with(&mut self, message: &Message, batch: Batch) -> Result<MessageId, SendError> {
        self.endpoint.storage_mut().attach(batch);
        let sent = self.send(message);
        // A message that is not kept on disk took nothing along.
        let rest = self.endpoint.storage_mut().detach();
        if sent.is_ok() {
            self.store.commit(&rest).map_err(|_| SendError::Storage)?;
        }
        sent
    }

    /// What a message and its answer will cost on the air if it is sent now.
    ///
    /// # Errors
    /// The message is too long.
    pub fn estimate(&self, message: &Message) -> Result<Estimate, SendError> {
        let mut body = [0; MAX_BODY];
        let length = message.encode(&mut body).ok_or(SendError::TooLarge)?;
        let reply = expected_reply_size(message);
        self.endpoint
            .estimate(message.kind() as u8, length, reply, self.now())
    }

    /// Says that a message which [`poll_event`](Self::poll_event) returned is dealt with.
    pub fn acknowledge(&mut self, id: MessageId) {
        self.endpoint.acknowledge(id);
    }

    /// Says that a message cannot be dealt with now: it is returned again.
    pub fn defer(&mut self, id: MessageId) {
        self.endpoint.defer(id);
    }

    /// Gives a message up that was not delivered yet. False if it is not waiting.
    pub fn cancel(&mut self, id: MessageId) -> bool {
        self.endpoint.cancel(id)
    }

    /// Sends nothing at all for this long.
    pub fn be_quiet(&mut self, span: Duration) {
        let until = self.now() + link_duration(span);
        self.endpoint.quiet_until(until);
    }

    /// Sends at most this many bytes in a second from now on.
    ///
    /// # Errors
    /// The rate is zero.
    pub fn set_rate(&mut self, rate: u32) -> Result<(), ConfigError> {
        self.endpoint.set_rate(rate)
    }

    /// Where the carrier leads.
    #[must_use]
    pub fn carrier_name(&self) -> &str {
        self.carrier.name()
    }

    /// What happened on the link since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        *self.endpoint.counters()
    }

    /// Whether the other end has been heard lately.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.endpoint.is_up()
    }

    /// Messages that wait to be sent or acknowledged.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.endpoint.waiting()
    }

    /// How often a program has started on this storage.
    #[must_use]
    pub fn boot_count(&self) -> u32 {
        self.endpoint.boot_count()
    }

    /// Tells the link of the next contacts: it has no wall clock, and room for a few only.
    fn follow_contacts(&mut self) {
        let is_due = self
            .contacts_at
            .is_none_or(|at| at.elapsed() >= CONTACTS_INTERVAL);
        let Some(schedule) = self.contacts.as_ref().filter(|_| is_due) else {
            return;
        };
        let upcoming = schedule.upcoming(SystemTime::now(), self.now());
        let taken = self.endpoint.set_contacts(&upcoming);
        debug_assert!(taken.is_ok(), "a schedule is in order");
        self.contacts_at = Some(Instant::now());
    }

    fn now(&self) -> deltavlm_link::Instant {
        let micros = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        deltavlm_link::Instant::from_micros(micros)
    }

    fn wait(&self, most: Duration) -> Duration {
        let until = self
            .endpoint
            .next_deadline()
            .map(|deadline| deadline.since(self.now()));
        let until = until.map_or(most, |until| Duration::from_micros(until.as_micros()));
        let least = Duration::from_millis(1);
        until.clamp(least, most.max(least))
    }
}

fn link_duration(span: Duration) -> deltavlm_link::Duration {
    deltavlm_link::Duration::from_micros(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Address;
    use std::error::Error;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn store(path: PathBuf) -> Store {
        Store::open(&path, &[]).unwrap().0
    }

    fn config(role: Role) -> NodeConfig {
        NodeConfig {
            role,
            key: None,
            mtu: 128,
            rate: 100_000,
            probe_interval: Duration::from_millis(200),
            commands_per_minute: 0,
            link: LinkSettings::default(),
        }
    }

    #[test]
    fn a_message_passes_between_two_nodes() {
        let dir = tempfile::tempdir().unwrap();
        let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let listen = format!("udp-listen:127.0.0.1:{port}");
        let connect = format!("udp:127.0.0.1:{port}");
        let mut board = Node::start(
            config(Role::Board),
            &store(dir.path().join("board")),
            address(&listen),
        )
        .unwrap();
        let mut ground = Node::start(
            config(Role::Ground),
            &store(dir.path().join("ground")),
            address(&connect),
        )
        .unwrap();
        let estimate = ground.estimate(&Message::Ping(7)).unwrap();
        assert!((15..200).contains(&estimate.bytes_up), "{estimate:?}");
        let id = ground.send(&Message::Ping(7)).unwrap();
        let (mut came, mut delivered) = (false, false);
        let end = Instant::now() + Duration::from_secs(20);
        while !(came && delivered) && Instant::now() < end {
            for node in [&mut board, &mut ground] {
                node.receive(Duration::from_millis(5));
                while let Some(event) = node.poll_event() {
                    match event {
                        NodeEvent::Message { id, message, .. } => {
                            assert_eq!(message, Message::Ping(7));
                            node.acknowledge(id);
                            came = true;
                        }
                        NodeEvent::Delivered(done) => delivered = done == id,
                        _ => {}
                    }
                }
                node.transmit();
            }
        }
        assert!(came && delivered);
    }

    /// `StartError` once had no source: what is wrong with the settings was text alone.
    #[test]
    fn settings_that_contradict_each_other_are_the_last_source() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(Role::Board);
        config.mtu = 8;
        let store = store(dir.path().join("store"));
        let error = Node::start(config, &store, address("udp:127.0.0.1:9"))
            .err()
            .unwrap();
        assert!(error.is_configuration());
        let start = error.source().unwrap();
        let cause = start.source().unwrap();
        assert_eq!(cause.downcast_ref::<ConfigError>(), Some(&ConfigError::Mtu));
    }
}
