//! What happened in a run, as the report tells it.

use crate::{
    pairs::SamplePair,
    radio::{Direction, Fate, Sent, Weather},
};
use deltavlm_ground::{queries::PendingQuery, render};
use deltavlm_link::{Counters, message::Message};
use serde_json::Value;
use std::time::Duration;

/// A whole run.
pub struct Story {
    /// The model that answered.
    pub model: String,
    /// What the air was like.
    pub weather: Weather,
    /// The pairs, in the order in which they were photographed.
    pub chapters: Vec<Chapter>,
    /// Everything that was on the air.
    pub air: Vec<Sent>,
    /// When there was no contact, since the radio was switched on.
    pub gap: Option<(Duration, Duration)>,
    /// When the run ended.
    pub ended: Duration,
    /// The board's link counters.
    pub board: Counters,
    /// The ground's link counters.
    pub ground: Counters,
    /// Alerts that reached the ground a second time and were not shown again.
    pub duplicates: u32,
    /// Alerts that the board decided on.
    pub decided: usize,
}

/// One pair and what was said about it.
pub struct Chapter {
    /// The pictures.
    pub pair: SamplePair,
    /// Time from file to finding on board.
    pub looked: Option<Duration>,
    /// Why the pair could not be used, where it could not.
    pub error: Option<String>,
    /// The alert, when one came.
    pub alert: Option<Arrival>,
    /// Questions and their answers, in the order in which they were asked.
    pub exchanges: Vec<Exchange>,
}

/// A message that arrived, and its weight.
#[derive(Clone)]
pub struct Arrival {
    /// The message.
    pub message: Message,
    /// When it arrived, since the radio was switched on.
    pub at: Duration,
    /// Bytes on the air that deliver it once.
    pub wire_bytes: usize,
    /// What it says, and what was asked, as JSON.
    pub json: Value,
}

impl Arrival {
    /// Bytes of what travelled, as compact JSON: without the question, which did not.
    #[must_use]
    pub fn json_bytes(&self) -> usize {
        render::message_json(&self.message, None).to_string().len()
    }
}

/// A question and its answer.
pub struct Exchange {
    /// What was asked.
    pub pending: PendingQuery,
    /// When, since the radio was switched on.
    pub at: Duration,
    /// Bytes on the air that carried the question.
    pub question_bytes: usize,
    /// The answer, when one came.
    pub answer: Option<Arrival>,
}

/// What became of the frames of one direction.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Frames on the air.
    pub frames: usize,
    /// Bytes on the air.
    pub bytes: usize,
    /// Frames that vanished.
    pub lost: usize,
    /// Frames that arrived with inverted bits.
    pub damaged: usize,
    /// Frames that were sent while there was no contact.
    pub unheard: usize,
}

impl Story {
    /// All alerts and answers that arrived.
    pub fn arrivals(&self) -> impl Iterator<Item = &Arrival> {
        self.chapters.iter().flat_map(|chapter| {
            let answers = chapter
                .exchanges
                .iter()
                .filter_map(|exchange| exchange.answer.as_ref());
            chapter.alert.iter().chain(answers)
        })
    }

    /// The number of alerts that arrived.
    #[must_use]
    pub fn alerts(&self) -> usize {
        self.chapters
            .iter()
            .filter(|chapter| chapter.alert.is_some())
            .count()
    }

    /// The number of questions that were answered.
    #[must_use]
    pub fn answers(&self) -> usize {
        self.arrivals().count() - self.alerts()
    }

    /// Alerts and answers that had not arrived when the run ended.
    #[must_use]
    pub fn missing(&self) -> usize {
        let exchanges = self.chapters.iter().flat_map(|chapter| &chapter.exchanges);
        let unanswered = exchanges
            .filter(|exchange| exchange.answer.is_none())
            .count();
        self.decided.saturating_sub(self.alerts()) + unanswered
    }

    /// Bytes that all arrivals and all questions need on a perfect air.
    #[must_use]
    pub fn useful_bytes(&self) -> usize {
        let questions: usize = self
            .chapters
            .iter()
            .flat_map(|chapter| &chapter.exchanges)
            .map(|exchange| exchange.question_bytes)
            .sum();
        questions
            + self
                .arrivals()
                .map(|arrival| arrival.wire_bytes)
                .sum::<usize>()
    }

    /// What became of the frames of one direction.
    #[must_use]
    pub fn tally(&self, direction: Direction) -> Tally {
        let mut tally = Tally::default();
        for sent in self.air.iter().filter(|sent| sent.direction == direction) {
            tally.frames += 1;
            tally.bytes += sent.bytes;
            match sent.fate {
                Fate::Arrived => {}
                Fate::Lost => tally.lost += 1,
                Fate::Damaged => tally.damaged += 1,
                Fate::Unheard => tally.unheard += 1,
            }
        }
        tally
    }

    /// Bytes that were on the air, both ways, heard or not.
    #[must_use]
    pub fn air_bytes(&self) -> usize {
        self.air.iter().map(|sent| sent.bytes).sum()
    }
}
