//! What happens in which order: pictures come in, contact is lost and found, the ground asks.

use crate::{
    board::{Board, BoardError},
    pairs::SamplePair,
    radio::{Radio, Weather},
    scale,
    story::{Arrival, Chapter, Exchange, Story},
};
use deltavlm_carrier::{Address, SharedKey};
use deltavlm_ground::{Station, StationEvent, queries::PendingQuery, render};
use deltavlm_host::{HostEvent, OpenModel};
use deltavlm_link::{
    message::{Instruction, Message, Query, QueryId},
    text::Text,
};
use std::{
    io,
    path::Path,
    time::{Duration, Instant},
};

/// The longest frame on the air.
const MTU: u8 = 128;
/// How long the ground hears nothing in the middle of the run.
const GAP: Duration = Duration::from_secs(6);
/// A pause between two pictures, as between two tiles of a pass.
const BETWEEN_PICTURES: Duration = Duration::from_millis(600);
/// An open question that the model was trained on.
const OPEN_QUESTION: &str = "Is there any new construction visible in the images?";
/// The second turn of the dialogue that the model was trained on; the first is `classify`.
const FOLLOW_UP: &str =
    "If changes have occurred, count the number of road and building changes separately.";

/// Why a run ended before its time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MissionError {
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
pub enum News<'a> {
    /// The model is open.
    Model(&'a str),
    /// A picture was taken.
    Photographed(&'a str),
    /// A pair was looked at on board and nothing is worth an alert.
    Quiet(&'a str),
    /// A pair could not be used.
    Fault(&'a str, &'a str),
    /// An alert arrived for a pair.
    Alert(&'a str, &'a Arrival),
    /// The ground asks.
    Question(&'a str, &'a Exchange),
    /// An answer arrived.
    Answer(&'a str, &'a Arrival),
    /// Contact was lost or found.
    Contact(bool),
}

/// How a run is set up.
pub struct Plan<'a> {
    /// The pictures.
    pub pairs: Vec<SamplePair>,
    /// What the air is like.
    pub weather: Weather,
    /// An empty folder for the two programs' files.
    pub folder: &'a Path,
    /// Ends the run, with what has arrived so far.
    pub deadline: Duration,
}

/// Runs both programs against each other.
///
/// # Errors
/// One of them cannot run.
pub fn fly(
    plan: Plan<'_>,
    open: OpenModel,
    tell: &mut dyn FnMut(Duration, News<'_>),
) -> Result<Story, MissionError> {
    let key = SharedKey::draw(1)?;
    let radio = Radio::start(plan.weather)?;
    let baud = plan.weather.baud;
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
    })?;
    let mut mission = Mission {
        chapters: plan.pairs.into_iter().map(Chapter::new).collect(),
        model: String::new(),
        key,
        radio,
        board,
        station,
        open: Vec::new(),
        looked: 0,
        told_alerts: 0,
        deadline: plan.deadline,
        tell,
    };
    mission.wait_for_model()?;
    let gap = mission.take_pictures()?;
    mission.ask_questions()?;
    mission.wait(Duration::from_secs(20), |mission| mission.open.is_empty())?;
    // Both ends get to acknowledge what they have.
    mission.wait(Duration::from_secs(2), |mission| {
        mission.station.waiting() == 0
    })?;
    mission.end(plan.weather, gap)
}

/// The number of the tile in that place; the user's file names may be anything.
fn tile_of(place: usize) -> u32 {
    u32::try_from(place + 1).unwrap_or(u32::MAX)
}

struct Mission<'a> {
    chapters: Vec<Chapter>,
    model: String,
    key: SharedKey,
    radio: Radio,
    board: Board,
    station: Station,
    /// Queries without an answer: id, chapter, place among its exchanges.
    open: Vec<(QueryId, usize, usize)>,
    looked: usize,
    /// Alerts that the board has decided on.
    told_alerts: usize,
    deadline: Duration,
    tell: &'a mut dyn FnMut(Duration, News<'_>),
}

impl Chapter {
    fn new(pair: SamplePair) -> Self {
        Self {
            pair,
            looked: None,
            error: None,
            alert: None,
            exchanges: Vec::new(),
        }
    }
}

impl Mission<'_> {
    fn wait_for_model(&mut self) -> Result<(), MissionError> {
        let is_open = |mission: &Self| !mission.model.is_empty();
        if self.wait(self.deadline, is_open)? {
            Ok(())
        } else {
            Err(MissionError::Model)
        }
    }

    /// Photographs every pair; contact is lost from the third on and found again at the end.
    fn take_pictures(&mut self) -> Result<Option<(Duration, Duration)>, MissionError> {
        let lost_at = (self.chapters.len() / 3).min(2);
        let mut lost = None;
        for place in 0..self.chapters.len() {
            if place == lost_at {
                lost = Some(self.radio.elapsed());
                self.radio.set_contact(false);
                (self.tell)(self.radio.elapsed(), News::Contact(false));
            }
            let pair = self.chapters[place].pair.clone();
            self.board.photograph(tile_of(place), &pair)?;
            (self.tell)(self.radio.elapsed(), News::Photographed(&pair.name));
            self.wait(BETWEEN_PICTURES, |_| false)?;
        }
        let all = self.chapters.len();
        self.wait(Duration::from_secs(15), |mission| mission.looked == all)?;
        let start = lost.unwrap_or_default();
        let rest = (start + GAP).saturating_sub(self.radio.elapsed());
        self.wait(rest, |_| false)?;
        self.radio.set_contact(true);
        let found = self.radio.elapsed();
        (self.tell)(found, News::Contact(true));
        self.wait(Duration::from_secs(15), |mission| {
            let arrived = mission
                .chapters
                .iter()
                .filter(|chapter| chapter.alert.is_some())
                .count();
            arrived >= mission.told_alerts
        })?;
        Ok(lost.map(|lost| (lost, found)))
    }

    /// Every instruction about the pair with the most changes, a survey of each other one.
    fn ask_questions(&mut self) -> Result<(), MissionError> {
        let weight = |chapter: &Chapter| match chapter.alert.as_ref().map(|alert| &alert.message) {
            Some(Message::Alert(alert)) => 1 + u32::from(alert.roads) + u32::from(alert.buildings),
            _ => 0,
        };
        let Some(main) =
            (0..self.chapters.len()).max_by_key(|&place| weight(&self.chapters[place]))
        else {
            return Ok(());
        };
        let classified = self.ask(main, "classify", Instruction::Classify, None)?;
        self.ask(main, "count", Instruction::Count, None)?;
        self.ask(main, "localize", Instruction::Localize, None)?;
        self.ask(main, "caption", Instruction::Caption, None)?;
        let text = Text::truncated(OPEN_QUESTION);
        self.ask(
            main,
            "question",
            Instruction::Open(text),
            Some(OPEN_QUESTION),
        )?;
        // A follow-up needs the answer that it follows; on a lossy radio order is not given.
        self.wait(Duration::from_secs(15), |mission| {
            mission.open.iter().all(|(id, ..)| *id != classified)
        })?;
        let follow_up = Instruction::FollowUp {
            after: classified,
            text: Text::truncated(FOLLOW_UP),
        };
        self.ask(main, "question", follow_up, Some(FOLLOW_UP))?;
        for place in (0..self.chapters.len()).filter(|&place| place != main) {
            self.ask(place, "survey", Instruction::Survey, None)?;
            // A patient ground: no more than the board takes at once.
            self.wait(Duration::from_secs(10), |mission| mission.open.len() < 8)?;
        }
        Ok(())
    }

    fn ask(
        &mut self,
        chapter: usize,
        name: &str,
        instruction: Instruction,
        question: Option<&str>,
    ) -> Result<QueryId, MissionError> {
        let pair = self.chapters[chapter].pair.name.clone();
        let tile = tile_of(chapter);
        let pending = PendingQuery {
            tile: pair.clone(),
            instruction: name.to_owned(),
            question: question.map(ToOwned::to_owned),
            follow_up: matches!(instruction, Instruction::FollowUp { .. }),
        };
        let id = self
            .station
            .ask(tile, instruction.clone(), pending.clone())?;
        let message = Message::Query(Query {
            id,
            tile,
            instruction,
        });
        let exchange = Exchange {
            pending,
            at: self.radio.elapsed(),
            question_bytes: scale::weigh(&message, MTU, &self.key).unwrap_or(0),
            answer: None,
        };
        (self.tell)(self.radio.elapsed(), News::Question(&pair, &exchange));
        let exchanges = &mut self.chapters[chapter].exchanges;
        self.open.push((id, chapter, exchanges.len()));
        exchanges.push(exchange);
        Ok(id)
    }

    /// Runs the ground until `is_over`; false when time runs out first.
    fn wait(
        &mut self,
        timeout: Duration,
        is_over: impl Fn(&Self) -> bool,
    ) -> Result<bool, MissionError> {
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
                return Err(MissionError::BoardEnded);
            }
        }
    }

    fn on_board(&mut self, event: HostEvent) -> Result<(), MissionError> {
        match event {
            HostEvent::ModelReady { model } => {
                (self.tell)(self.radio.elapsed(), News::Model(&model));
                self.model = model;
            }
            HostEvent::ModelUnavailable { error } => {
                eprintln!("error: {error}");
                return Err(MissionError::Model);
            }
            HostEvent::PairAnalyzed {
                name,
                alert,
                error,
                took,
            } => {
                self.looked += 1;
                self.told_alerts += usize::from(alert.is_some());
                let place = name
                    .parse::<usize>()
                    .map_or(usize::MAX, |tile| tile.wrapping_sub(1));
                let Some(chapter) = self.chapters.get_mut(place) else {
                    return Ok(());
                };
                if let Some(error) = &error {
                    let news = News::Fault(&chapter.pair.name, &error.message);
                    (self.tell)(self.radio.elapsed(), news);
                } else if alert.is_none() {
                    (self.tell)(self.radio.elapsed(), News::Quiet(&chapter.pair.name));
                }
                chapter.looked = Some(took);
                chapter.error = error.map(|error| error.message);
            }
            _ => {}
        }
        Ok(())
    }

    fn on_ground(&mut self, event: StationEvent) {
        let StationEvent::Recorded { message, pending } = event else {
            return;
        };
        let arrival = Arrival {
            at: self.radio.elapsed(),
            wire_bytes: scale::weigh(&message, MTU, &self.key).unwrap_or(0),
            json: render::message_json(&message, pending.as_ref()),
            message,
        };
        let at = self.radio.elapsed();
        match &arrival.message {
            Message::Alert(alert) => {
                let place = (alert.tile as usize).wrapping_sub(1);
                if let Some(chapter) = self.chapters.get_mut(place) {
                    (self.tell)(at, News::Alert(&chapter.pair.name, &arrival));
                    chapter.alert = Some(arrival);
                }
            }
            Message::Answer(answer) => self.on_answer(answer.query, arrival),
            Message::Refusal(refusal) => self.on_answer(refusal.query, arrival),
            _ => {}
        }
    }

    fn on_answer(&mut self, query: QueryId, arrival: Arrival) {
        let Some(place) = self.open.iter().position(|(id, ..)| *id == query) else {
            return;
        };
        let (_, chapter, exchange) = self.open.remove(place);
        let chapter = &mut self.chapters[chapter];
        (self.tell)(
            self.radio.elapsed(),
            News::Answer(&chapter.pair.name, &arrival),
        );
        chapter.exchanges[exchange].answer = Some(arrival);
    }

    fn end(
        self,
        weather: Weather,
        gap: Option<(Duration, Duration)>,
    ) -> Result<Story, MissionError> {
        let ended = self.radio.elapsed();
        let board = self.board.stop().ok_or(MissionError::BoardEnded)?;
        Ok(Story {
            model: self.model,
            weather,
            chapters: self.chapters,
            air: self.radio.log(),
            gap,
            ended,
            board,
            ground: self.station.counters(),
            duplicates: self.station.duplicates(),
            decided: self.told_alerts,
        })
    }
}
