//! The loop that ties the worker, the journal and the link together.

use crate::{
    analyzer::AnalysisError,
    config::Config,
    error::HostError,
    event::HostEvent,
    health,
    journal::Journal,
    pair_files::PairFiles,
    policy,
    reply_queue::ReplyQueue,
    settings::GroundSettings,
    watch::FolderEvent,
    worker::{OpenModel, Task, WorkerConfig, WorkerEvent},
    worker_handle::WorkerHandle,
};
use deltavlm_link::{Counters, MessageId, Role, SendError};
use deltavlm_messages::{
    Configure, FaultReason, Health, Message, PairFault, Refusal, RefusalReason, Setting, Text,
    short_hash,
};
use deltavlm_node::{CarrierEvent, Node, NodeConfig, NodeEvent, SharedKey};
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, File},
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// The longest time that one turn of the loop waits for bytes: worker reports come in between.
const POLL_INTERVAL: Duration = Duration::from_millis(25);
/// Room that replies and pictures leave in the link for alerts.
const MIN_FREE_FOR_ALERTS: usize = 16;
/// The lowest rate in bytes per second that the ground can set: a frame of the usual 128 bytes
/// then takes 13 seconds, and an order to go faster needs a few. Zero goes back to the
/// configuration.
const MIN_SET_RATE: u32 = 10;

/// The on-board program.
pub struct Host {
    config: Config,
    node: Node,
    journal: Journal,
    settings: GroundSettings,
    reply_queue: ReplyQueue,
    worker: WorkerHandle,
    started: Instant,
    health_at: Option<Instant>,
    health_sent: bool,
    model: String,
    model_fault_reported: bool,
    totals: Totals,
    observer: Box<dyn FnMut(HostEvent) + Send>,
    _lock: File,
}

/// What happened since the start.
#[derive(Debug, Default, Clone, Copy)]
struct Totals {
    pairs: u32,
    faults: u32,
    alerts: u32,
    board_faults: u32,
}

impl Host {
    /// Opens the spool and starts the worker; `open` opens the model in its thread.
    ///
    /// # Errors
    /// The spool, the key or the link's storage cannot be used. A model that cannot be
    /// opened is no such error: the ground is told and it is tried again.
    pub fn start(config: Config, open: OpenModel) -> Result<Self, HostError> {
        let dir = config.spool.dir.clone();
        let spool = |path: PathBuf| move |source| HostError::Spool { path, source };
        fs::create_dir_all(&dir).map_err(spool(dir.clone()))?;
        let lock_path = dir.join("lock");
        let lock = File::create(&lock_path).map_err(spool(lock_path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| HostError::InUse(dir.clone()))?;
        let journal_path = dir.join("journal");
        let journal = Journal::open(&journal_path).map_err(spool(journal_path))?;
        if journal.damaged_lines() > 0 {
            log::warn!(
                "journal: {} damaged lines were left out",
                journal.damaged_lines()
            );
        }
        let settings = GroundSettings::open(&dir.join("settings.json"));
        let node = open_node(&config, &settings)?;

        let worker = WorkerConfig {
            watch: config.watch.clone(),
            decode: config.model.decode_options(),
            deadline: config.model.deadline,
        };
        let worker =
            WorkerHandle::start(open, worker, journal.decided().clone()).map_err(spool(dir))?;
        let now = Instant::now();
        Ok(Self {
            node,
            journal,
            settings,
            reply_queue: ReplyQueue::default(),
            worker,
            started: now,
            health_at: None,
            health_sent: false,
            model: String::new(),
            model_fault_reported: false,
            totals: Totals::default(),
            observer: Box::new(|_| {}),
            config,
            _lock: lock,
        })
    }

    /// Tells `observer` of everything that happens from now on.
    pub fn observe(&mut self, observer: impl FnMut(HostEvent) + Send + 'static) {
        self.observer = Box::new(observer);
    }

    /// The link's counters.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.node.counters()
    }

    /// Runs until `stop` is raised.
    ///
    /// Stopping it in any other way, also by cutting the power, loses nothing.
    ///
    /// # Errors
    /// As [`step`](Self::step): the program is to be started again.
    pub fn run(&mut self, stop: &AtomicBool) -> Result<(), HostError> {
        while !stop.load(Ordering::Relaxed) {
            self.step()?;
        }
        Ok(())
    }

    /// One turn of the loop.
    ///
    /// # Errors
    /// The worker ended or hangs. Nothing that was decided on is lost.
    pub fn step(&mut self) -> Result<(), HostError> {
        self.node.receive(POLL_INTERVAL);
        if let Some(event) = self.node.poll_carrier_event() {
            match event {
                CarrierEvent::Opened => log::info!("link {} is open", self.node.carrier_name()),
                CarrierEvent::Closed(reason) => {
                    log::warn!("link {}: {reason}", self.node.carrier_name())
                }
            }
        }
        while let Some(event) = self.node.poll_event() {
            self.on_event(event);
        }
        while let Some(event) = self.worker.next_event()? {
            self.on_worker_event(event);
        }
        self.flush_to_link();
        self.report_health();
        self.node.transmit();
        Ok(())
    }

    fn on_event(&mut self, event: NodeEvent) {
        match event {
            NodeEvent::Message { id, message, .. } => self.on_message(id, message),
            NodeEvent::Delivered(id) => (self.observer)(HostEvent::Delivered(id)),
            NodeEvent::Rejected(id, reason) => log::warn!("the ground refused {id:?}: {reason:?}"),
            NodeEvent::LinkUp => {
                log::info!("contact");
                // The report that waited for contact is of the time before it; a newer one
                // takes its place.
                if self.health_sent && !self.health_interval().is_zero() {
                    self.health_at = Some(Instant::now());
                }
            }
            NodeEvent::LinkDown => {
                log::info!("no contact; {} messages wait", self.node.waiting())
            }
            NodeEvent::StorageFailed => log::error!("the spool's disk failed"),
            other => log::debug!("link: {other:?}"),
        }
    }

    fn on_message(&mut self, id: MessageId, message: Message) {
        match message {
            Message::Query(query) if self.is_full() => {
                self.refuse(id, query.id, RefusalReason::QueueFull)
            }
            Message::Query(query) => self.worker.submit(Task::Ask(id, query)),
            Message::PreviewRequest(request) if self.is_full() => {
                self.refuse(id, request.id, RefusalReason::QueueFull);
            }
            Message::PreviewRequest(request) => self.worker.submit(Task::Preview(id, request)),
            Message::Configure(configure) => self.configure(id, configure),
            Message::Ping(number) => {
                self.reply_queue.push_reply(Message::Pong(number), id);
                self.health_at = Some(Instant::now());
            }
            other => {
                log::debug!("{:?} is not for the board", other.kind());
                self.node.acknowledge(id);
            }
        }
    }

    fn is_full(&self) -> bool {
        self.worker.in_flight() >= self.config.query.queue
    }

    fn refuse(&mut self, id: MessageId, query: u16, reason: RefusalReason) {
        log::info!("query {query} is refused: {reason:?}");
        self.reply_queue
            .push_reply(Message::Refusal(Refusal { query, reason }), id);
    }

    fn configure(&mut self, id: MessageId, Configure { id: query, setting }: Configure) {
        let kept = match setting {
            Setting::AlertThreshold(confidence) => self
                .settings
                .update(|values| values.min_confidence = Some(confidence.fraction())),
            Setting::HealthInterval(seconds) => self
                .settings
                .update(|values| values.health_s = Some(seconds)),
            Setting::Rate(rate) => {
                let kept = (rate > 0).then_some(rate);
                let rate = kept.unwrap_or(self.config.link.rate);
                let is_usable = kept.is_none_or(|rate| rate >= MIN_SET_RATE);
                if !is_usable || self.node.set_rate(rate).is_err() {
                    return self.refuse(id, query, RefusalReason::Unsupported);
                }
                self.settings.update(|values| values.rate = kept)
            }
            Setting::Quiet(seconds) => {
                self.node.be_quiet(Duration::from_secs(u64::from(seconds)));
                Ok(())
            }
            _ => return self.refuse(id, query, RefusalReason::Unsupported),
        };
        match kept {
            Ok(()) => {
                log::info!("the ground set {setting:?}");
                self.schedule_health(self.health_interval());
                self.reply_queue.push_reply(Message::Applied(query), id);
            }
            Err(error) => {
                log::error!("settings: {error}");
                self.refuse(id, query, RefusalReason::Failed);
            }
        }
    }

    fn on_worker_event(&mut self, event: WorkerEvent) {
        match event {
            WorkerEvent::ModelReady { model } => {
                log::info!("model {model} is open");
                self.model.clone_from(&model);
                self.model_fault_reported = false;
                self.schedule_first_health();
                (self.observer)(HostEvent::ModelReady { model });
            }
            WorkerEvent::ModelUnavailable(error) => self.on_model_unavailable(&error),
            WorkerEvent::Folder(event) => self.on_folder(&event),
            WorkerEvent::PairAnalyzed {
                pair,
                result,
                elapsed,
            } => self.on_pair_analyzed(&pair, result, elapsed),
            WorkerEvent::QueryAnswered {
                id,
                query,
                result,
                elapsed,
            } => {
                match result {
                    Ok(answer) => self.reply_queue.push_reply(Message::Answer(answer), id),
                    Err(reason) => self.refuse(id, query.id, reason),
                }
                (self.observer)(HostEvent::QueryAnswered { query, elapsed });
            }
            WorkerEvent::PreviewReady {
                id,
                request,
                result,
            } => match result {
                Ok(mut preview) => {
                    let last = preview.pop();
                    for chip in preview {
                        self.reply_queue.push(Message::Preview(chip));
                    }
                    if let Some(chip) = last {
                        self.reply_queue.push_reply(Message::Preview(chip), id);
                    }
                }
                Err(reason) => self.refuse(id, request.id, reason),
            },
        }
    }

    /// The ground is told once that the model cannot be opened; pairs wait until it can.
    fn on_model_unavailable(&mut self, error: &AnalysisError) {
        log::error!("{error}; the next attempt is in a minute");
        if !self.model_fault_reported {
            self.model_fault_reported = true;
            self.report_board_fault(error.reason, &error.detail);
        }
        self.schedule_first_health();
        (self.observer)(HostEvent::ModelUnavailable {
            error: error.clone(),
        });
    }

    fn on_folder(&mut self, event: &FolderEvent) {
        match event {
            FolderEvent::Unreadable { dir, reason } => {
                let dir = dir.display();
                log::error!("{dir}: {reason}; no pair is looked at until it can be read");
                self.report_board_fault(FaultReason::Unreadable, &format!("{dir}"));
            }
            FolderEvent::Readable { dir } => log::info!("{} can be read again", dir.display()),
        }
    }

    /// Tells the ground of something that is wrong with the board and with no pair.
    ///
    /// The ground shows the same fault once, so each has a number: the start of this program and
    /// its place since.
    fn report_board_fault(&mut self, reason: FaultReason, detail: &str) {
        self.totals.board_faults += 1;
        let number = format!("{}.{}", self.node.boot_count(), self.totals.board_faults);
        self.reply_queue.push(Message::PairFault(PairFault {
            tile: 0,
            time: 0,
            reason,
            detail: Text::truncated(&format!("#{number} {detail}")),
        }));
    }

    fn on_pair_analyzed(
        &mut self,
        pair: &PairFiles,
        result: Result<crate::Detection, AnalysisError>,
        elapsed: Duration,
    ) {
        self.totals.pairs += 1;
        let threshold = self
            .settings
            .overrides
            .min_confidence
            .unwrap_or(self.config.alert.min_confidence);
        let (alert, error, message) = match result {
            Ok(detection) => {
                let alert = policy::alert(&detection, threshold);
                log::info!(
                    "{}: {}, confidence {:.2}, {} ms{}",
                    pair.name,
                    if detection.change.is_some() {
                        "changed"
                    } else {
                        "not changed"
                    },
                    detection.confidence,
                    elapsed.as_millis(),
                    if alert.is_some() { ", alert" } else { "" }
                );
                (alert, None, alert.map(Message::Alert))
            }
            Err(error) => {
                log::warn!("{}: {error}", pair.name);
                let message = policy::fault(pair, &error);
                (None, Some(error), Some(message))
            }
        };
        self.totals.alerts += u32::from(alert.is_some());
        self.totals.faults += u32::from(error.is_some());
        if let Err(error) = self
            .journal
            .decide(&pair.name, pair.version, message.as_ref())
        {
            // Better sent without a record, and perhaps again after a restart, than not at all.
            log::error!("journal: {error}");
            if let Some(message) = message {
                self.reply_queue.push(message);
            }
        }
        (self.observer)(HostEvent::PairAnalyzed {
            name: pair.name.clone(),
            alert,
            error,
            elapsed,
        });
    }

    /// Gives the link what waits for it, alerts and faults first.
    fn flush_to_link(&mut self) {
        while let Some(pending) = self.journal.pending().first() {
            match self.node.send(&pending.message) {
                Ok(_) => {}
                Err(SendError::QueueFull | SendError::Storage) => return,
                Err(refused) => log::error!("{}: {refused}", pending.name),
            }
            if let Err(error) = self.journal.handed_over() {
                log::error!("journal: {error}");
                return;
            }
        }
        while let Some(entry) = self.reply_queue.front() {
            if self.node.waiting() + MIN_FREE_FOR_ALERTS >= deltavlm_link::OUTBOX {
                return;
            }
            let completes = entry.completes;
            match self.node.send(&entry.message) {
                Ok(_) => {}
                Err(SendError::QueueFull | SendError::Storage) => return,
                Err(refused) => log::error!("a reply is not sent: {refused}"),
            }
            if let Some(id) = completes {
                self.node.acknowledge(id);
            }
            self.reply_queue.pop();
        }
    }

    fn health_interval(&self) -> Duration {
        match self.settings.overrides.health_s {
            Some(seconds) => Duration::from_secs(u64::from(seconds)),
            None => self.config.health.every,
        }
    }

    fn schedule_health(&mut self, after: Duration) {
        let wanted = !self.health_interval().is_zero();
        self.health_at = wanted.then(|| Instant::now() + after);
    }

    /// The first report waits until it can say which model is open.
    fn schedule_first_health(&mut self) {
        if self.health_at.is_none() && !self.health_sent {
            self.schedule_health(Duration::ZERO);
        }
    }

    fn report_health(&mut self) {
        if self.health_at.is_none_or(|at| Instant::now() < at) {
            return;
        }
        self.schedule_health(self.health_interval());
        let counters = self.node.counters();
        let health = Health {
            uptime: u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX),
            starts: self.node.boot_count(),
            model: short_hash(self.model.as_bytes()),
            pairs: self.totals.pairs,
            faults: self.totals.faults,
            alerts: self.totals.alerts,
            waiting: u16::try_from(self.node.waiting() + self.journal.pending().len())
                .unwrap_or(u16::MAX),
            disk_free: health::disk_free(&self.config.spool.dir),
            memory: health::memory(),
            temperature: health::temperature(),
            frames_received: counters.frames_received,
            frames_refused: health::refused_frames(&counters),
        };
        self.health_sent = true;
        if let Err(refused) = self.node.send(&Message::Health(health)) {
            log::debug!("health is not sent: {refused}");
        }
    }
}

/// Opens the link's storage in the spool and starts from it.
fn open_node(config: &Config, settings: &GroundSettings) -> Result<Node, HostError> {
    let key = config
        .link
        .key
        .as_deref()
        .map(SharedKey::read)
        .transpose()?;
    let node = NodeConfig {
        role: Role::Board,
        key,
        storage: config.spool.dir.join("link"),
        mtu: config.link.mtu,
        rate: settings.overrides.rate.unwrap_or(config.link.rate),
        probe_interval: config.link.probe,
        commands_per_minute: u16::try_from(config.query.per_minute).unwrap_or(u16::MAX),
    };
    Ok(Node::start(node, config.link.address.clone())?)
}
