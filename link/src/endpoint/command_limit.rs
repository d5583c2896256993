//! How many commands a board takes in a minute.

use crate::time::Instant;

const MINUTE: u64 = 60_000_000;

/// A token bucket that holds a minute's worth of commands.
#[derive(Debug, Clone, Copy)]
pub(super) struct CommandLimit {
    per_minute: u64,
    /// Commands that may still be taken, in millionths of a minute's worth.
    tokens: u64,
    counted_at: Instant,
}

impl CommandLimit {
    /// A full bucket; zero commands in a minute stand for no limit.
    pub(super) fn new(per_minute: u16, now: Instant) -> Self {
        let per_minute = u64::from(per_minute);
        Self {
            per_minute,
            tokens: per_minute * MINUTE,
            counted_at: now,
        }
    }

    /// Whether one more may be taken now; it is counted.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if self.per_minute == 0 {
            return true;
        }
        let gained = now
            .since(self.counted_at)
            .as_micros()
            .saturating_mul(self.per_minute);
        self.tokens = self
            .tokens
            .saturating_add(gained)
            .min(self.per_minute * MINUTE);
        self.counted_at = now;
        let allowed = self.tokens >= MINUTE;
        self.tokens -= if allowed { MINUTE } else { 0 };
        allowed
    }
}
