//! The ground's end of the link, with its record.

use crate::{
    queries::{PendingQueries, PendingQuery},
    record::{Record, RecordEntry, answered_query},
};
use deltavlm_link::{Counters, MessageId, Role, SendError};
use deltavlm_messages::{
    Configure, Health, Message, PreviewImage, PreviewPart, PreviewRequest, Prompt, Query, QueryId,
    Refusal, RefusalReason, Setting,
};
use deltavlm_node::{
    Address, CarrierEvent, LinkSettings, Node, NodeConfig, NodeError, NodeEvent, SharedKey,
    store::{Store, StoreError, import_log},
};
use std::{
    fs, io,
    path::PathBuf,
    time::{Duration, SystemTime},
};

/// How a station is set up.
#[derive(Debug, Clone)]
pub struct StationConfig {
    /// The carrier.
    pub address: Address,
    /// The key that the board holds as well.
    pub key: Option<SharedKey>,
    /// A directory of this station's own that survives a restart.
    pub state: PathBuf,
    /// The longest frame in bytes.
    pub mtu: u8,
    /// Bytes per second on the air; `None` for nine tenths of what the carrier allows.
    pub rate: Option<u32>,
    /// The longest pause between two attempts to reach a board that is not heard.
    pub probe: Duration,
    /// Who the ends are, and all else that the link can be told.
    pub link: LinkSettings,
}

/// Why a station cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StationError {
    /// The state directory cannot be used.
    #[error("state {path}: {source}; name a directory that you can write with --state")]
    State {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The store in the state directory cannot be used.
    #[error("state {0}")]
    Store(#[from] StoreError),
    /// The link cannot start from the store.
    #[error("state {0}; name another directory with --state")]
    Link(#[from] NodeError),
}

/// Why a question was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The link did not take it.
    #[error("not sent: {0}")]
    Refused(SendError),
    /// It could not be noted on disk first.
    #[error("not sent: the state directory failed: {0}")]
    State(#[from] StoreError),
}

/// Something that happened at the station.
#[derive(Debug, Clone)]
pub enum StationEvent {
    /// A message for the record came: an alert, a fault, an answer, a refusal. Never the same
    /// one twice.
    Recorded {
        /// The message.
        message: Message,
        /// What it answers, as far as this station asked.
        pending: Option<PendingQuery>,
        /// When it came, in seconds since 1970 by the ground's clock.
        received: u64,
    },
    /// A query waited longer than it may; the board never gets it.
    Expired(QueryId),
    /// The board says that frames of this station do not pass its authentication.
    Denied(RefusalReason),
    /// The board took a setting.
    Applied(QueryId),
    /// The board has answered a ping with this number.
    Pong(u32),
    /// The state of the board.
    Health(Health),
    /// Part of a picture.
    PreviewPart(PreviewPart),
    /// The board has what was sent.
    Delivered(MessageId),
    /// Something that an operator must be told, with the remedy.
    Warning(String),
    /// The board is heard.
    LinkUp,
    /// The board is not heard any more.
    LinkDown,
    /// The board's program started again.
    BoardStarted,
    /// The carrier was opened or lost.
    Carrier(CarrierEvent),
    /// The station's own disk failed.
    StateFailed(String),
}

/// The ground's end of the link.
pub struct Station {
    node: Node,
    record: Record,
    queries: PendingQueries,
    /// What was found when the state directory was opened, until it is told.
    damage: Option<String>,
    duplicates: u32,
    denied: bool,
    /// Messages that were handed out with the latest [`step`](Self::step). Its caller has dealt
    /// with them when it comes again.
    handed_out: Vec<MessageId>,
}

impl Station {
    /// Opens the state directory; the carrier is opened with the first [`step`](Self::step).
    ///
    /// # Errors
    /// The state directory cannot be used, or another program uses it.
    pub fn start(settings: StationConfig) -> Result<Self, StationError> {
        let dir = &settings.state;
        let state = |path: PathBuf| move |source| StationError::State { path, source };
        fs::create_dir_all(dir).map_err(state(dir.clone()))?;
        // The store locks its file, and with it the whole directory.
        let (store, report) = Store::open(&dir.join("store"), &[])?;
        import_log(&dir.join("link"), &store)?;
        let node = Node::start(node_config(&settings), &store, settings.address.clone())?;
        let record = Record::open(&store, dir)?;
        let queries = PendingQueries::open(&store, dir, record.last_query())?;
        let damage = report.salvage.map(|salvage| {
            let (kept, file) = (salvage.kept, salvage.quarantine.display());
            format!("it was damaged; {kept} records were kept, the damaged file is {file}")
        });
        Ok(Self {
            node,
            record,
            queries,
            damage,
            duplicates: 0,
            denied: false,
            handed_out: Vec::new(),
        })
    }

    /// Waits for bytes, for `wait` at most, and says what came of them.
    ///
    /// The board is told that a message has arrived with the next call, or when the station is
    /// dropped: a caller that is killed before it has shown the message gets it again after the
    /// next start.
    pub fn step(&mut self, wait: Duration) -> Vec<StationEvent> {
        self.acknowledge();
        let mut events = Vec::new();
        events.extend(self.damage.take().map(StationEvent::StateFailed));
        self.node.receive(wait);
        events.extend(self.node.poll_carrier_event().map(StationEvent::Carrier));
        while let Some(event) = self.node.poll_event() {
            self.on_event(event, &mut events);
        }
        self.node.transmit();
        events
    }

    /// Sends a question about a tile; its answer comes as a [`StationEvent`] with the same id.
    ///
    /// # Errors
    /// The link or the disk did not take it.
    pub fn ask(
        &mut self,
        tile: u32,
        prompt: Prompt,
        pending: PendingQuery,
    ) -> Result<QueryId, AskError> {
        self.send(pending, |id| Message::Query(Query { id, tile, prompt }))
    }

    /// Asks for a picture of a tile.
    ///
    /// # Errors
    /// The link or the disk did not take it.
    pub fn ask_picture(
        &mut self,
        tile: u32,
        picture: PreviewImage,
        level: u8,
        pending: PendingQuery,
    ) -> Result<QueryId, AskError> {
        self.send(pending, |id| {
            Message::PreviewRequest(PreviewRequest {
                id,
                tile,
                picture,
                level,
            })
        })
    }

    /// Changes a setting of the board.
    ///
    /// # Errors
    /// The link or the disk did not take it.
    pub fn set(&mut self, setting: Setting, pending: PendingQuery) -> Result<QueryId, AskError> {
        self.send(pending, |id| Message::Configure(Configure { id, setting }))
    }

    /// What a question would cost on the air in bytes, with its answer, and how long that takes:
    /// `None` where the contact schedule ends before.
    ///
    /// # Errors
    /// The question is too long.
    pub fn estimate(&self, tile: u32, prompt: Prompt) -> Result<(u32, Option<Duration>), AskError> {
        let query = Message::Query(Query {
            id: QueryId::MAX,
            tile,
            prompt,
        });
        let estimate = self.node.estimate(&query).map_err(AskError::Refused)?;
        let time = estimate
            .time
            .map(|time| Duration::from_micros(time.as_micros()));
        Ok((estimate.bytes_up + estimate.bytes_down, time))
    }

    /// Gives a question up that has not reached the board. False if it has, or nothing is known of it.
    pub fn cancel(&mut self, query: QueryId) -> bool {
        let waits = self.queries.carrier_of(query);
        let cancelled = waits.is_some_and(|id| self.node.cancel(id));
        if cancelled {
            self.close(query);
        }
        cancelled
    }

    /// Asks whether the board is there; it answers with its state as well.
    ///
    /// # Errors
    /// The link did not take it.
    pub fn ping(&mut self, number: u32) -> Result<MessageId, AskError> {
        self.node
            .send(&Message::Ping(number))
            .map_err(AskError::Refused)
    }

    /// Everything that came and was worth keeping.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// What was asked and not answered.
    #[must_use]
    pub fn queries(&self) -> &PendingQueries {
        &self.queries
    }

    /// Ends a query that gets no recorded answer, such as one for a picture.
    pub fn close(&mut self, query: QueryId) {
        self.queries.close_query(query);
    }

    /// The link's counters.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.node.counters()
    }

    /// Messages that came again, by another name, and were not shown again.
    #[must_use]
    pub fn duplicates(&self) -> u32 {
        self.duplicates
    }

    /// Whether the board has said that frames of this station do not pass its authentication.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.denied
    }

    /// Whether the board has been heard lately.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.node.is_up()
    }

    /// Messages that wait to be sent or acknowledged.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.node.waiting()
    }

    fn send(
        &mut self,
        pending: PendingQuery,
        message: impl FnOnce(QueryId) -> Message,
    ) -> Result<QueryId, AskError> {
        // Known before it is sent: an answer never meets a station that did not ask.
        let id = self.queries.open_query(pending)?;
        self.record.reopen(id);
        let sent = self.node.send(&message(id)).map_err(|refused| {
            self.close(id);
            AskError::Refused(refused)
        })?;
        self.queries.sent(id, sent);
        Ok(id)
    }

    /// Tells the link that everything handed out so far is dealt with.
    fn acknowledge(&mut self) {
        for id in self.handed_out.drain(..) {
            self.node.acknowledge(id);
        }
    }

    fn on_event(&mut self, event: NodeEvent, events: &mut Vec<StationEvent>) {
        match event {
            NodeEvent::Message {
                id,
                message,
                redelivered: again,
            } => self.on_message(id, message, again, events),
            NodeEvent::Rejected(id, reason) => self.on_refused(id, reason, events),
            NodeEvent::Expired(id) => {
                if let Some(query) = self.queries.carried_by(id) {
                    self.close(query);
                    events.push(StationEvent::Expired(query));
                }
            }
            NodeEvent::AuthDenied(reason) => {
                self.denied = true;
                events.push(StationEvent::Denied(reason));
            }
            NodeEvent::Delivered(id) => events.push(StationEvent::Delivered(id)),
            NodeEvent::LinkUp => events.push(StationEvent::LinkUp),
            NodeEvent::LinkDown => events.push(StationEvent::LinkDown),
            NodeEvent::PeerStarted => events.push(StationEvent::BoardStarted),
            NodeEvent::StorageFailed => {
                events.push(StationEvent::StateFailed(
                    "the link's storage failed".to_owned(),
                ));
            }
            other => events.extend(other.warning().map(StationEvent::Warning)),
        }
    }

    /// Record, show, accept: in this order, so that a power cut repeats a step and skips none.
    fn on_message(
        &mut self,
        id: MessageId,
        message: Message,
        again: bool,
        events: &mut Vec<StationEvent>,
    ) {
        match message {
            Message::Alert(_)
            | Message::PairFault(_)
            | Message::Answer(_)
            | Message::Refusal(_) => {
                if let Err(error) = self.record_once(message, again, events) {
                    // Not accepted: the link shows it again after the next start.
                    events.push(StationEvent::StateFailed(error.to_string()));
                    return;
                }
            }
            Message::Applied(query) => {
                self.close(query);
                events.push(StationEvent::Applied(query));
            }
            Message::Health(health) => events.push(StationEvent::Health(health)),
            Message::Pong(number) => events.push(StationEvent::Pong(number)),
            Message::Preview(part) => events.push(StationEvent::PreviewPart(part)),
            _ => {}
        }
        self.handed_out.push(id);
    }

    /// The link at the board's end took the message and would not pass it on.
    fn on_refused(&mut self, id: MessageId, reason: RefusalReason, events: &mut Vec<StationEvent>) {
        let Some(query) = self.queries.carried_by(id) else {
            return;
        };
        let refusal = Message::Refusal(Refusal { query, reason });
        if let Err(error) = self.record_once(refusal, false, events) {
            events.push(StationEvent::StateFailed(error.to_string()));
        }
    }

    /// Puts a message on disk and hands it out, once; `again` says that it may have been recorded
    /// by a program that was killed before it was shown.
    fn record_once(
        &mut self,
        message: Message,
        again: bool,
        events: &mut Vec<StationEvent>,
    ) -> Result<(), StoreError> {
        let query = answered_query(&message);
        let pending = query.and_then(|query| self.queries.get(query).cloned());
        let received = unix_seconds();
        if self.record.add(received, &message, pending.as_ref())? {
            events.push(StationEvent::Recorded {
                message,
                pending,
                received,
            });
        } else if let Some(entry) = self.record.find(&message).filter(|_| again) {
            events.push(StationEvent::from(entry.clone()));
        } else {
            self.duplicates += 1;
        }
        if let Some(query) = query {
            self.close(query);
        }
        Ok(())
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        self.acknowledge();
    }
}

impl From<RecordEntry> for StationEvent {
    fn from(entry: RecordEntry) -> Self {
        Self::Recorded {
            message: entry.message,
            pending: entry.pending,
            received: entry.received,
        }
    }
}

fn node_config(settings: &StationConfig) -> NodeConfig {
    let carries = settings.address.bytes_per_second();
    let rate = settings.rate.or(carries.map(|carries| carries * 9 / 10));
    NodeConfig {
        role: Role::Ground,
        key: settings.key.clone(),
        mtu: settings.mtu,
        rate: rate.unwrap_or(100_000),
        probe_interval: settings.probe,
        commands_per_minute: 0,
        link: settings.link.clone(),
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
