//! When a frame may be sent: rate, duty cycle, quiet times, contacts.

use crate::{
    config_error::ConfigError,
    mtu::MAX_MTU,
    time::{Duration, Instant},
};

/// The most contacts that can be scheduled at once.
pub const MAX_CONTACTS: usize = 16;

/// A rolling window is watched in this many slices.
const SLICES: usize = 32;

/// How fast and when to send.
#[derive(Debug, Clone)]
pub struct Pacing {
    /// Bytes in a second, over any time longer than a frame takes. Set it below what the radio
    /// really carries, so that no queue builds up in it.
    pub rate: u32,
    /// A budget of time on the air, where the band demands one.
    pub duty_cycle: Option<DutyCycle>,
    /// When the peer can hear. Empty means always.
    pub contacts: heapless::Vec<Contact, MAX_CONTACTS>,
}

impl Default for Pacing {
    fn default() -> Self {
        Self {
            rate: 1_000_000,
            duty_cycle: None,
            contacts: heapless::Vec::new(),
        }
    }
}

impl Pacing {
    /// No limit but `rate` bytes in a second.
    pub fn at_rate(rate: u32) -> Self {
        Self {
            rate,
            ..Self::default()
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.rate == 0 {
            return Err(ConfigError::Rate);
        }
        if self
            .duty_cycle
            .is_some_and(|duty| duty.window.as_micros() < SLICES as u64)
        {
            return Err(ConfigError::DutyCycle);
        }
        check_contacts(&self.contacts)
    }
}

pub(crate) fn check_contacts(contacts: &[Contact]) -> Result<(), ConfigError> {
    let ordered = contacts.windows(2).all(|pair| pair[0].end <= pair[1].start);
    if !ordered || contacts.iter().any(|contact| contact.start >= contact.end) {
        return Err(ConfigError::Contacts);
    }
    Ok(())
}

/// A time in which the peer can hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Contact {
    /// The first moment.
    pub start: Instant,
    /// The first moment after it.
    pub end: Instant,
}

/// In any `window`, at most `budget` on the air.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DutyCycle {
    /// The rolling window.
    pub window: Duration,
    /// Time on the air in it.
    pub budget: Duration,
    /// Time on the air of a frame, whatever its length.
    pub per_frame: Duration,
    /// Time on the air of each byte.
    pub per_byte: Duration,
}

impl DutyCycle {
    /// Time on the air of a frame of `bytes` bytes.
    pub const fn airtime(&self, bytes: usize) -> Duration {
        Duration::from_micros(
            self.per_frame
                .as_micros()
                .saturating_add(self.per_byte.as_micros().saturating_mul(bytes as u64)),
        )
    }
}

/// Decides when a frame may be sent, and keeps account of those that were.
#[derive(Debug, Clone)]
pub(crate) struct Pacer {
    pub(crate) rate: u32,
    pub(crate) duty_cycle: Option<DutyCycle>,
    pub(crate) contacts: heapless::Vec<Contact, MAX_CONTACTS>,
    /// Nothing is sent before this.
    pub(crate) quiet_until: Instant,
    /// Millionths of a byte that may be sent at `filled_at`.
    tokens: u64,
    filled_at: Instant,
    /// Microseconds on the air in each of the last slices of the window; `slice` is the newest.
    spent: [u32; SLICES + 1],
    slice: u64,
}

const MICRO: u64 = 1_000_000;
/// The bucket holds one frame: bursts are never longer.
const BUCKET: u64 = MAX_MTU as u64 * MICRO;

impl Pacer {
    pub(crate) fn new(pacing: &Pacing) -> Self {
        Self {
            rate: pacing.rate,
            duty_cycle: pacing.duty_cycle,
            contacts: pacing.contacts.clone(),
            quiet_until: Instant::ZERO,
            tokens: BUCKET,
            filled_at: Instant::ZERO,
            spent: [0; SLICES + 1],
            slice: 0,
        }
    }

    /// The earliest time, `now` or later, at which a frame of `bytes` bytes may be sent; `None` if
    /// none is known.
    pub(crate) fn earliest(&self, bytes: usize, now: Instant) -> Option<Instant> {
        let mut at = now.max(self.quiet_until).max(self.rate_allows(bytes, now));
        // Each of the two may move the time into the other's way.
        for _ in 0..4 {
            let moved = self.contact_at(self.duty_allows(bytes, at)?)?;
            if moved == at {
                return Some(at);
            }
            at = moved;
        }
        Some(at)
    }

    /// Accounts for a frame that is sent now.
    pub(crate) fn spend(&mut self, bytes: usize, now: Instant) {
        self.fill(now);
        self.tokens = self.tokens.saturating_sub(bytes as u64 * MICRO);
        if let Some(duty) = self.duty_cycle {
            self.roll(self.slice_of(duty, now));
            let place = &mut self.spent[(self.slice % (SLICES as u64 + 1)) as usize];
            *place = place
                .saturating_add(u32::try_from(duty.airtime(bytes).as_micros()).unwrap_or(u32::MAX));
        }
    }

    /// Whether the contact schedule allows sending now.
    pub(crate) fn in_contact(&self, now: Instant) -> bool {
        self.contact_at(now) == Some(now)
    }

    /// How long it takes to send so many bytes, at the rate or the duty cycle, whichever is slower.
    pub(crate) fn time_for(&self, bytes: u64) -> Duration {
        let at_rate = bytes.saturating_mul(MICRO) / u64::from(self.rate);
        let at_duty = self.duty_cycle.map_or(0, |duty| {
            let airtime = u128::from(duty.airtime(bytes as usize).as_micros());
            let budget = u128::from(duty.budget.as_micros().max(1));
            u64::try_from(airtime * u128::from(duty.window.as_micros()) / budget)
                .unwrap_or(u64::MAX)
        });
        Duration::from_micros(at_rate.max(at_duty))
    }

    /// When `span` of contact is over, counted from `now`.
    pub(crate) fn after_contact(&self, span: Duration, now: Instant) -> Option<Instant> {
        let now = now.max(self.quiet_until);
        if self.contacts.is_empty() {
            return Some(now + span);
        }
        let mut left = span;
        for contact in self.contacts.iter().filter(|contact| contact.end > now) {
            let start = contact.start.max(now);
            let open = contact.end.since(start);
            if left <= open {
                return Some(start + left);
            }
            left = Duration::from_micros(left.as_micros() - open.as_micros());
        }
        None
    }

    /// When the contact schedule next changes what may be sent.
    pub(crate) fn next_edge(&self, now: Instant) -> Option<Instant> {
        let edges = self
            .contacts
            .iter()
            .flat_map(|contact| [contact.start, contact.end]);
        edges.filter(|&edge| edge > now).min()
    }

    fn contact_at(&self, at: Instant) -> Option<Instant> {
        if self.contacts.is_empty() {
            return Some(at);
        }
        self.contacts
            .iter()
            .find(|contact| at < contact.end)
            .map(|contact| at.max(contact.start))
    }

    fn fill(&mut self, now: Instant) {
        self.tokens = self.tokens_at(now);
        self.filled_at = now;
    }

    fn tokens_at(&self, now: Instant) -> u64 {
        let gained = now
            .since(self.filled_at)
            .as_micros()
            .saturating_mul(u64::from(self.rate));
        self.tokens.saturating_add(gained).min(BUCKET)
    }

    fn rate_allows(&self, bytes: usize, now: Instant) -> Instant {
        let missing = (bytes as u64 * MICRO).saturating_sub(self.tokens_at(now));
        now + Duration::from_micros(missing.div_ceil(u64::from(self.rate)))
    }

    fn slice_of(&self, duty: DutyCycle, now: Instant) -> u64 {
        now.as_micros() / duty.window.as_micros().div_ceil(SLICES as u64).max(1)
    }

    fn roll(&mut self, slice: u64) {
        let steps = slice.saturating_sub(self.slice).min(SLICES as u64 + 1);
        for step in 1..=steps {
            self.spent[((self.slice + step) % (SLICES as u64 + 1)) as usize] = 0;
        }
        // After a long time the steps above have cleared all, whatever their order.
        self.slice = self.slice.max(slice);
    }

    /// A rolling window touches at most one slice more than it has, so if the newest `SLICES + 1`
    /// slices are within the budget, every window is.
    fn duty_allows(&self, bytes: usize, at: Instant) -> Option<Instant> {
        let Some(duty) = self.duty_cycle else {
            return Some(at);
        };
        let cost = duty.airtime(bytes).as_micros();
        if cost > duty.budget.as_micros() {
            return None;
        }
        let width = duty.window.as_micros().div_ceil(SLICES as u64).max(1);
        let first = self.slice_of(duty, at).max(self.slice);
        for slice in first..=first + SLICES as u64 + 1 {
            let oldest = slice.saturating_sub(SLICES as u64);
            let spent: u64 = (oldest..=self.slice)
                .filter(|kept| self.slice - kept <= SLICES as u64)
                .map(|kept| u64::from(self.spent[(kept % (SLICES as u64 + 1)) as usize]))
                .sum();
            if spent + cost <= duty.budget.as_micros() {
                let start = Instant::from_micros(slice.saturating_mul(width));
                return Some(at.max(start));
            }
        }
        None
    }
}
