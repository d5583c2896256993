//! What waits for the link, in the order in which the link gets it.

use super::Host;
use deltavlm_link::SendError;

/// Room that replies and pictures leave in the link for alerts.
const MIN_FREE_FOR_ALERTS: usize = 16;

impl Host {
    /// Gives the link what waits for it, alerts and faults first.
    pub(super) fn flush_to_link(&mut self) {
        while let Some(pending) = self.journal.pending().first() {
            match self.node.send(&pending.message) {
                Ok(_) => {}
                Err(SendError::QueueFull | SendError::Storage) => return,
                Err(refused) => log::error!("{}: {refused}", pending.name),
            }
            if let Err(error) = self.journal.handed_over() {
                log::error!("journal: {error}");
                return;
            }
        }
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
