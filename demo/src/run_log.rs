//! The log of a run, from which the report is written.

use crate::{
    pairs::SamplePair,
    radio::{ChannelModel, Direction, FrameRecord},
};
use deltavlm_ground::{queries::PendingQuery, render};
use deltavlm_link::{Counters, sim::Fate};
use deltavlm_messages::Message;
use serde_json::Value;
use std::time::Duration;

/// A whole run.
pub struct RunLog {
    /// The model that answered.
    pub model: String,
    /// What the air was like.
    pub channel: ChannelModel,
    /// The pairs, in the order in which they were photographed.
    pub pair_logs: Vec<PairLog>,
    /// Everything that was on the air.
    pub frames: Vec<FrameRecord>,
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
pub struct PairLog {
    /// The pictures.
    pub pair: SamplePair,
    /// Time from file to finding on board.
    pub analyzed: Option<Duration>,
    /// Why the pair could not be used, where it could not.
    pub error: Option<String>,
    /// The alert, when one came.
    pub alert: Option<ReceivedMessage>,
    /// Questions and their answers, in the order in which they were asked.
    pub exchanges: Vec<Exchange>,
}

/// A message that arrived, and its size.
#[derive(Clone)]
pub struct ReceivedMessage {
    /// The message.
    pub message: Message,
    /// When it arrived, since the radio was switched on.
    pub at: Duration,
    /// Bytes on the air that deliver it once.
    pub wire_bytes: usize,
    /// What it says, and what was asked, as JSON.
    pub json: Value,
}

impl ReceivedMessage {
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
    pub answer: Option<ReceivedMessage>,
}

/// What became of the frames of one direction.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct DirectionStats {
    /// Frames on the air.
    pub frames: usize,
    /// Bytes on the air.
    pub bytes: usize,
    /// Frames that vanished.
    pub lost: usize,
    /// Frames that arrived with inverted bits.
    pub damaged: usize,
    /// Frames that were sent while there was no contact.
    pub no_contact: usize,
}

impl RunLog {
    /// All alerts and answers that arrived.
    pub fn received_messages(&self) -> impl Iterator<Item = &ReceivedMessage> {
        self.pair_logs.iter().flat_map(|pair_log| {
            let answers = pair_log
                .exchanges
                .iter()
                .filter_map(|exchange| exchange.answer.as_ref());
            pair_log.alert.iter().chain(answers)
        })
    }

    /// The number of alerts that arrived.
    #[must_use]
    pub fn alerts(&self) -> usize {
        self.pair_logs
            .iter()
            .filter(|pair_log| pair_log.alert.is_some())
            .count()
    }

    /// The number of questions that were answered.
    #[must_use]
    pub fn answers(&self) -> usize {
        self.received_messages().count() - self.alerts()
    }

    /// Alerts and answers that had not arrived when the run ended.
    #[must_use]
    pub fn missing(&self) -> usize {
        let exchanges = self
            .pair_logs
            .iter()
            .flat_map(|pair_log| &pair_log.exchanges);
        let unanswered = exchanges
            .filter(|exchange| exchange.answer.is_none())
            .count();
        self.decided.saturating_sub(self.alerts()) + unanswered
    }

    /// Bytes that all arrivals and all questions need on a perfect air.
    #[must_use]
    pub fn useful_bytes(&self) -> usize {
        let questions: usize = self
            .pair_logs
            .iter()
            .flat_map(|pair_log| &pair_log.exchanges)
            .map(|exchange| exchange.question_bytes)
            .sum();
        questions
            + self
                .received_messages()
                .map(|received| received.wire_bytes)
                .sum::<usize>()
    }

    /// What became of the frames of one direction.
    #[must_use]
    pub fn direction_stats(&self, direction: Direction) -> DirectionStats {
        let mut stats = DirectionStats::default();
        for frame in self
            .frames
            .iter()
            .filter(|frame| frame.direction == direction)
        {
            stats.frames += 1;
            stats.bytes += frame.bytes;
            match frame.fate {
                Fate::Arrives => {}
                Fate::Lost => stats.lost += 1,
                Fate::Damaged => stats.damaged += 1,
                Fate::NoContact => stats.no_contact += 1,
            }
        }
        stats
    }

    /// Bytes that were on the air, both ways, heard or not.
    #[must_use]
    pub fn radio_bytes(&self) -> usize {
        self.frames.iter().map(|frame| frame.bytes).sum()
    }
}
