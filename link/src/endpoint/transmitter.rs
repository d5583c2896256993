//! What the sending half keeps.

use super::clock::Delivery;
use crate::{
    class::Class,
    config::Config,
    flight::{Flight, Timer},
    outbox::Outbox,
    pacing::Pacer,
    time::{Duration, Instant},
};

/// How this end stands with its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// Nothing heard lately: only probes are sent.
    Down,
    /// Something was heard.
    Up,
}

/// From messages that wait to frames that are under way.
#[derive(Debug)]
pub(super) struct Transmitter {
    pub(super) link: Link,
    pub(super) pacer: Pacer,
    pub(super) timer: Timer,
    pub(super) flight: Flight,
    pub(super) delivery: Delivery,
    pub(super) outbox: Outbox,
    pub(super) next_sequence: [u32; 5],
    pub(super) reserved_sequence: u32,
    /// Of which classes the peer is to be told where the numbers begin.
    pub(super) base_due: [bool; 5],
    pub(super) probe_at: Instant,
    /// When the retransmission timer runs out, if anything is under way.
    pub(super) timeout_at: Instant,
    pub(super) in_contact: bool,
    /// Frames with messages that may be sent until the peer is heard; `None` is no limit.
    pub(super) credit: Option<u8>,
    /// In simplex, when messages are sent again.
    pub(super) repeat_at: Instant,
}

impl Transmitter {
    pub(super) fn new(config: &Config, outbox: Outbox, next_sequence: [u32; 5]) -> Self {
        let initial = 1_000_000 + 4_000_000 * u64::from(config.mtu) / u64::from(config.pacing.rate);
        Self {
            link: Link::Down,
            pacer: Pacer::new(&config.pacing),
            timer: Timer::new(
                Duration::from_micros(initial.min(config.max_timeout.as_micros())),
                config.min_timeout,
                config.max_timeout,
            ),
            flight: Flight::new(),
            delivery: Delivery::default(),
            outbox,
            reserved_sequence: next_sequence[Class::Telemetry.index()],
            next_sequence,
            base_due: [false; 5],
            probe_at: Instant::ZERO,
            timeout_at: Instant::ZERO,
            in_contact: false,
            credit: None,
            repeat_at: Instant::ZERO,
        }
    }

    /// All outbound messages of the class below this one are done with.
    pub(super) fn base(&self, class: Class) -> u32 {
        self.outbox
            .lowest(class)
            .unwrap_or(self.next_sequence[class.index()])
    }

    /// Bytes on the air with the repetitions to expect.
    pub(super) fn with_loss(&self, bytes: usize) -> u32 {
        let through = u64::from(65_536 - self.delivery.lost.min(60_000));
        u32::try_from((bytes as u64 * 65_536).div_ceil(through)).unwrap_or(u32::MAX)
    }
}
