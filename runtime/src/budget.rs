//! When a call gives up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::Error;

/// A deadline and a cancellation flag; both are looked at between two steps of a call.
///
/// ```
/// use std::time::Duration;
/// use deltavlm_runtime::Budget;
///
/// let budget = Budget::within(Duration::from_secs(2));
/// assert!(budget.deadline.is_some() && budget.cancel.is_none());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Budget {
    /// The latest time to start another step.
    pub deadline: Option<Instant>,
    /// Raised by another thread to stop the work.
    pub cancel: Option<Arc<AtomicBool>>,
}

impl Budget {
    /// No deadline, no flag.
    pub const UNLIMITED: &'static Self = &Self {
        deadline: None,
        cancel: None,
    };

    /// Until this instant.
    pub fn until(deadline: Instant) -> Self {
        Self {
            deadline: Some(deadline),
            cancel: None,
        }
    }

    /// For this long from now on.
    pub fn within(duration: Duration) -> Self {
        Self {
            // A time beyond what the clock can tell is no deadline.
            deadline: Instant::now().checked_add(duration),
            cancel: None,
        }
    }

    /// Until this flag is raised.
    pub fn cancelled_by(flag: Arc<AtomicBool>) -> Self {
        Self {
            deadline: None,
            cancel: Some(flag),
        }
    }

    /// Fails when it is time to give up. `during` names the step that would come next.
    pub(crate) fn check(&self, started: Instant, during: &'static str) -> Result<(), Error> {
        if self
            .cancel
            .as_ref()
            .is_some_and(|flag| flag.load(Ordering::Relaxed))
        {
            return Err(Error::Cancelled { during });
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Error::Deadline {
                after: started.elapsed(),
                during,
            }),
            _ => Ok(()),
        }
    }
}
