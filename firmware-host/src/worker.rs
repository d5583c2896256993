//! The thread that owns the folders and the model.
//!
//! Questions from the ground and new pairs take turns, so neither can starve the other.

use crate::{
    analyzer::{AnalysisError, Analyzer, Detection, Question, pair_hash},
    config::WatchConfig,
    dialogue::Dialogues,
    pair_files::{PairFiles, PairVersion},
    preview,
    watch::Watcher,
};
use deltavlm_imaging::DecodeOptions;
use deltavlm_link::MessageId;
use deltavlm_messages::{
    Answer, PreviewPart, PreviewRequest, Prompt, Provenance, Query, RefusalReason, short_hash,
};
use std::{
    collections::{HashMap, VecDeque},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender},
    time::{Duration, Instant},
};

/// A model that cannot be opened is tried again after this long: its files may be replaced.
const MODEL_RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// Opens the model; called again when it failed.
pub type OpenModel = Box<dyn FnMut() -> Result<Box<dyn Analyzer>, AnalysisError> + Send>;

/// What the service wants done. The id is that of the message it came in.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a handful are alive at a time")]
pub(crate) enum Task {
    Ask(MessageId, Query),
    Preview(MessageId, PreviewRequest),
}

/// What the worker has done.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a handful are alive at a time")]
pub(crate) enum WorkerEvent {
    /// The model is open, under this name.
    ModelReady { model: String },
    /// The model cannot be opened.
    ModelUnavailable(AnalysisError),
    /// A new pair was looked at.
    PairAnalyzed {
        pair: PairFiles,
        hash: u16,
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
    /// A picture was cut into parts.
    PreviewReady {
        id: MessageId,
        request: PreviewRequest,
        result: Result<Vec<PreviewPart>, RefusalReason>,
    },
}

/// The worker's state; [`run`](Worker::run) is its thread.
pub(crate) struct Worker {
    open: OpenModel,
    analyzer: Option<Box<dyn Analyzer>>,
    open_at: Instant,
    watcher: Watcher,
    poll: Duration,
    scan_at: Instant,
    pairs: VecDeque<PairFiles>,
    dialogues: Dialogues,
    events: Sender<WorkerEvent>,
    decode: DecodeOptions,
}

impl Worker {
    pub(crate) fn new(
        open: OpenModel,
        config: WatchConfig,
        done: HashMap<String, PairVersion>,
        events: Sender<WorkerEvent>,
        decode: DecodeOptions,
    ) -> Self {
        let now = Instant::now();
        Self {
            open,
            analyzer: None,
            open_at: now,
            poll: config.poll,
            watcher: Watcher::new(config, done),
            scan_at: now,
            pairs: VecDeque::new(),
            dialogues: Dialogues::default(),
            events,
            decode,
        }
    }

    /// Works until the service hangs up.
    pub(crate) fn run(mut self, tasks: &Receiver<Task>) {
        loop {
            self.open_model();
            let wait = if self.pairs.is_empty() || self.analyzer.is_none() {
                self.scan_at
                    .saturating_duration_since(Instant::now())
                    .min(self.poll)
            } else {
                Duration::ZERO
            };
            let still_there = match tasks.recv_timeout(wait) {
                Ok(Task::Ask(id, query)) => self.answer(id, query),
                Ok(Task::Preview(id, request)) => self.render_preview(id, request),
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => false,
            };
            if !still_there || !self.next_pair() {
                return;
            }
        }
    }

    fn open_model(&mut self) {
        if self.analyzer.is_some() || Instant::now() < self.open_at {
            return;
        }
        let event = match (self.open)() {
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
        // A service that is gone is noticed in the loop.
        let _ = self.events.send(event);
    }

    /// Looks for new pairs when it is time to, and at one of them. False when nobody listens.
    fn next_pair(&mut self) -> bool {
        let now = Instant::now();
        if now >= self.scan_at {
            self.pairs.extend(self.watcher.scan(now));
            self.scan_at = now + self.poll;
        }
        let Some(analyzer) = &mut self.analyzer else {
            return true;
        };
        let Some(pair) = self.pairs.pop_front() else {
            return true;
        };
        let started = Instant::now();
        let hash = pair_hash(&pair);
        let result = analyzer.detect(&pair);
        self.events
            .send(WorkerEvent::PairAnalyzed {
                pair,
                hash,
                result,
                elapsed: started.elapsed(),
            })
            .is_ok()
    }

    fn answer(&mut self, id: MessageId, query: Query) -> bool {
        let started = Instant::now();
        let result = self.try_answer(&query);
        self.events
            .send(WorkerEvent::QueryAnswered {
                id,
                query,
                result,
                elapsed: started.elapsed(),
            })
            .is_ok()
    }

    fn try_answer(&mut self, query: &Query) -> Result<Answer, RefusalReason> {
        let analyzer = self.analyzer.as_mut().ok_or(RefusalReason::Failed)?;
        let pair = self
            .watcher
            .find_tile(query.tile)
            .ok_or(RefusalReason::UnknownTarget)?;
        let history = match &query.prompt {
            Prompt::FollowUp { after, .. } => self
                .dialogues
                .history(*after, query.tile)
                .ok_or(RefusalReason::UnknownTarget)?,
            _ => Vec::new(),
        };
        let question = question(&query.prompt, &history).ok_or(RefusalReason::Unsupported)?;
        let reply = analyzer.ask(&pair, &question).map_err(|error| {
            log::warn!("query {} about {}: {error}", query.id, pair.name);
            RefusalReason::Failed
        })?;
        let mut turns = history;
        turns.push((reply.prompt.clone(), reply.text.clone()));
        self.dialogues.remember(query.id, query.tile, turns);
        let source = Provenance {
            pair: pair_hash(&pair),
            model: short_hash(analyzer.model().as_bytes()),
            prompt: short_hash(reply.prompt.as_bytes()),
        };
        Ok(Answer {
            query: query.id,
            source,
            body: reply.body,
        })
    }

    fn render_preview(&mut self, id: MessageId, request: PreviewRequest) -> bool {
        let pair = self
            .watcher
            .find_tile(request.tile)
            .ok_or(RefusalReason::UnknownTarget);
        let result = pair.and_then(|pair| preview::render_previews(&request, &pair, &self.decode));
        self.events
            .send(WorkerEvent::PreviewReady {
                id,
                request,
                result,
            })
            .is_ok()
    }
}

fn question(prompt: &Prompt, history: &[(String, String)]) -> Option<Question> {
    Some(match prompt {
        Prompt::Fixed(instruction) => Question::Fixed(*instruction),
        Prompt::Open(text) | Prompt::FollowUp { text, .. } => Question::Text {
            history: history.to_vec(),
            text: text.as_str().to_owned(),
        },
        _ => return None,
    })
}
