//! What the ground asks and sets.

use super::Host;
use crate::worker::Task;
use deltavlm_link::MessageId;
use deltavlm_messages::{Configure, Message, Refusal, RefusalReason, Setting};
use std::time::{Duration, Instant};

/// The lowest rate in bytes per second that the ground can set: a frame of the usual 128 bytes
/// then takes 13 seconds, and an order to go faster needs a few. Zero goes back to the
/// configuration.
const MIN_SET_RATE: u32 = 10;

impl Host {
    pub(super) fn on_message(&mut self, id: MessageId, message: Message) {
        match message {
            Message::Query(query) if self.is_full() => {
                self.refuse(id, query.id, RefusalReason::QueueFull)
            }
            Message::Query(query) => self.worker.submit(Task::Ask(id, query)),
            Message::PreviewRequest(request) if self.is_full() => {
                self.refuse(id, request.id, RefusalReason::QueueFull);
            }
            Message::PreviewRequest(request) => self.worker.submit(Task::Preview(id, request)),
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

    pub(super) fn is_full(&self) -> bool {
        self.worker.in_flight() >= self.config.query.queue
    }

    pub(super) fn refuse(&mut self, id: MessageId, query: u16, reason: RefusalReason) {
        log::info!("query {query} is refused: {reason:?}");
        self.reply_queue
            .push_reply(Message::Refusal(Refusal { query, reason }), id);
    }

    pub(super) fn configure(&mut self, id: MessageId, Configure { id: query, setting }: Configure) {
        let kept = match setting {
            Setting::AlertThreshold(confidence) => self
                .settings
                .update(|values| values.min_confidence = Some(confidence.fraction())),
            Setting::HealthInterval(seconds) => self
                .settings
                .update(|values| values.health_s = Some(seconds)),
            Setting::Rate(rate) => {
                let kept = (rate > 0).then_some(rate);
                let rate = kept.unwrap_or(self.config.link.rate);
                let is_usable = kept.is_none_or(|rate| rate >= MIN_SET_RATE);
                if !is_usable || self.node.set_rate(rate).is_err() {
                    return self.refuse(id, query, RefusalReason::Unsupported);
                }
                self.settings.update(|values| values.rate = kept)
            }
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
}
