//! Received frames that wait for their acknowledgement.

use crate::time::{Duration, Instant};

/// Counts the frames to acknowledge, and says when that is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct AckTracker {
    /// Frames that wait.
    pub(super) pending: u8,
    /// Until when they may.
    pub(super) due_at: Instant,
}

impl AckTracker {
    pub(super) const fn new() -> Self {
        Self {
            pending: 0,
            due_at: Instant::MAX,
        }
    }

    /// A frame came that wants an acknowledgement within `delay`.
    pub(super) fn note(&mut self, now: Instant, delay: Duration) {
        if self.pending == 0 {
            self.due_at = now + delay;
        }
        self.pending = self.pending.saturating_add(1);
    }

    /// Whether an acknowledgement is worth a frame of its own; `every` so many frames it is.
    pub(super) fn is_due(&self, now: Instant, every: u8) -> bool {
        self.pending > 0 && (now >= self.due_at || self.pending >= every)
    }

    /// Everything was acknowledged.
    pub(super) fn clear(&mut self) {
        self.pending = 0;
    }
}
