//! Frames that were sent and not acknowledged yet: which are lost, and how long to wait for them.

use crate::time::{Duration, Instant};

/// Frames that may be under way at once; an acknowledgement speaks of as many.
pub(crate) const WINDOW: usize = 64;
/// Parts of messages in one frame.
pub(crate) const MAX_PARTS: usize = 4;

/// What part of which message a frame carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Bytes `start..end` of the message in an outbox slot, if the slot still bears this stamp.
    Body {
        slot: u8,
        stamp: u16,
        start: u16,
        end: u16,
    },
    /// The news that the message in the slot will never come.
    Cancel { slot: u8, stamp: u16 },
    /// Where the numbers of the class with this index begin.
    Base(u8),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) counter: u64,
    sent_at: Instant,
    /// Presumed lost: its parts were queued again. An acknowledgement may still come.
    lost: bool,
    parts: [Option<Part>; MAX_PARTS],
}

impl Frame {
    pub(crate) fn parts(&self) -> impl Iterator<Item = Part> {
        self.parts.into_iter().flatten()
    }
}

/// What an acknowledgement means for the frames under way.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    pub(crate) acked: heapless::Vec<Frame, WINDOW>,
    pub(crate) lost: heapless::Vec<Frame, WINDOW>,
}

/// Frames under way, oldest first. Invariant: counters ascend, and all lie within [`WINDOW`] of the
/// newest.
#[derive(Debug, Clone)]
pub(crate) struct Flight {
    frames: heapless::Deque<Frame, WINDOW>,
    /// A frame is lost when one so many after it was acknowledged.
    reorder: u64,
    highest_acked: Option<u64>,
}

impl Flight {
    pub(crate) fn new() -> Self {
        Self {
            frames: heapless::Deque::new(),
            reorder: 3,
            highest_acked: None,
        }
    }

    /// Records a frame that wants an acknowledgement. There is room: see [`Flight::retire`].
    pub(crate) fn push(&mut self, counter: u64, now: Instant, parts: &[Part]) {
        let mut kept = [None; MAX_PARTS];
        for (place, &part) in kept.iter_mut().zip(parts) {
            *place = Some(part);
        }
        let frame = Frame {
            counter,
            sent_at: now,
            lost: false,
            parts: kept,
        };
        let pushed = self.frames.push_back(frame).is_ok();
        debug_assert!(pushed, "retire makes room first");
    }

    /// Whether another frame with this counter leaves every frame under way within the window.
    pub(crate) fn has_room(&self, counter: u64) -> bool {
        self.frames
            .iter()
            .find(|frame| !frame.lost)
            .is_none_or(|oldest| counter - oldest.counter < WINDOW as u64)
    }

    /// Forgets the frames that no acknowledgement can speak of once `counter` is sent, and returns
    /// those that were not given up before.
    pub(crate) fn retire(&mut self, counter: u64) -> heapless::Vec<Frame, WINDOW> {
        let mut lost = heapless::Vec::new();
        while let Some(oldest) = self.frames.front()
            && counter - oldest.counter >= WINDOW as u64
        {
            if let Some(frame) = self.frames.pop_front()
                && !frame.lost
            {
                let _ = lost.push(frame);
            }
        }
        lost
    }

    /// Gives all frames up and returns those that were not before.
    pub(crate) fn give_up(&mut self) -> heapless::Vec<Frame, WINDOW> {
        let mut lost = heapless::Vec::new();
        for frame in self.frames.iter_mut().filter(|frame| !frame.lost) {
            frame.lost = true;
            let _ = lost.push(*frame);
        }
        lost
    }

    /// Gives up all frames that were sent before `then`, and the oldest in any case.
    pub(crate) fn give_up_older(&mut self, then: Instant) -> heapless::Vec<Frame, WINDOW> {
        let mut lost = heapless::Vec::new();
        for frame in self.frames.iter_mut().filter(|frame| !frame.lost) {
            if lost.is_empty() || frame.sent_at < then {
                frame.lost = true;
                let _ = lost.push(*frame);
            }
        }
        lost
    }

    /// Takes an acknowledgement. Also returns how long the newest frame took, if it is news.
    pub(crate) fn acknowledge(
        &mut self,
        newest: u64,
        missing: u64,
        now: Instant,
    ) -> (Settled, Option<Duration>) {
        let mut settled = Settled::default();
        let mut sample = None;
        let mut kept = heapless::Deque::new();
        while let Some(frame) = self.frames.pop_front() {
            let acked = newest
                .checked_sub(frame.counter)
                .is_some_and(|back| back < WINDOW as u64 && missing >> back & 1 == 0);
            if !acked {
                let _ = kept.push_back(frame);
                continue;
            }
            if frame.lost
                && let Some(highest) = self.highest_acked
                && highest > frame.counter
            {
                // It was only late: allow for as much reordering from now on.
                self.reorder = self
                    .reorder
                    .max(highest - frame.counter + 1)
                    .min(WINDOW as u64 / 2);
            }
            sample = Some(now.since(frame.sent_at));
            self.highest_acked = self.highest_acked.max(Some(frame.counter));
            let _ = settled.acked.push(frame);
        }
        self.frames = kept;
        if let Some(highest) = self.highest_acked {
            for frame in self.frames.iter_mut().filter(|frame| !frame.lost) {
                if frame.counter + self.reorder <= highest {
                    frame.lost = true;
                    let _ = settled.lost.push(*frame);
                }
            }
        }
        (settled, sample)
    }

    /// Frames that are neither acknowledged nor given up.
    pub(crate) fn outstanding(&self) -> usize {
        self.frames.iter().filter(|frame| !frame.lost).count()
    }
}

/// How long to wait for an acknowledgement: RFC 6298 with jitter.
#[derive(Debug, Clone)]
pub(crate) struct Timer {
    smoothed: Option<u64>,
    variation: u64,
    initial: u64,
    min: u64,
    max: u64,
    /// Timeouts in a row.
    pub(crate) expired: u8,
}

impl Timer {
    pub(crate) fn new(initial: Duration, min: Duration, max: Duration) -> Self {
        Self {
            smoothed: None,
            variation: 0,
            initial: initial.as_micros(),
            min: min.as_micros(),
            max: max.as_micros(),
            expired: 0,
        }
    }

    pub(crate) fn sample(&mut self, span: Duration) {
        let span = span.as_micros();
        match self.smoothed {
            None => {
                self.smoothed = Some(span);
                self.variation = span / 2;
            }
            Some(smoothed) => {
                self.variation = (self.variation * 3 + smoothed.abs_diff(span)) / 4;
                self.smoothed = Some((smoothed * 7 + span) / 8);
            }
        }
    }

    /// The smoothed time from a frame to its acknowledgement.
    pub(crate) fn round_trip(&self) -> Duration {
        Duration::from_micros(self.smoothed.unwrap_or(self.initial))
    }

    /// The timeout now, doubled for each that ran out but the first four, with up to an eighth on top as `random` says.
    pub(crate) fn timeout(&self, random: u16) -> Duration {
        let base = match self.smoothed {
            Some(smoothed) => smoothed.saturating_add((self.variation * 4).max(self.min / 4)),
            None => self.initial,
        };
        let backed_off = base
            .max(self.min)
            .saturating_mul(1 << self.expired.saturating_sub(4).min(16))
            .min(self.max);
        Duration::from_micros(backed_off + backed_off / 8 * u64::from(random) / u64::from(u16::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(counters: core::ops::Range<u64>) -> Flight {
        let mut flight = Flight::new();
        for counter in counters {
            flight.push(counter, Instant::from_millis(counter), &[Part::Base(0)]);
        }
        flight
    }

    fn counters(frames: &[Frame]) -> heapless::Vec<u64, WINDOW> {
        frames.iter().map(|frame| frame.counter).collect()
    }

    #[test]
    fn a_frame_overtaken_by_three_is_lost_and_a_late_one_teaches_patience() {
        let mut flight = flight(0..6);
        let (settled, sample) = flight.acknowledge(3, !0b1110, Instant::from_millis(50));
        assert_eq!(counters(&settled.acked), [0, 1, 2]);
        assert!(settled.lost.is_empty());
        assert_eq!(sample, Some(Duration::from_millis(48)));
        let (settled, _) = flight.acknowledge(5, !0b1, Instant::from_millis(51));
        assert_eq!(counters(&settled.acked), [5]);
        assert!(settled.lost.is_empty(), "3 is only two behind 5");

        let mut flight = self::flight(0..12);
        let (settled, _) = flight.acknowledge(9, !0b1, Instant::from_millis(50));
        assert_eq!(counters(&settled.lost), [0, 1, 2, 3, 4, 5, 6]);
        let (settled, _) = flight.acknowledge(9, !(0b1 << 9 | 1), Instant::from_millis(50));
        assert_eq!(counters(&settled.acked), [0], "late, and still welcome");
        assert_eq!(flight.reorder, 10);
    }

    #[test]
    fn nothing_under_way_falls_out_of_the_window_unnoticed() {
        let mut flight = flight(0..64);
        assert!(!flight.has_room(64));
        assert_eq!(counters(&flight.retire(66)), [0, 1, 2]);
        assert!(flight.retire(66).is_empty());
    }

    #[test]
    fn the_timeout_follows_the_round_trip_and_backs_off() {
        let mut timer = Timer::new(
            Duration::from_secs(3),
            Duration::from_millis(100),
            Duration::from_secs(20),
        );
        assert_eq!(timer.timeout(0), Duration::from_secs(3));
        for _ in 0..50 {
            timer.sample(Duration::from_millis(400));
        }
        let settled = timer.timeout(0);
        assert!(
            settled >= Duration::from_millis(400) && settled < Duration::from_millis(500),
            "{settled:?}"
        );
        timer.expired = 6;
        assert_eq!(timer.timeout(0), settled.saturating_mul(4));
        timer.expired = 200;
        assert_eq!(timer.timeout(0), Duration::from_secs(20));
        assert!(timer.timeout(u16::MAX) <= Duration::from_micros(22_500_000));
    }
}
