//! The thread that owns the folders and the model.
//!
//! Questions from the ground and new pairs take turns, so neither can starve the other.

use crate::{
    analyst::{Analyst, Finding, Question, Trouble, pair_hash},
    chips,
    config::WatchConfig,
    dialogue::Dialogues,
    pair::{PairFiles, Stamp},
    watch::Watcher,
};
use deltavlm_imaging::DecodeOptions;
use deltavlm_link::{
    MessageId,
    message::{Answer, Chip, ChipRequest, Instruction, Query, RefusalReason, Source, short_hash},
};
use std::{
    collections::{HashMap, VecDeque},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender},
    time::{Duration, Instant},
};

/// A model that cannot be opened is tried again after this long: its files may be replaced.
const REOPEN_AFTER: Duration = Duration::from_secs(60);

/// Opens the model; called again when it failed.
pub type OpenAnalyst = Box<dyn FnMut() -> Result<Box<dyn Analyst>, Trouble> + Send>;

/// What the service wants done. The id is that of the message it came in.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a handful are alive at a time")]
pub(crate) enum Task {
    Ask(MessageId, Query),
    Chip(MessageId, ChipRequest),
}

/// What the worker has done.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a handful are alive at a time")]
pub(crate) enum Report {
    /// The model is open, under this name.
    Ready { model: String },
    /// The model cannot be opened.
    Broken(Trouble),
    /// A new pair was looked at.
    Looked {
        pair: PairFiles,
        hash: u16,
        result: Result<Finding, Trouble>,
        took: Duration,
    },
    /// A question was answered or refused.
    Answered {
        id: MessageId,
        query: Query,
        result: Result<Answer, RefusalReason>,
        took: Duration,
    },
    /// A picture was cut into parts.
    Chipped {
        id: MessageId,
        request: ChipRequest,
        result: Result<Vec<Chip>, RefusalReason>,
    },
}

/// The worker's state; [`run`](Worker::run) is its thread.
pub(crate) struct Worker {
    open: OpenAnalyst,
    analyst: Option<Box<dyn Analyst>>,
    open_at: Instant,
    watcher: Watcher,
    poll: Duration,
    scan_at: Instant,
    pairs: VecDeque<PairFiles>,
    dialogues: Dialogues,
    reports: Sender<Report>,
    decode: DecodeOptions,
}

impl Worker {
    pub(crate) fn new(
        open: OpenAnalyst,
        config: WatchConfig,
        done: HashMap<String, Stamp>,
        reports: Sender<Report>,
        decode: DecodeOptions,
    ) -> Self {
        let now = Instant::now();
        Self {
            open,
            analyst: None,
            open_at: now,
            poll: config.poll,
            watcher: Watcher::new(config, done),
            scan_at: now,
            pairs: VecDeque::new(),
            dialogues: Dialogues::default(),
            reports,
            decode,
        }
    }

    /// Works until the service hangs up.
    pub(crate) fn run(mut self, tasks: &Receiver<Task>) {
        loop {
            self.open_model();
            let wait = if self.pairs.is_empty() || self.analyst.is_none() {
                self.scan_at
                    .saturating_duration_since(Instant::now())
                    .min(self.poll)
            } else {
                Duration::ZERO
            };
            let still_there = match tasks.recv_timeout(wait) {
                Ok(Task::Ask(id, query)) => self.answer(id, query),
                Ok(Task::Chip(id, request)) => self.cut(id, request),
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => false,
            };
            if !still_there || !self.next_pair() {
                return;
            }
        }
    }

    fn open_model(&mut self) {
        if self.analyst.is_some() || Instant::now() < self.open_at {
            return;
        }
        let report = match (self.open)() {
            Ok(analyst) => {
                let model = analyst.model().to_owned();
                self.analyst = Some(analyst);
                Report::Ready { model }
            }
            Err(trouble) => {
                self.open_at = Instant::now() + REOPEN_AFTER;
                Report::Broken(trouble)
            }
        };
        // A service that is gone is noticed in the loop.
        let _ = self.reports.send(report);
    }

    /// Looks for new pairs when it is time to, and at one of them. False when nobody listens.
    fn next_pair(&mut self) -> bool {
        let now = Instant::now();
        if now >= self.scan_at {
            self.pairs.extend(self.watcher.scan(now));
            self.scan_at = now + self.poll;
        }
        let Some(analyst) = &mut self.analyst else {
            return true;
        };
        let Some(pair) = self.pairs.pop_front() else {
            return true;
        };
        let started = Instant::now();
        let hash = pair_hash(&pair);
        let result = analyst.look(&pair);
        self.reports
            .send(Report::Looked {
                pair,
                hash,
                result,
                took: started.elapsed(),
            })
            .is_ok()
    }

    fn answer(&mut self, id: MessageId, query: Query) -> bool {
        let started = Instant::now();
        let result = self.try_answer(&query);
        self.reports
            .send(Report::Answered {
                id,
                query,
                result,
                took: started.elapsed(),
            })
            .is_ok()
    }

    fn try_answer(&mut self, query: &Query) -> Result<Answer, RefusalReason> {
        let analyst = self.analyst.as_mut().ok_or(RefusalReason::Failed)?;
        let pair = self
            .watcher
            .find(query.tile)
            .ok_or(RefusalReason::UnknownTarget)?;
        let history = match &query.instruction {
            Instruction::FollowUp { after, .. } => self
                .dialogues
                .history(*after, query.tile)
                .ok_or(RefusalReason::UnknownTarget)?,
            _ => Vec::new(),
        };
        let question = question(&query.instruction, &history).ok_or(RefusalReason::Unsupported)?;
        let reply = analyst.ask(&pair, &question).map_err(|trouble| {
            log::warn!("query {} about {}: {trouble}", query.id, pair.name);
            RefusalReason::Failed
        })?;
        let mut turns = history;
        turns.push((reply.prompt.clone(), reply.text.clone()));
        self.dialogues.remember(query.id, query.tile, turns);
        let source = Source {
            pair: pair_hash(&pair),
            model: short_hash(analyst.model().as_bytes()),
            prompt: short_hash(reply.prompt.as_bytes()),
        };
        Ok(Answer {
            query: query.id,
            source,
            body: reply.body,
        })
    }

    fn cut(&mut self, id: MessageId, request: ChipRequest) -> bool {
        let pair = self
            .watcher
            .find(request.tile)
            .ok_or(RefusalReason::UnknownTarget);
        let result = pair.and_then(|pair| chips::chips(&request, &pair, &self.decode));
        self.reports
            .send(Report::Chipped {
                id,
                request,
                result,
            })
            .is_ok()
    }
}

fn question(instruction: &Instruction, history: &[(String, String)]) -> Option<Question> {
    Some(match instruction {
        Instruction::Classify => Question::Classify,
        Instruction::Count => Question::Count,
        Instruction::Localize => Question::Localize,
        Instruction::Caption => Question::Caption,
        Instruction::Survey => Question::Survey,
        Instruction::Open(text) | Instruction::FollowUp { text, .. } => Question::Text {
            history: history.to_vec(),
            text: text.as_str().to_owned(),
        },
        _ => return None,
    })
}
