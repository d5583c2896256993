//! What waits for the link, in the order in which the link gets it.

use super::Host;
use crate::journal::Handover;
use deltavlm_link::SendError;

/// Room that replies and pictures leave in the link for alerts.
const MIN_FREE_FOR_ALERTS: usize = 16;

impl Host {
    /// Gives the link what waits for it, alerts and faults first.
    pub(super) fn flush_to_link(&mut self) {
        let node = &mut self.node;
        self.journal
            .write(|message, batch| match node.send_with(message, batch) {
                Ok(_) => Handover::Taken,
                Err(SendError::QueueFull | SendError::Storage) => Handover::Later,
                Err(refused) => {
                    log::error!("{:?}: {refused}", message.kind());
                    Handover::Never
                }
            });
        while let Some(entry) = self.reply_queue.front() {
            if self.node.waiting() + MIN_FREE_FOR_ALERTS >= deltavlm_link::OUTBOX {
                return;
            }
            let completes = entry.completes;
            match self.node.send(&entry.message) {
                Ok(_) => {}
                Err(SendError::QueueFull | SendError::Storage) => return,
                Err(refused) => log::error!("a reply is not sent: {refused}"),
            }
            if let Some(id) = completes {
                self.node.acknowledge(id);
            }
            self.reply_queue.pop();
        }
    }
}
