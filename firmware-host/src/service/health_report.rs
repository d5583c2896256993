//! The health message: what it says and when it is due.

use super::Host;
use crate::health;
use deltavlm_messages::{Health, Message, StorageState, short_hash};
use std::time::{Duration, Instant};

impl Host {
    pub(super) fn health_interval(&self) -> Duration {
        match self.settings.overrides.health_s {
            Some(seconds) => Duration::from_secs(u64::from(seconds)),
            None => self.config.health.every,
        }
    }

    pub(super) fn schedule_health(&mut self, after: Duration) {
        let wanted = !self.health_interval().is_zero();
        self.health_at = wanted.then(|| Instant::now() + after);
    }

    /// The first report waits until it can say which model is open.
    pub(super) fn schedule_first_health(&mut self) {
        if self.health_at.is_none() && !self.health_sent {
            self.schedule_health(Duration::ZERO);
        }
    }

    pub(super) fn report_health(&mut self) {
        let is_failing = self.store.is_failing();
        if is_failing != self.storage_fault_told && !self.health_interval().is_zero() {
            self.health_at = Some(Instant::now());
        }
        self.storage_fault_told = is_failing;
        if self.health_at.is_none_or(|at| Instant::now() < at) {
            return;
        }
        self.schedule_health(self.health_interval());
        let counters = self.node.counters();
        let health = Health {
            uptime: u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX),
            starts: self.node.boot_count(),
            model: short_hash(self.model.as_bytes()),
            pairs: self.totals.pairs,
            faults: self.totals.faults,
            alerts: self.totals.alerts,
            waiting: u16::try_from(self.node.waiting() + self.journal.waiting())
                .unwrap_or(u16::MAX),
            disk_free: health::disk_free(&self.config.spool.dir),
            memory: health::memory(),
            temperature: health::temperature(),
            frames_received: counters.frames_received,
            frames_refused: health::refused_frames(&counters),
            storage: match self.store.is_failing() {
                true => StorageState::Failing,
                false => StorageState::Working,
            },
        };
        self.health_sent = true;
        if let Err(refused) = self.node.send(&Message::Health(health)) {
            log::debug!("health is not sent: {refused}");
        }
    }
}
