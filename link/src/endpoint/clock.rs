//! What an endpoint knows of time and of the link's quality.

use crate::time::{Duration, Instant};

/// No clock of ours gets there in 70,000 years.
const LATEST: Instant = Instant::from_micros(1 << 61);

/// Time that never steps back, whatever the program's clock does.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Clock {
    pub(super) last: Instant,
    /// What steps back were skipped.
    pub(super) offset: Duration,
}

impl Clock {
    pub(super) fn read(&mut self, now: Instant) -> Instant {
        // A clock that went wild must leave room to go on behind it.
        let shifted = now.min(LATEST) + self.offset;
        if shifted < self.last {
            self.offset = self.offset + self.last.since(shifted);
        }
        self.last = self.last.max(shifted);
        self.last
    }

    pub(super) fn peek(&self, now: Instant) -> Instant {
        (now + self.offset).max(self.last)
    }

    pub(super) fn outside(&self, inner: Instant) -> Instant {
        inner - self.offset
    }
}

/// How many frames of those sent come through, as a running mean.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delivery {
    /// In 65,536ths.
    pub(super) lost: u32,
}

impl Default for Delivery {
    fn default() -> Self {
        // As long as nothing is known, a little more than nothing.
        Self { lost: 65_536 / 50 }
    }
}

impl Delivery {
    pub(super) fn count(&mut self, acked: usize, lost: usize) {
        for _ in 0..acked {
            self.lost -= self.lost / 64;
        }
        for _ in 0..lost {
            self.lost += (65_536 - self.lost) / 64;
        }
    }
}
