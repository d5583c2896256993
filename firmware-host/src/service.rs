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
    worker::{OpenModel, Task, Worker, WorkerEvent},
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
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

/// The longest time that one turn of the loop waits for bytes: worker reports come in between.
const POLL_INTERVAL: Duration = Duration::from_millis(25);
/// Room that replies and pictures leave in the link for alerts.
const MIN_FREE_FOR_ALERTS: usize = 16;

/// The on-board program.
pub struct Host {
    config: Config,
    node: Node,
    journal: Journal,
    settings: GroundSettings,
    reply_queue: ReplyQueue,
    tasks: Sender<Task>,
    worker_events: Receiver<WorkerEvent>,
    started: Instant,
    health_at: Option<Instant>,
    model: String,
    model_fault_reported: bool,
    /// Requests that the worker has and has not answered.
    in_flight: usize,
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

        let (tasks, task_queue) = channel();
        let (event_sender, worker_events) = channel();
        let worker = Worker::new(
            open,
            config.watch.clone(),
            journal.decided().clone(),
            event_sender,
            config.model.decode_options(),
        );
        thread::Builder::new()
            .name("worker".to_owned())
            .spawn(move || worker.run(&task_queue))
            .map_err(spool(dir))?;
        let now = Instant::now();
        let mut host = Self {
            node,
            journal,
            settings,
            reply_queue: ReplyQueue::default(),
            tasks,
            worker_events,
            started: now,
            health_at: None,
            model: String::new(),
            model_fault_reported: false,
            in_flight: 0,
            totals: Totals::default(),
            observer: Box::new(|_| {}),
            config,
            _lock: lock,
        };
        host.schedule_health(Duration::ZERO);
        Ok(host)
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
    pub fn run(&mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            self.step();
        }
    }

    /// One turn of the loop.
    pub fn step(&mut self) {
        self.node.receive(POLL_INTERVAL);
        if let Some(event) = self.node.poll_carrier_event() {
            match event {
                CarrierEvent::Opened => log::info!("link {} is open", self.node.address()),
                CarrierEvent::Closed(reason) => {
                    log::warn!("link {}: {reason}", self.node.address())
                }
            }
        }
        while let Some(event) = self.node.poll_event() {
            self.on_event(event);
        }
        while let Ok(event) = self.worker_events.try_recv() {
            self.on_worker_event(event);
        }
        self.flush_to_link();
        self.report_health();
        self.node.transmit();
    }

    fn on_event(&mut self, event: NodeEvent) {
        match event {
            NodeEvent::Message { id, message, .. } => self.on_message(id, message),
            NodeEvent::Delivered(id) => (self.observer)(HostEvent::Delivered(id)),
            NodeEvent::Rejected(id, reason) => log::warn!("the ground refused {id:?}: {reason:?}"),
            NodeEvent::LinkUp => log::info!("contact"),
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
            Message::Query(query) => self.submit(Task::Ask(id, query)),
            Message::PreviewRequest(request) if self.is_full() => {
                self.refuse(id, request.id, RefusalReason::QueueFull);
            }
            Message::PreviewRequest(request) => self.submit(Task::Preview(id, request)),
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
        self.in_flight >= self.config.query.queue
    }

    fn submit(&mut self, task: Task) {
        self.in_flight += 1;
        // The worker ends only after this end hung up.
        let _ = self.tasks.send(task);
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
            Setting::Rate(rate) => match self.node.set_rate(rate) {
                Ok(()) => self.settings.update(|values| values.rate = Some(rate)),
                Err(_) => return self.refuse(id, query, RefusalReason::Unsupported),
            },
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
                (self.observer)(HostEvent::ModelReady { model });
            }
            WorkerEvent::ModelUnavailable(error) => self.on_model_unavailable(&error),
            WorkerEvent::PairAnalyzed {
                pair,
                hash,
                result,
                elapsed,
            } => self.on_pair_analyzed(&pair, hash, result, elapsed),
            WorkerEvent::QueryAnswered {
                id,
                query,
                result,
                elapsed,
            } => {
                self.in_flight = self.in_flight.saturating_sub(1);
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
            } => {
                self.in_flight = self.in_flight.saturating_sub(1);
                match result {
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
                }
            }
        }
    }

    /// The ground is told once that the model cannot be opened; pairs wait until it can.
    fn on_model_unavailable(&mut self, error: &AnalysisError) {
        log::error!("{error}; the next attempt is in a minute");
        if !self.model_fault_reported {
            self.model_fault_reported = true;
            self.reply_queue.push(Message::PairFault(PairFault {
                tile: 0,
                time: 0,
                reason: FaultReason::Inference,
                detail: Text::truncated(&error.detail),
            }));
        }
        (self.observer)(HostEvent::ModelUnavailable {
            error: error.clone(),
        });
    }

    fn on_pair_analyzed(
        &mut self,
        pair: &PairFiles,
        hash: u16,
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
                let alert = policy::alert(pair, hash, &detection, threshold);
                log::info!(
                    "{}: {}, confidence {:.2}, {} ms{}",
                    pair.name,
                    if detection.changed {
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
    Ok(Node::start(NodeConfig {
        role: Role::Board,
        address: config.link.address.clone(),
        key,
        storage: config.spool.dir.join("link"),
        mtu: config.link.mtu,
        rate: settings.overrides.rate.unwrap_or(config.link.rate),
        probe_interval: config.link.probe,
        commands_per_minute: u16::try_from(config.query.per_minute).unwrap_or(u16::MAX),
    })?)
}
