//! The loop that ties the worker, the journal and the link together.

use crate::{
    analyst::Trouble,
    board_end,
    config::Config,
    event::HostEvent,
    health,
    journal::Journal,
    outgoing::Outgoing,
    pair::PairFiles,
    policy,
    settings::Settings,
    worker::{OpenAnalyst, Report, Task, Worker},
};
use deltavlm_carrier::{KeyError, Line, Notice};
use deltavlm_link::{
    Counters, Endpoint, Event, MessageId, Refused,
    message::{
        Configure, FaultReason, Health, Message, PairFault, Refusal, RefusalReason, Setting,
        short_hash,
    },
    storage::FileStorage,
    text::Text,
};
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, File},
    io,
    path::PathBuf,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

/// The longest time that one turn of the loop waits for bytes: worker reports come in between.
const TURN: Duration = Duration::from_millis(25);
/// Room that replies and pictures leave in the link for alerts.
const ALERT_ROOM: usize = 16;

/// Why the on-board program cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The spool directory cannot be used.
    #[error("spool {path}: {source}; name a directory that this user can write")]
    Spool {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another on-board program uses the spool directory.
    #[error("spool {0}: another dvlm-host uses it; stop that one or name another directory")]
    InUse(PathBuf),
    /// The key file cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The link cannot start from its storage.
    #[error("link: {0}; move the spool directory away to start afresh")]
    Link(String),
}

/// The on-board program.
pub struct Host {
    config: Config,
    line: Line,
    endpoint: Endpoint<FileStorage>,
    journal: Journal,
    settings: Settings,
    outgoing: Outgoing,
    tasks: Sender<Task>,
    reports: Receiver<Report>,
    started: Instant,
    health_at: Option<Instant>,
    model: String,
    told_broken: bool,
    /// Requests that the worker has and has not answered.
    at_work: usize,
    tally: Tally,
    observer: Box<dyn FnMut(HostEvent) + Send>,
    _lock: File,
}

/// What happened since the start.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
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
    pub fn start(config: Config, open: OpenAnalyst) -> Result<Self, StartError> {
        let dir = config.spool.dir.clone();
        let spool = |path: PathBuf| move |source| StartError::Spool { path, source };
        fs::create_dir_all(&dir).map_err(spool(dir.clone()))?;
        let lock_path = dir.join("lock");
        let lock = File::create(&lock_path).map_err(spool(lock_path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| StartError::InUse(dir.clone()))?;
        let journal_path = dir.join("journal");
        let journal = Journal::open(&journal_path).map_err(spool(journal_path))?;
        if journal.broken_lines() > 0 {
            log::warn!(
                "journal: {} damaged lines were left out",
                journal.broken_lines()
            );
        }
        let settings = Settings::open(&dir.join("settings.json"));
        let endpoint = board_end::open(&config, &settings)?;

        let (tasks, task_queue) = channel();
        let (report_queue, reports) = channel();
        let worker = Worker::new(
            open,
            config.watch.clone(),
            journal.done().clone(),
            report_queue,
            config.model.decode_options(),
        );
        thread::Builder::new()
            .name("worker".to_owned())
            .spawn(move || worker.run(&task_queue))
            .map_err(spool(dir))?;
        let now = Instant::now();
        let mut host = Self {
            line: Line::new(config.link.address.clone()),
            endpoint,
            journal,
            settings,
            outgoing: Outgoing::default(),
            tasks,
            reports,
            started: now,
            health_at: None,
            model: String::new(),
            told_broken: false,
            at_work: 0,
            tally: Tally::default(),
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
        *self.endpoint.counters()
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
        let mut buffer = [0; 1024];
        let read = self.line.read(&mut buffer, self.wait());
        if let Some(notice) = self.line.notice() {
            match notice {
                Notice::Opened => log::info!("link {} is open", self.line.address()),
                Notice::Closed(reason) => log::warn!("link {}: {reason}", self.line.address()),
            }
        }
        let now = self.now();
        self.endpoint.receive(&buffer[..read], now);
        while let Some(event) = self.endpoint.poll_event() {
            self.on_event(event);
        }
        while let Ok(report) = self.reports.try_recv() {
            self.on_report(report);
        }
        self.hand_over();
        self.report_health();
        loop {
            let now = self.now();
            let Some(frame) = self.endpoint.poll_transmit(now) else {
                break;
            };
            self.line.write(frame);
        }
    }

    fn now(&self) -> deltavlm_link::Instant {
        let micros = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        deltavlm_link::Instant::from_micros(micros)
    }

    /// How long to wait for bytes: until the link wants to act, at most one turn.
    fn wait(&self) -> Duration {
        let until = self
            .endpoint
            .next_deadline()
            .map(|deadline| deadline.since(self.now()));
        let until = until.map_or(TURN, |until| Duration::from_micros(until.as_micros()));
        until.clamp(Duration::from_millis(1), TURN)
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Message { id, message, .. } => self.on_message(id, message),
            Event::Delivered(id) => (self.observer)(HostEvent::Delivered(id)),
            Event::Refused(id, reason) => log::warn!("the ground refused {id:?}: {reason:?}"),
            Event::LinkUp => log::info!("contact"),
            Event::LinkParked => {
                log::info!("no contact; {} messages wait", self.endpoint.waiting())
            }
            Event::StorageFailed => log::error!("the spool's disk failed"),
            other => log::debug!("link: {other:?}"),
        }
    }

    fn on_message(&mut self, id: MessageId, message: Message) {
        match message {
            Message::Query(query) if self.is_full() => {
                self.refuse(id, query.id, RefusalReason::QueueFull)
            }
            Message::Query(query) => self.give(Task::Ask(id, query)),
            Message::ChipRequest(request) if self.is_full() => {
                self.refuse(id, request.id, RefusalReason::QueueFull);
            }
            Message::ChipRequest(request) => self.give(Task::Chip(id, request)),
            Message::Configure(configure) => self.configure(id, configure),
            Message::Ping(number) => {
                self.outgoing.reply(Message::Pong(number), id);
                self.health_at = Some(Instant::now());
            }
            other => {
                log::debug!("{:?} is not for the board", other.kind());
                self.endpoint.accept(id);
            }
        }
    }

    fn is_full(&self) -> bool {
        self.at_work >= self.config.query.queue
    }

    fn give(&mut self, task: Task) {
        self.at_work += 1;
        // The worker ends only after this end hung up.
        let _ = self.tasks.send(task);
    }

    fn refuse(&mut self, id: MessageId, query: u16, reason: RefusalReason) {
        log::info!("query {query} is refused: {reason:?}");
        self.outgoing
            .reply(Message::Refusal(Refusal { query, reason }), id);
    }

    fn configure(&mut self, id: MessageId, Configure { id: query, setting }: Configure) {
        let now = self.now();
        let kept = match setting {
            Setting::AlertThreshold(confidence) => self
                .settings
                .change(|values| values.min_confidence = Some(confidence.fraction())),
            Setting::HealthInterval(seconds) => self
                .settings
                .change(|values| values.health_s = Some(seconds)),
            Setting::Rate(rate) => match self.endpoint.set_rate(rate) {
                Ok(()) => self.settings.change(|values| values.rate = Some(rate)),
                Err(_) => return self.refuse(id, query, RefusalReason::Unsupported),
            },
            Setting::Quiet(seconds) => {
                self.endpoint
                    .quiet_until(now + deltavlm_link::Duration::from_secs(u64::from(seconds)));
                Ok(())
            }
            _ => return self.refuse(id, query, RefusalReason::Unsupported),
        };
        match kept {
            Ok(()) => {
                log::info!("the ground set {setting:?}");
                self.schedule_health(self.health_interval());
                self.outgoing.reply(Message::Done(query), id);
            }
            Err(error) => {
                log::error!("settings: {error}");
                self.refuse(id, query, RefusalReason::Failed);
            }
        }
    }

    fn on_report(&mut self, report: Report) {
        match report {
            Report::Ready { model } => {
                log::info!("model {model} is open");
                self.model.clone_from(&model);
                self.told_broken = false;
                (self.observer)(HostEvent::Ready { model });
            }
            Report::Broken(trouble) => self.on_broken(&trouble),
            Report::Looked {
                pair,
                hash,
                result,
                took,
            } => self.on_looked(&pair, hash, result, took),
            Report::Answered {
                id,
                query,
                result,
                took,
            } => {
                self.at_work = self.at_work.saturating_sub(1);
                match result {
                    Ok(answer) => self.outgoing.reply(Message::Answer(answer), id),
                    Err(reason) => self.refuse(id, query.id, reason),
                }
                (self.observer)(HostEvent::Answered { query, took });
            }
            Report::Chipped {
                id,
                request,
                result,
            } => {
                self.at_work = self.at_work.saturating_sub(1);
                match result {
                    Ok(mut chips) => {
                        let last = chips.pop();
                        for chip in chips {
                            self.outgoing.part(Message::Chip(chip));
                        }
                        if let Some(chip) = last {
                            self.outgoing.reply(Message::Chip(chip), id);
                        }
                    }
                    Err(reason) => self.refuse(id, request.id, reason),
                }
            }
        }
    }

    /// The ground is told once that the model cannot be opened; pairs wait until it can.
    fn on_broken(&mut self, trouble: &Trouble) {
        log::error!("{trouble}; the next attempt is in a minute");
        if !self.told_broken {
            self.told_broken = true;
            self.outgoing.part(Message::PairFault(PairFault {
                tile: 0,
                time: 0,
                reason: FaultReason::Inference,
                detail: Text::truncated(&trouble.detail),
            }));
        }
        (self.observer)(HostEvent::Broken {
            trouble: trouble.clone(),
        });
    }

    fn on_looked(
        &mut self,
        pair: &PairFiles,
        hash: u16,
        result: Result<crate::Finding, Trouble>,
        took: Duration,
    ) {
        self.tally.pairs += 1;
        let threshold = self
            .settings
            .values
            .min_confidence
            .unwrap_or(self.config.alert.min_confidence);
        let (alert, trouble, message) = match result {
            Ok(finding) => {
                let alert = policy::alert(pair, hash, &finding, threshold);
                log::info!(
                    "{}: {}, confidence {:.2}, {} ms{}",
                    pair.name,
                    if finding.changed {
                        "changed"
                    } else {
                        "not changed"
                    },
                    finding.confidence,
                    took.as_millis(),
                    if alert.is_some() { ", alert" } else { "" }
                );
                (alert, None, alert.map(Message::Alert))
            }
            Err(trouble) => {
                log::warn!("{}: {trouble}", pair.name);
                let message = policy::fault(pair, &trouble);
                (None, Some(trouble), Some(message))
            }
        };
        self.tally.alerts += u32::from(alert.is_some());
        self.tally.faults += u32::from(trouble.is_some());
        if let Err(error) = self
            .journal
            .decide(&pair.name, pair.stamp, message.as_ref())
        {
            // Better sent without a record, and perhaps again after a restart, than not at all.
            log::error!("journal: {error}");
            if let Some(message) = message {
                self.outgoing.part(message);
            }
        }
        (self.observer)(HostEvent::Looked {
            name: pair.name.clone(),
            alert,
            trouble,
            took,
        });
    }

    /// Gives the link what waits for it, alerts and faults first.
    fn hand_over(&mut self) {
        while let Some(pending) = self.journal.pending().first() {
            let now = self.now();
            match self.endpoint.send(&pending.message, now) {
                Ok(_) => {}
                Err(Refused::QueueFull | Refused::Storage) => return,
                Err(refused) => log::error!("{}: {refused}", pending.name),
            }
            if let Err(error) = self.journal.handed_over() {
                log::error!("journal: {error}");
                return;
            }
        }
        while let Some(entry) = self.outgoing.first() {
            if self.endpoint.waiting() + ALERT_ROOM >= deltavlm_link::OUTBOX {
                return;
            }
            let (settles, now) = (entry.settles, self.now());
            match self.endpoint.send(&entry.message, now) {
                Ok(_) => {}
                Err(Refused::QueueFull | Refused::Storage) => return,
                Err(refused) => log::error!("a reply is not sent: {refused}"),
            }
            if let Some(id) = settles {
                self.endpoint.accept(id);
            }
            self.outgoing.done();
        }
    }

    fn health_interval(&self) -> Duration {
        match self.settings.values.health_s {
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
        let counters = *self.endpoint.counters();
        let health = Health {
            uptime: u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX),
            starts: self.endpoint.starts(),
            model: short_hash(self.model.as_bytes()),
            pairs: self.tally.pairs,
            faults: self.tally.faults,
            alerts: self.tally.alerts,
            waiting: u16::try_from(self.endpoint.waiting() + self.journal.pending().len())
                .unwrap_or(u16::MAX),
            disk_free: health::disk_free(&self.config.spool.dir),
            memory: health::memory(),
            temperature: health::temperature(),
            frames_received: counters.frames_received,
            frames_refused: health::refused_frames(&counters),
        };
        let now = self.now();
        if let Err(refused) = self.endpoint.send(&Message::Health(health), now) {
            log::debug!("health is not sent: {refused}");
        }
    }
}
