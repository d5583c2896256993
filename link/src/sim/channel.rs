//! One direction of a bad radio.

use std::{cmp::Reverse, collections::BinaryHeap, vec::Vec};

use super::Rng;
use crate::time::{Duration, Instant};

/// What a channel does to frames.
#[derive(Debug, Clone, PartialEq)]
pub struct Faults {
    /// Probability that a frame vanishes.
    pub loss: f64,
    /// Probability that a frame comes twice.
    pub duplicate: f64,
    /// A frame may come after as many that were sent later.
    pub reorder: u32,
    /// Probability that a bit is flipped.
    pub ber: f64,
    /// Probability that a byte is inserted somewhere in a frame.
    pub insert: f64,
    /// Probability that noise of a few bytes precedes a frame.
    pub noise: f64,
    /// Times of worse loss.
    pub burst: Option<Burst>,
    /// From the last byte of a frame on one side to its last on the other.
    pub delay: Duration,
    /// Bytes in a second.
    pub rate: u32,
    /// Silence: nothing that is sent in `period` after its first `open` comes through.
    pub contact: Option<(Duration, Duration)>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0,
            ber: 0.0,
            insert: 0.0,
            noise: 0.0,
            burst: None,
            delay: Duration::from_millis(20),
            rate: 1_200,
            contact: None,
        }
    }
}

/// Loss in bursts (the Gilbert-Elliott model).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    /// Probability, at each frame, that a burst begins.
    pub begin: f64,
    /// Probability, at each frame, that it ends.
    pub end: f64,
    /// Probability that a frame vanishes in it.
    pub loss: f64,
}

/// What becomes of a frame, as the channel knows when it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrives as it was sent.
    Arrives,
    /// It arrives with other bits or bytes than were sent.
    Damaged,
    /// It vanishes.
    Lost,
    /// It is sent while the channel is silent.
    NoContact,
}

/// Frames on their way in one direction.
#[derive(Debug)]
pub struct Channel {
    faults: Faults,
    rng: Rng,
    /// When the last frame's last byte is out.
    busy_until: Instant,
    in_burst: bool,
    sequence: u64,
    under_way: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
    /// Bytes that were put on the air.
    pub bytes: u64,
    /// Frames that were put on the air.
    pub frames: u64,
}

impl Channel {
    /// An empty channel.
    pub fn new(faults: Faults, seed: u64) -> Self {
        Self {
            faults,
            rng: Rng::new(seed),
            busy_until: Instant::ZERO,
            in_burst: false,
            sequence: 0,
            under_way: BinaryHeap::new(),
            bytes: 0,
            frames: 0,
        }
    }

    /// Changes what the channel does from now on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// Whether a frame sent now would have a chance.
    pub fn is_open(&self, now: Instant) -> bool {
        self.faults
            .contact
            .is_none_or(|(period, open)| now.as_micros() % period.as_micros() < open.as_micros())
    }

    /// Puts a frame on the air, and says what becomes of it: of the first copy that arrives, if it
    /// comes twice.
    pub fn send(&mut self, frame: &[u8], now: Instant) -> Fate {
        self.bytes += frame.len() as u64;
        self.frames += 1;
        let air =
            Duration::from_micros(frame.len() as u64 * 1_000_000 / u64::from(self.faults.rate));
        self.busy_until = self.busy_until.max(now) + air;
        if !self.is_open(now) || !self.is_open(self.busy_until) {
            return Fate::NoContact;
        }
        let mut fate = Fate::Lost;
        let copies = 1 + u32::from(self.rng.chance(self.faults.duplicate));
        for _ in 0..copies {
            if self.vanishes() {
                continue;
            }
            let late = self.rng.below(u64::from(self.faults.reorder) + 1);
            let at = self.busy_until + self.faults.delay + air.saturating_mul(late);
            let arriving = self.damage(frame);
            if fate == Fate::Lost {
                fate = if arriving == frame {
                    Fate::Arrives
                } else {
                    Fate::Damaged
                };
            }
            self.sequence += 1;
            self.under_way.push(Reverse((at, self.sequence, arriving)));
        }
        fate
    }

    /// When the transmitter has sent what it was given so far.
    pub fn busy_until(&self) -> Instant {
        self.busy_until
    }

    /// When the next frame arrives.
    pub fn next_arrival(&self) -> Option<Instant> {
        self.under_way.peek().map(|Reverse((at, ..))| *at)
    }

    /// A frame that has arrived.
    pub fn receive(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.next_arrival()? > now {
            return None;
        }
        self.under_way.pop().map(|Reverse((.., frame))| frame)
    }

    fn vanishes(&mut self) -> bool {
        let mut loss = self.faults.loss;
        if let Some(burst) = self.faults.burst {
            let turn = if self.in_burst {
                burst.end
            } else {
                burst.begin
            };
            self.in_burst ^= self.rng.chance(turn);
            if self.in_burst {
                loss = burst.loss;
            }
        }
        self.rng.chance(loss)
    }

    fn damage(&mut self, frame: &[u8]) -> Vec<u8> {
        let mut damaged = Vec::new();
        if self.rng.chance(self.faults.noise) {
            for _ in 0..=self.rng.below(20) {
                damaged.push(self.rng.bits() as u8);
            }
        }
        let start = damaged.len();
        damaged.extend_from_slice(frame);
        let bits = frame.len() as u64 * 8;
        let mut at = self.rng.failures_before(self.faults.ber);
        while at < bits {
            damaged[start + (at / 8) as usize] ^= 1 << (at % 8);
            at = at
                .saturating_add(1)
                .saturating_add(self.rng.failures_before(self.faults.ber));
        }
        if self.rng.chance(self.faults.insert) {
            let place = start + self.rng.below(frame.len() as u64) as usize;
            damaged.insert(place, self.rng.bits() as u8);
        }
        damaged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_happen_as_often_as_they_should() {
        let faults = Faults {
            loss: 0.3,
            duplicate: 0.1,
            ber: 1e-3,
            ..Faults::default()
        };
        let mut channel = Channel::new(faults, 1);
        let frame = [0u8; 100];
        let (mut came, mut damaged, mut lost) = (0u32, 0u32, 0u32);
        for step in 0..20_000 {
            let fate = channel.send(&frame, Instant::from_secs(step));
            lost += u32::from(fate == Fate::Lost);
            while let Some(arrived) = channel.receive(Instant::MAX) {
                came += 1;
                damaged += arrived.iter().map(|byte| byte.count_ones()).sum::<u32>();
            }
        }
        // A doubled frame is lost where both copies are.
        let lost = f64::from(lost) / 20_000.0;
        assert!((lost - (0.9 * 0.3 + 0.1 * 0.09)).abs() < 0.02, "{lost}");
        let came = f64::from(came) / 20_000.0;
        assert!((came - 1.1 * 0.7).abs() < 0.02, "{came}");
        let flipped = f64::from(damaged) / (20_000.0 * came * 800.0);
        assert!((flipped - 1e-3).abs() < 1e-4, "{flipped}");
    }

    #[test]
    fn the_air_takes_its_time() {
        let mut channel = Channel::new(
            Faults {
                rate: 100,
                delay: Duration::ZERO,
                ..Faults::default()
            },
            1,
        );
        channel.send(&[1; 50], Instant::ZERO);
        channel.send(&[2; 50], Instant::ZERO);
        assert_eq!(channel.next_arrival(), Some(Instant::from_millis(500)));
        assert!(channel.receive(Instant::from_millis(500)).is_some());
        assert_eq!(channel.next_arrival(), Some(Instant::from_millis(1000)));
    }
}
