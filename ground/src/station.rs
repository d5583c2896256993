//! The ground's end of the link, with its record.

use crate::{
    queries::{PendingQueries, PendingQuery},
    record::Record,
};
use deltavlm_carrier::{Address, Line, Notice, SharedKey};
use deltavlm_link::{
    Counters, Endpoint, Event, MessageId, Refused, Role, auth::Key, auth::Keys, auth::Protection,
    pacing::Pacing, storage::FileStorage,
};
use deltavlm_messages::{
    Configure, Health, Message, PreviewImage, PreviewPart, PreviewRequest, Prompt, Query, QueryId,
    Setting,
};
use std::{
    fs,
    hash::{BuildHasher, Hasher, RandomState},
    io,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
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
    /// The link cannot start from its storage.
    #[error("state {path}: {problem}; name another directory with --state")]
    Link {
        /// The link's storage.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// Why a question was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The link did not take it.
    #[error("not sent: {0}")]
    Refused(Refused),
    /// It could not be noted on disk first.
    #[error("not sent: the state directory failed: {0}")]
    State(#[from] io::Error),
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
    },
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
    /// The board is heard.
    LinkUp,
    /// The board is not heard any more.
    LinkDown,
    /// The board's program started again.
    BoardStarted,
    /// The carrier was opened or lost.
    Carrier(Notice),
    /// The station's own disk failed.
    StateFailed(String),
}

/// The ground's end of the link.
pub struct Station {
    line: Line,
    endpoint: Endpoint<FileStorage>,
    record: Record,
    queries: PendingQueries,
    started: Instant,
    duplicates: u32,
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
        let link_path = dir.join("link");
        let link_error = |problem: String| StationError::Link {
            path: link_path.clone(),
            problem,
        };
        // The storage locks its file, and with it the whole directory.
        let storage = FileStorage::at(&link_path).map_err(|error| link_error(error.to_string()))?;
        let config = config(&settings);
        let endpoint =
            Endpoint::new(config, storage).map_err(|error| link_error(error.to_string()))?;
        let record_path = dir.join("record");
        let record = Record::open(&record_path).map_err(state(record_path))?;
        let queries_path = dir.join("queries.json");
        let queries = PendingQueries::open(&queries_path).map_err(state(queries_path))?;
        Ok(Self {
            line: Line::new(settings.address),
            endpoint,
            record,
            queries,
            started: Instant::now(),
            duplicates: 0,
        })
    }

    /// Waits for bytes, for `wait` at most, and says what came of them.
    pub fn step(&mut self, wait: Duration) -> Vec<StationEvent> {
        let mut events = Vec::new();
        let mut buffer = [0; 1024];
        let read = self.line.read(&mut buffer, self.wait(wait));
        events.extend(self.line.notice().map(StationEvent::Carrier));
        let now = self.now();
        self.endpoint.receive(&buffer[..read], now);
        while let Some(event) = self.endpoint.poll_event() {
            self.on_event(event, &mut events);
        }
        loop {
            let now = self.now();
            let Some(frame) = self.endpoint.poll_transmit(now) else {
                break;
            };
            self.line.write(frame);
        }
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

    /// Asks whether the board is there; it answers with its state as well.
    ///
    /// # Errors
    /// The link did not take it.
    pub fn ping(&mut self, number: u32) -> Result<MessageId, AskError> {
        let now = self.now();
        self.endpoint
            .send(&Message::Ping(number), now)
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
        // An entry that stays open in the file is closed with its id's next use.
        let _ = self.queries.close_query(query);
    }

    /// The link's counters.
    #[must_use]
    pub fn counters(&self) -> Counters {
        *self.endpoint.counters()
    }

    /// Messages that came again, by another name, and were not shown again.
    #[must_use]
    pub fn duplicates(&self) -> u32 {
        self.duplicates
    }

    /// Whether the board has been heard lately.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.endpoint.is_up()
    }

    /// Messages that wait to be sent or acknowledged.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.endpoint.waiting()
    }

    fn send(
        &mut self,
        pending: PendingQuery,
        message: impl FnOnce(QueryId) -> Message,
    ) -> Result<QueryId, AskError> {
        // Known before it is sent: an answer never meets a station that did not ask.
        let id = self.queries.open_query(pending)?;
        self.record.reopen(id);
        let now = self.now();
        self.endpoint.send(&message(id), now).map_err(|refused| {
            self.close(id);
            AskError::Refused(refused)
        })?;
        Ok(id)
    }

    fn on_event(&mut self, event: Event, events: &mut Vec<StationEvent>) {
        match event {
            Event::Message { id, message, .. } => self.on_message(id, message, events),
            Event::Delivered(id) => events.push(StationEvent::Delivered(id)),
            Event::LinkUp => events.push(StationEvent::LinkUp),
            Event::LinkParked => events.push(StationEvent::LinkDown),
            Event::PeerStarted => events.push(StationEvent::BoardStarted),
            Event::StorageFailed => {
                events.push(StationEvent::StateFailed(
                    "the link's storage failed".to_owned(),
                ));
            }
            _ => {}
        }
    }

    /// Record, show, accept: in this order, so that a power cut repeats a step and skips none.
    fn on_message(&mut self, id: MessageId, message: Message, events: &mut Vec<StationEvent>) {
        match message {
            Message::Alert(_)
            | Message::PairFault(_)
            | Message::Answer(_)
            | Message::Refusal(_) => {
                match self.record.add(unix_seconds(), &message) {
                    Ok(true) => {
                        let pending = self.pending_query(&message);
                        events.push(StationEvent::Recorded { message, pending });
                    }
                    Ok(false) => self.duplicates += 1,
                    Err(error) => {
                        // Not accepted: the link shows it again after the next start.
                        events.push(StationEvent::StateFailed(error.to_string()));
                        return;
                    }
                }
            }
            Message::Applied(query) => {
                self.close(query);
                events.push(StationEvent::Applied(query));
            }
            Message::Health(health) => events.push(StationEvent::Health(health)),
            Message::Pong(number) => events.push(StationEvent::Pong(number)),
            Message::Preview(chip) => events.push(StationEvent::PreviewPart(chip)),
            _ => {}
        }
        self.endpoint.accept(id);
    }

    fn pending_query(&mut self, message: &Message) -> Option<PendingQuery> {
        let query = match message {
            Message::Answer(answer) => answer.query,
            Message::Refusal(refusal) => refusal.query,
            _ => return None,
        };
        self.queries.close_query(query).ok().flatten()
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
        until.clamp(Duration::from_millis(1), most.max(Duration::from_millis(1)))
    }
}

fn config(settings: &StationConfig) -> deltavlm_link::Config {
    let mut config = deltavlm_link::Config::new(Role::Ground);
    let carries = settings
        .address
        .bytes_per_second()
        .map(|carries| carries * 9 / 10);
    config.mtu = settings.mtu;
    config.pacing = Pacing::at_rate(settings.rate.or(carries).unwrap_or(100_000).max(1));
    let probe = u64::try_from(settings.probe.as_micros()).unwrap_or(u64::MAX);
    config.max_timeout = deltavlm_link::Duration::from_micros(probe);
    config.seed = RandomState::new().build_hasher().finish() as u32;
    if let Some(key) = &settings.key {
        config.keys = Keys::single(Key::new(key.id, &key.secret));
        config.uplink = Protection::Signed;
        config.downlink = Protection::Signed;
    }
    config
}

fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
