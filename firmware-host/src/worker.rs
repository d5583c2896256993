//! The thread that owns the folders and the model.
//!
//! Questions from the ground and new pairs take turns, so neither can starve the other.

use crate::{
    activity::Activity,
    analyzer::{AnalysisError, Analyzer, Detection},
    config::WatchConfig,
    dialogue::Dialogues,
    pair_files::{PairFiles, PairVersion},
    preview,
    watch::{FolderEvent, Notification, Scan, Watcher},
};
use deltavlm_imaging::DecodeOptions;
use deltavlm_link::MessageId;
use deltavlm_messages::{
    Answer, FaultReason, PreviewPart, PreviewRequest, Prompt, Provenance, Query, RefusalReason,
    short_hash,
};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc, Weak,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    time::{Duration, Instant},
};

/// A model that cannot be opened is tried again after this long: its files may be replaced.
const MODEL_RETRY_INTERVAL: Duration = Duration::from_secs(60);
/// The longest time that opening a model may take: many gigabytes from a slow card.
const MODEL_OPEN_TIMEOUT: Duration = Duration::from_secs(1800);
/// Time that a job may take on top of twice the model's own deadline, which is asked for only
/// between two steps of the model.
const DEADLINE_MARGIN: Duration = Duration::from_secs(5);
/// The longest time without a look at the clock.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// Opens the model; called again when it failed.
pub type OpenModel = Box<dyn FnMut() -> Result<Box<dyn Analyzer>, AnalysisError> + Send>;

/// What the service wants done. The id is that of the message it came in.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a handful are alive at a time")]
pub(crate) enum Task {
    Ask(MessageId, Query),
    Preview(MessageId, PreviewRequest),
    /// The kernel says that files have changed.
    FilesChanged(Vec<Notification>),
    /// Tell which pairs there are.
    ListNames,
    /// These pairs were decided once; that is not known any more.
    Forget(Vec<String>),
}

/// What the worker has done.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a handful are alive at a time")]
pub(crate) enum WorkerEvent {
    /// The model is open, under this name.
    ModelReady { model: String },
    /// The model cannot be opened.
    ModelUnavailable(AnalysisError),
    /// A folder can no longer be read, or can be read again.
    Folder(FolderEvent),
    /// The pairs of which there is an after-picture. Not told while a folder cannot be read.
    Names(HashSet<String>),
    /// A new pair was analysed.
    PairAnalyzed {
        pair: PairFiles,
        result: Result<Detection, AnalysisError>,
        elapsed: Duration,
    },
    /// A question was answered or refused.
    QueryAnswered {
        id: MessageId,
        query: Query,
        result: Result<Answer, RefusalReason>,
        elapsed: Duration,
    },
    /// A preview was cut into parts.
    PreviewReady {
        id: MessageId,
        request: PreviewRequest,
        result: Result<Vec<PreviewPart>, RefusalReason>,
    },
}

/// How a worker is set up.
pub(crate) struct WorkerConfig {
    pub(crate) watch: WatchConfig,
    pub(crate) decode: DecodeOptions,
    /// The model's deadline for one pair or question.
    pub(crate) deadline: Duration,
}

/// The worker's state; [`run`](Worker::run) is its thread.
pub(crate) struct Worker {
    open: OpenModel,
    analyzer: Option<Box<dyn Analyzer>>,
    open_at: Instant,
    watcher: Watcher,
    pairs: VecDeque<PairFiles>,
    dialogues: Dialogues,
    events: Sender<WorkerEvent>,
    activity: Arc<Activity>,
    decode: DecodeOptions,
    job_timeout: Duration,
}

/// The service does not listen any more.
struct HungUp;

impl Worker {
    pub(crate) fn new(
        open: OpenModel,
        config: WorkerConfig,
        handled: HashMap<String, PairVersion>,
        events: Sender<WorkerEvent>,
        activity: Arc<Activity>,
    ) -> Self {
        Self {
            open,
            analyzer: None,
            open_at: Instant::now(),
            watcher: Watcher::new(config.watch, handled),
            pairs: VecDeque::new(),
            dialogues: Dialogues::default(),
            events,
            activity,
            decode: config.decode,
            job_timeout: config
                .deadline
                .saturating_mul(2)
                .saturating_add(DEADLINE_MARGIN),
        }
    }

    /// Has the kernel's notifications about the folders put among the tasks.
    pub(crate) fn notify(&mut self, tasks: Weak<Sender<Task>>) {
        let notified = self.watcher.notify(move |batch| {
            tasks
                .upgrade()
                .is_some_and(|tasks| tasks.send(Task::FilesChanged(batch)).is_ok())
        });
        if let Err(error) = notified {
            log::warn!("no notifications about the folders ({error}): they are polled only");
        }
    }

    /// Works until the service hangs up.
    pub(crate) fn run(mut self, tasks: &Receiver<Task>) {
        while self.turn(tasks).is_ok() {}
    }

    /// One task and one pair.
    fn turn(&mut self, tasks: &Receiver<Task>) -> Result<(), HungUp> {
        self.open_model()?;
        let scan = self.watcher.poll(Instant::now());
        self.take(scan)?;
        match tasks.recv_timeout(self.wait()) {
            Ok(Task::Ask(id, query)) => self.answer(id, query)?,
            Ok(Task::Preview(id, request)) => self.preview(id, request)?,
            Ok(Task::FilesChanged(batch)) => {
                let scan = self.watcher.on_notifications(batch, Instant::now());
                self.take(scan)?;
            }
            Ok(Task::ListNames) => {
                if let Some(names) = self.watcher.names() {
                    self.send(WorkerEvent::Names(names))?;
                }
            }
            Ok(Task::Forget(names)) => self.watcher.forget(&names),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(HungUp),
        }
        self.next_pair()
    }

    /// How long there is nothing to do unless a task comes.
    fn wait(&self) -> Duration {
        let due = match &self.analyzer {
            Some(_) if !self.pairs.is_empty() => return Duration::ZERO,
            Some(_) => self.watcher.next_due(),
            None => self
                .watcher
                .next_due()
                .into_iter()
                .chain([self.open_at])
                .min(),
        };
        due.map_or(MAX_WAIT, |due| {
            due.saturating_duration_since(Instant::now())
        })
    }

    fn send(&self, event: WorkerEvent) -> Result<(), HungUp> {
        self.events.send(event).map_err(|_| HungUp)
    }

    fn take(&mut self, scan: Scan) -> Result<(), HungUp> {
        self.pairs.extend(scan.ready);
        scan.folders
            .into_iter()
            .try_for_each(|event| self.send(WorkerEvent::Folder(event)))
    }

    fn open_model(&mut self) -> Result<(), HungUp> {
        if self.analyzer.is_some() || Instant::now() < self.open_at {
            return Ok(());
        }
        let opened = self.activity.run(MODEL_OPEN_TIMEOUT, || (self.open)());
        let event = match opened.unwrap_or_else(|| Err(AnalysisError::panicked())) {
            Ok(analyzer) => {
                let model = analyzer.model().to_owned();
                self.analyzer = Some(analyzer);
                WorkerEvent::ModelReady { model }
            }
            Err(error) => {
                self.open_at = Instant::now() + MODEL_RETRY_INTERVAL;
                WorkerEvent::ModelUnavailable(error)
            }
        };
        self.send(event)
    }

    /// A model that panicked may be in any state: it is opened anew.
    fn with_analyzer<T>(
        &mut self,
        job: impl FnOnce(&mut dyn Analyzer) -> Result<T, AnalysisError>,
    ) -> Option<Result<T, AnalysisError>> {
        let analyzer = self.analyzer.as_mut()?;
        let result = self
            .activity
            .run(self.job_timeout, || job(analyzer.as_mut()));
        Some(result.unwrap_or_else(|| {
            self.analyzer = None;
            Err(AnalysisError::panicked())
        }))
    }

    /// Analyses the pair that has waited longest.
    fn next_pair(&mut self) -> Result<(), HungUp> {
        if self.analyzer.is_none() {
            return Ok(());
        }
        let Some(pair) = self.pairs.pop_front() else {
            return Ok(());
        };
        let started = Instant::now();
        let result = match ambiguous(&pair) {
            Some(error) => Err(error),
            None => match self.with_analyzer(|analyzer| analyzer.detect(&pair)) {
                Some(result) => result,
                None => return Ok(()),
            },
        };
        self.send(WorkerEvent::PairAnalyzed {
            pair,
            result,
            elapsed: started.elapsed(),
        })
    }

    fn answer(&mut self, id: MessageId, query: Query) -> Result<(), HungUp> {
        let started = Instant::now();
        let result = self.try_answer(&query);
        self.send(WorkerEvent::QueryAnswered {
            id,
            query,
            result,
            elapsed: started.elapsed(),
        })
    }

    fn find(&self, query: u16, tile: u32) -> Result<PairFiles, RefusalReason> {
        self.watcher.find_tile(tile).map_err(|error| {
            log::warn!("query {query}: {error}");
            RefusalReason::UnknownTarget
        })
    }

    fn try_answer(&mut self, query: &Query) -> Result<Answer, RefusalReason> {
        let pair = self.find(query.id, query.tile)?;
        let history = match &query.prompt {
            Prompt::FollowUp { after, .. } => self
                .dialogues
                .history(*after, query.tile)
                .ok_or(RefusalReason::UnknownTarget)?,
            _ => Vec::new(),
        };
        let reply = self
            .with_analyzer(|analyzer| analyzer.ask(&pair, &query.prompt, &history))
            .ok_or(RefusalReason::Failed)?
            .map_err(|error| {
                log::warn!("query {} about {}: {error}", query.id, pair.name);
                RefusalReason::Failed
            })?;
        let model = self
            .analyzer
            .as_ref()
            .map_or("", |analyzer| analyzer.model());
        let source = Provenance {
            pair: reply.pair,
            model: short_hash(model.as_bytes()),
            prompt: short_hash(reply.turn.question.as_bytes()),
        };
        let mut turns = history;
        turns.push(reply.turn);
        self.dialogues.remember(query.id, query.tile, turns);
        Ok(Answer {
            query: query.id,
            source,
            body: reply.body,
        })
    }

    fn preview(&mut self, id: MessageId, request: PreviewRequest) -> Result<(), HungUp> {
        let result = self.find(request.id, request.tile).and_then(|pair| {
            let render = || preview::render_previews(&request, &pair, &self.decode);
            self.activity
                .run(self.job_timeout, render)
                .unwrap_or(Err(RefusalReason::Failed))
        });
        self.send(WorkerEvent::PreviewReady {
            id,
            request,
            result,
        })
    }
}

/// What is wrong with a pair of which one picture is several files.
fn ambiguous(pair: &PairFiles) -> Option<AnalysisError> {
    if pair.ambiguous.is_empty() {
        return None;
    }
    let names = pair.ambiguous.iter().filter_map(|path| path.file_name());
    let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
    let names = names.join(", ");
    Some(AnalysisError {
        reason: FaultReason::Unsupported,
        detail: format!("several files: {names}"),
        message: format!("{names} have the name of one picture; remove all but one"),
    })
}
