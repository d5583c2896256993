//! The loop that ties the worker, the journal and the link together.

mod health_report;
mod outgoing;
mod requests;
mod results;

use crate::{
    config::Config,
    error::HostError,
    event::HostEvent,
    journal::{FORGETTABLE, Journal},
    reply_queue::ReplyQueue,
    settings::GroundSettings,
    worker::{OpenModel, WorkerConfig},
    worker_handle::WorkerHandle,
};
use deltavlm_link::{Counters, Role};
use deltavlm_node::{
    CarrierEvent, Node, NodeConfig, NodeEvent, SharedKey,
    store::{Store, import_log},
};
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, File},
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// The longest time that one turn of the loop waits for bytes: worker reports come in between.
const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// The on-board program.
pub struct Host {
    config: Config,
    node: Node,
    store: Store,
    journal: Journal,
    settings: GroundSettings,
    reply_queue: ReplyQueue,
    worker: WorkerHandle,
    started: Instant,
    health_at: Option<Instant>,
    health_sent: bool,
    storage_fault_told: bool,
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
        let (store, report) = Store::open(&dir.join("store"), FORGETTABLE)?;
        let taken_over = import_log(&dir.join("link"), &store)?;
        if taken_over > 0 {
            log::info!("{taken_over} messages of an earlier version's spool are taken over");
        }
        let (journal, decided) = Journal::open(&store, &dir)?;
        let settings = GroundSettings::open(&dir.join("settings.json"));
        let node = open_node(&config, &settings, &store)?;

        let worker = WorkerConfig {
            watch: config.watch.clone(),
            decode: config.model.decode_options(),
            deadline: config.model.deadline,
        };
        let worker = WorkerHandle::start(open, worker, decided).map_err(spool(dir))?;
        let now = Instant::now();
        let mut host = Self {
            node,
            store,
            journal,
            settings,
            reply_queue: ReplyQueue::default(),
            worker,
            started: now,
            health_at: None,
            health_sent: false,
            storage_fault_told: false,
            model: String::new(),
            model_fault_reported: false,
            totals: Totals::default(),
            observer: Box::new(|_| {}),
            config,
            _lock: lock,
        };
        if let Some(salvage) = &report.salvage {
            host.report_salvage(salvage);
        }
        Ok(host)
    }

    /// The store in the spool.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
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
            // The store says so in the log, once.
            NodeEvent::StorageFailed => {}
            other => match other.warning() {
                Some(warning) => log::warn!("{warning}"),
                None => log::debug!("link: {other:?}"),
            },
        }
    }
}

/// Starts the link from what the store holds.
fn open_node(config: &Config, settings: &GroundSettings, store: &Store) -> Result<Node, HostError> {
    let key = config
        .link
        .key
        .as_deref()
        .map(SharedKey::read)
        .transpose()?;
    log::info!("link: {}", config.link.settings);
    let node = NodeConfig {
        role: Role::Board,
        key,
        mtu: config.link.mtu,
        rate: settings.overrides.rate.unwrap_or(config.link.rate),
        probe_interval: config.link.probe,
        commands_per_minute: u16::try_from(config.query.per_minute).unwrap_or(u16::MAX),
        link: config.link.settings.clone(),
    };
    Ok(Node::start(node, store, config.link.address.clone())?)
}
