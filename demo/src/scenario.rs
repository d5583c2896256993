//! What happens in which order: pictures come in, contact is lost and found, the ground asks.

use crate::{
    board::{Board, BoardError},
    pairs::SamplePair,
    radio::{ChannelModel, Radio},
    run_log::{Exchange, PairLog, ReceivedMessage, RunLog},
    wire_size,
};
use deltavlm_ground::{Station, StationEvent, queries::PendingQuery, render};
use deltavlm_host::{HostEvent, OpenModel};
use deltavlm_messages::{Instruction, Message, Prompt, Query, QueryId, Text};
use deltavlm_node::{Address, SharedKey};
use std::{
    io,
    path::Path,
    time::{Duration, Instant},
};

/// The longest frame on the air.
const MTU: u8 = 128;
/// How long the ground hears nothing in the middle of the run.
const CONTACT_GAP: Duration = Duration::from_secs(6);
/// A pause between two pictures, as between two tiles of a pass.
const PICTURE_INTERVAL: Duration = Duration::from_millis(600);
/// An open question that the model was trained on.
const OPEN_QUESTION: &str = "Is there any new construction visible in the images?";
/// The second turn of the dialogue that the model was trained on; the first is `classify`.
const FOLLOW_UP: &str =
    "If changes have occurred, count the number of road and building changes separately.";

/// Why a run ended before its time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The board does not run.
    #[error(transparent)]
    Board(#[from] BoardError),
    /// The ground station does not run.
    #[error(transparent)]
    Station(#[from] deltavlm_ground::StationError),
    /// A question was not taken.
    #[error(transparent)]
    Ask(#[from] deltavlm_ground::station::AskError),
    /// The system gives no pseudo-terminals, or a file cannot be copied.
    #[error(transparent)]
    System(#[from] io::Error),
    /// The model cannot be opened.
    #[error("the model cannot be opened: see the message above")]
    Model,
    /// The on-board program ended by itself.
    #[error("the on-board program ended")]
    BoardEnded,
}

/// What the run tells while it goes on.
pub enum RunEvent<'a> {
    /// The model is open.
    Model(&'a str),
    /// A picture was taken.
    PicturesTaken(&'a str),
    /// A pair was looked at on board and nothing is worth an alert.
    NoChange(&'a str),
    /// A pair could not be used.
    Fault(&'a str, &'a str),
    /// An alert arrived for a pair.
    Alert(&'a str, &'a ReceivedMessage),
    /// The ground asks.
    Question(&'a str, &'a Exchange),
    /// An answer arrived.
    Answer(&'a str, &'a ReceivedMessage),
    /// Contact was lost or found.
    Contact(bool),
}

/// How a run is set up.
pub struct Plan<'a> {
    /// The pictures.
    pub pairs: Vec<SamplePair>,
    /// What the air is like.
    pub channel: ChannelModel,
    /// An empty folder for the two programs' files.
    pub folder: &'a Path,
    /// Ends the run, with what has arrived so far.
    pub deadline: Duration,
}

/// Runs both programs against each other.
///
/// # Errors
/// One of them cannot run.
pub fn run(
    plan: Plan<'_>,
    open: OpenModel,
    report_event: &mut dyn FnMut(Duration, RunEvent<'_>),
) -> Result<RunLog, RunError> {
    let key = SharedKey::generate(1)?;
    let radio = Radio::start(plan.channel)?;
    let baud = plan.channel.baud;
    let board = Board::start(&plan.folder.join("board"), &radio.board, baud, &key, open)?;
    let station = Station::start(deltavlm_ground::StationConfig {
        address: Address::Serial {
            path: radio.ground.clone(),
            baud,
        },
        key: Some(key.clone()),
        state: plan.folder.join("ground"),
        mtu: MTU,
        rate: None,
        probe: Duration::from_secs(2),
        link: deltavlm_node::LinkSettings::default(),
    })?;
    let mut scenario = Scenario {
        pair_logs: plan.pairs.into_iter().map(PairLog::new).collect(),
        model: String::new(),
        key,
        radio,
        board,
        station,
        open: Vec::new(),
        analyzed: 0,
        decided_alerts: 0,
        deadline: plan.deadline,
        report_event,
    };
    scenario.wait_for_model()?;
    let gap = scenario.take_pictures()?;
    scenario.ask_questions()?;
    scenario.wait(Duration::from_secs(20), |scenario| scenario.open.is_empty())?;
    // Both ends get to acknowledge what they have.
    scenario.wait(Duration::from_secs(2), |scenario| {
        scenario.station.waiting() == 0
    })?;
    scenario.end(plan.channel, gap)
}

/// The number of the tile in that place; the user's file names may be anything.
fn tile_of(place: usize) -> u32 {
    u32::try_from(place + 1).unwrap_or(u32::MAX)
}

struct Scenario<'a> {
    pair_logs: Vec<PairLog>,
    model: String,
    key: SharedKey,
    radio: Radio,
    board: Board,
    station: Station,
    /// Queries without an answer: id, chapter, place among its exchanges.
    open: Vec<(QueryId, usize, usize)>,
    analyzed: usize,
    /// Alerts that the board has decided on.
    decided_alerts: usize,
    deadline: Duration,
    report_event: &'a mut dyn FnMut(Duration, RunEvent<'_>),
}

impl PairLog {
    fn new(pair: SamplePair) -> Self {
        Self {
            pair,
            analyzed: None,
            error: None,
            alert: None,
            exchanges: Vec::new(),
        }
    }
}

impl Scenario<'_> {
    fn wait_for_model(&mut self) -> Result<(), RunError> {
        let is_open = |scenario: &Self| !scenario.model.is_empty();
        if self.wait(self.deadline, is_open)? {
            Ok(())
        } else {
            Err(RunError::Model)
        }
    }

    /// Photographs every pair; contact is lost from the third on and found again at the end.
    fn take_pictures(&mut self) -> Result<Option<(Duration, Duration)>, RunError> {
        let lost_at = (self.pair_logs.len() / 3).min(2);
        let mut lost = None;
        for place in 0..self.pair_logs.len() {
            if place == lost_at {
                lost = Some(self.radio.elapsed());
                self.radio.set_contact(false);
                (self.report_event)(self.radio.elapsed(), RunEvent::Contact(false));
            }
            let pair = self.pair_logs[place].pair.clone();
            self.board.deliver_pair(tile_of(place), &pair)?;
            (self.report_event)(self.radio.elapsed(), RunEvent::PicturesTaken(&pair.name));
            self.wait(PICTURE_INTERVAL, |_| false)?;
        }
        let all = self.pair_logs.len();
        self.wait(Duration::from_secs(15), |scenario| scenario.analyzed == all)?;
        let start = lost.unwrap_or_default();
        let rest = (start + CONTACT_GAP).saturating_sub(self.radio.elapsed());
        self.wait(rest, |_| false)?;
        self.radio.set_contact(true);
        let found = self.radio.elapsed();
        (self.report_event)(found, RunEvent::Contact(true));
        self.wait(Duration::from_secs(15), |scenario| {
            let arrived = scenario
                .pair_logs
                .iter()
                .filter(|pair_log| pair_log.alert.is_some())
                .count();
            arrived >= scenario.decided_alerts
        })?;
        Ok(lost.map(|lost| (lost, found)))
    }

    /// Every instruction about the pair with the most changes, a survey of each other one.
    fn ask_questions(&mut self) -> Result<(), RunError> {
        let weight = |pair_log: &PairLog| match pair_log.alert.as_ref().map(|alert| &alert.message)
        {
            Some(Message::Alert(alert)) => 1 + u32::from(alert.roads) + u32::from(alert.buildings),
            _ => 0,
        };
        let Some(main) =
            (0..self.pair_logs.len()).max_by_key(|&place| weight(&self.pair_logs[place]))
        else {
            return Ok(());
        };
        let classified = self.ask(main, "classify", Instruction::Classify, None)?;
        self.ask(main, "count", Instruction::Count, None)?;
        self.ask(main, "localize", Instruction::Localize, None)?;
        self.ask(main, "caption", Instruction::Caption, None)?;
        let text = Text::truncated(OPEN_QUESTION);
        self.ask(main, "question", Prompt::Open(text), Some(OPEN_QUESTION))?;
        // A follow-up needs the answer that it follows; on a lossy radio order is not given.
        self.wait(Duration::from_secs(15), |scenario| {
            scenario.open.iter().all(|(id, ..)| *id != classified)
        })?;
        let follow_up = Prompt::FollowUp {
            after: classified,
            text: Text::truncated(FOLLOW_UP),
        };
        self.ask(main, "question", follow_up, Some(FOLLOW_UP))?;
        for place in (0..self.pair_logs.len()).filter(|&place| place != main) {
            self.ask(place, "survey", Instruction::Survey, None)?;
            // A patient ground: no more than the board takes at once.
            self.wait(Duration::from_secs(10), |scenario| scenario.open.len() < 8)?;
        }
        Ok(())
    }

    fn ask(
        &mut self,
        pair_log: usize,
        name: &str,
        prompt: impl Into<Prompt>,
        question: Option<&str>,
    ) -> Result<QueryId, RunError> {
        let pair = self.pair_logs[pair_log].pair.name.clone();
        let tile = tile_of(pair_log);
        let prompt = prompt.into();
        let pending = PendingQuery {
            tile: pair.clone(),
            instruction: name.to_owned(),
            question: question.map(ToOwned::to_owned),
            follow_up: matches!(prompt, Prompt::FollowUp { .. }),
        };
        let id = self.station.ask(tile, prompt.clone(), pending.clone())?;
        let message = Message::Query(Query { id, tile, prompt });
        let exchange = Exchange {
            pending,
            at: self.radio.elapsed(),
            question_bytes: wire_size::wire_size(&message, MTU, &self.key).unwrap_or(0),
            answer: None,
        };
        (self.report_event)(self.radio.elapsed(), RunEvent::Question(&pair, &exchange));
        let exchanges = &mut self.pair_logs[pair_log].exchanges;
        self.open.push((id, pair_log, exchanges.len()));
        exchanges.push(exchange);
        Ok(id)
    }

    /// Runs the ground until `is_over`; false when time runs out first.
    fn wait(
        &mut self,
        timeout: Duration,
        is_over: impl Fn(&Self) -> bool,
    ) -> Result<bool, RunError> {
        let start = Instant::now();
        loop {
            if is_over(self) {
                return Ok(true);
            }
            if start.elapsed() >= timeout || self.radio.elapsed() >= self.deadline {
                return Ok(false);
            }
            for event in self.station.step(Duration::from_millis(20)) {
                self.on_ground(event);
            }
            while let Ok(event) = self.board.events.try_recv() {
                self.on_board(event)?;
            }
            if !self.board.is_running() {
                return Err(RunError::BoardEnded);
            }
        }
    }

    fn on_board(&mut self, event: HostEvent) -> Result<(), RunError> {
        match event {
            HostEvent::ModelReady { model } => {
                (self.report_event)(self.radio.elapsed(), RunEvent::Model(&model));
                self.model = model;
            }
            HostEvent::ModelUnavailable { error } => {
                eprintln!("error: {error}");
                return Err(RunError::Model);
            }
            HostEvent::PairAnalyzed {
                name,
                alert,
                error,
                elapsed,
            } => {
                self.analyzed += 1;
                self.decided_alerts += usize::from(alert.is_some());
                let place = name
                    .parse::<usize>()
                    .map_or(usize::MAX, |tile| tile.wrapping_sub(1));
                let Some(pair_log) = self.pair_logs.get_mut(place) else {
                    return Ok(());
                };
                if let Some(error) = &error {
                    let event = RunEvent::Fault(&pair_log.pair.name, &error.message);
                    (self.report_event)(self.radio.elapsed(), event);
                } else if alert.is_none() {
                    (self.report_event)(
                        self.radio.elapsed(),
                        RunEvent::NoChange(&pair_log.pair.name),
                    );
                }
                pair_log.analyzed = Some(elapsed);
                pair_log.error = error.map(|error| error.message);
            }
            _ => {}
        }
        Ok(())
    }

    fn on_ground(&mut self, event: StationEvent) {
        let StationEvent::Recorded {
            message, pending, ..
        } = event
        else {
            return;
        };
        let received = ReceivedMessage {
            at: self.radio.elapsed(),
            wire_bytes: wire_size::wire_size(&message, MTU, &self.key).unwrap_or(0),
            json: render::message_json(&message, pending.as_ref()),
            message,
        };
        let at = self.radio.elapsed();
        match &received.message {
            Message::Alert(alert) => {
                let place = (alert.tile as usize).wrapping_sub(1);
                if let Some(pair_log) = self.pair_logs.get_mut(place) {
                    (self.report_event)(at, RunEvent::Alert(&pair_log.pair.name, &received));
                    pair_log.alert = Some(received);
                }
            }
            Message::Answer(answer) => self.on_answer(answer.query, received),
            Message::Refusal(refusal) => self.on_answer(refusal.query, received),
            _ => {}
        }
    }

    fn on_answer(&mut self, query: QueryId, received: ReceivedMessage) {
        let Some(place) = self.open.iter().position(|(id, ..)| *id == query) else {
            return;
        };
        let (_, pair_log, exchange) = self.open.remove(place);
        let pair_log = &mut self.pair_logs[pair_log];
        (self.report_event)(
            self.radio.elapsed(),
            RunEvent::Answer(&pair_log.pair.name, &received),
        );
        pair_log.exchanges[exchange].answer = Some(received);
    }

    fn end(
        self,
        channel: ChannelModel,
        gap: Option<(Duration, Duration)>,
    ) -> Result<RunLog, RunError> {
        let ended = self.radio.elapsed();
        let board = self.board.stop().ok_or(RunError::BoardEnded)?;
        Ok(RunLog {
            model: self.model,
            channel,
            pair_logs: self.pair_logs,
            frames: self.radio.log(),
            gap,
            ended,
            board,
            ground: self.station.counters(),
            duplicates: self.station.duplicates(),
            decided: self.decided_alerts,
        })
    }
}
