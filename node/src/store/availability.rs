//! Whether the store can be written: one line in the log for each change, attempts with back-off.

use super::StoreError;
use std::{
    path::Path,
    time::{Duration, Instant},
};

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Working, or failing since some time.
#[derive(Debug, Default)]
pub(super) struct Availability(Option<Failing>);

#[derive(Debug)]
struct Failing {
    since: Instant,
    wait: Duration,
    retry_at: Instant,
}

impl Availability {
    pub(super) fn is_failing(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.0.as_ref().map(|failing| failing.retry_at)
    }

    /// Whether it is worth trying: a disk that failed a moment ago is left alone.
    pub(super) fn may_try(&self, now: Instant) -> bool {
        self.retry_at().is_none_or(|at| at <= now)
    }

    pub(super) fn succeeded(&mut self, path: &Path, now: Instant) {
        if let Some(failing) = self.0.take() {
            log::warn!(
                "{}: can be written again, after {:.1} s; nothing was lost",
                path.display(),
                (now - failing.since).as_secs_f64()
            );
        }
    }

    pub(super) fn failed(&mut self, error: &StoreError, now: Instant) {
        let failing = self.0.get_or_insert_with(|| {
            log::error!("{error}; what has to be written waits and is tried again");
            Failing {
                since: now,
                wait: FIRST_WAIT / 2,
                retry_at: now,
            }
        });
        failing.wait = (failing.wait * 2).min(LONGEST_WAIT);
        failing.retry_at = now + failing.wait;
    }
}
