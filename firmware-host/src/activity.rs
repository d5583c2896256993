//! What the worker is at, so that the service notices when it hangs.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

const IDLE: u64 = u64::MAX;

/// The worker's present job and when it has to be done, shared between two threads.
#[derive(Debug)]
pub(crate) struct Activity {
    started: Instant,
    /// Milliseconds from `started` to the end of the time that the job may take.
    overdue_at: AtomicU64,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            overdue_at: AtomicU64::new(IDLE),
        }
    }

    /// Does a job that may take `limit` at most; `None` when it panicked.
    ///
    /// The panic's message went to standard error. What the job has changed may be half
    /// changed: the caller throws it away.
    pub(crate) fn run<T>(&self, limit: Duration, job: impl FnOnce() -> T) -> Option<T> {
        let overdue_at = self.millis(self.started.elapsed().saturating_add(limit));
        self.overdue_at.store(overdue_at, Ordering::Relaxed);
        let done = catch_unwind(AssertUnwindSafe(job)).ok();
        self.overdue_at.store(IDLE, Ordering::Relaxed);
        done
    }

    /// Whether the present job takes longer than it may.
    pub(crate) fn is_overdue(&self) -> bool {
        self.millis(self.started.elapsed()) > self.overdue_at.load(Ordering::Relaxed)
    }

    fn millis(&self, since_start: Duration) -> u64 {
        u64::try_from(since_start.as_millis()).unwrap_or(IDLE - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::sleep;

    #[test]
    fn a_job_is_overdue_after_its_limit_and_an_idle_worker_never() {
        let activity = Activity::new();
        sleep(Duration::from_millis(5));
        assert!(!activity.is_overdue());
        let limit = Duration::from_millis(20);
        let seen = activity.run(limit, || {
            let early = activity.is_overdue();
            sleep(3 * limit);
            (early, activity.is_overdue())
        });
        assert_eq!(seen, Some((false, true)));
        assert!(!activity.is_overdue());
        assert_eq!(
            activity.run(limit, || panic!("a test panics on purpose")),
            None::<()>
        );
        assert!(!activity.is_overdue());
    }
}
