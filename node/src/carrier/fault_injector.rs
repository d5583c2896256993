//! A carrier that treats what it is given as a bad radio would.

use super::Carrier;
use deltavlm_link::{
    Instant as LinkInstant,
    sim::{Channel, Faults},
};
use std::{
    io,
    time::{Duration, Instant},
};

/// Wraps a carrier and puts a radio's faults between it and the frames that are written: they are
/// delayed by the rate, lost, doubled, reordered and damaged as [`Faults`] say, by the model that
/// the link's simulator uses. What is read is left alone: wrap the other end's carrier for that.
///
/// Held-back frames move on at every call, so a program that polls its carrier needs no thread for
/// it.
pub struct FaultInjector<C> {
    inner: C,
    channel: Channel,
    started: Instant,
}

impl<C: Carrier> FaultInjector<C> {
    /// Treats what is written to `inner`; the same `seed` gives the same faults.
    pub fn new(inner: C, faults: Faults, seed: u64) -> Self {
        Self {
            inner,
            channel: Channel::new(faults, seed),
            started: Instant::now(),
        }
    }

    /// Changes the faults from now on, e.g. to end contact.
    pub fn set_faults(&mut self, faults: Faults) {
        self.channel.set_faults(faults);
    }

    fn now(&self) -> LinkInstant {
        let micros = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        LinkInstant::from_micros(micros)
    }

    /// Writes the frames whose time has come.
    fn forward(&mut self) -> io::Result<()> {
        let now = self.now();
        while let Some(frame) = self.channel.receive(now) {
            self.inner.write(&frame)?;
        }
        Ok(())
    }
}

impl<C: Carrier> Carrier for FaultInjector<C> {
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        let end = Instant::now() + timeout;
        loop {
            self.forward()?;
            let left = end.saturating_duration_since(Instant::now());
            let until_next = self.channel.next_arrival().map_or(left, |at| {
                Duration::from_micros(at.since(self.now()).as_micros())
            });
            // Waiting for bytes must not hold back a frame that is due before.
            let read = self.inner.read(buffer, left.min(until_next))?;
            if read > 0 || left.is_zero() {
                return Ok(read);
            }
        }
    }

    fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        let now = self.now();
        self.channel.send(frame, now);
        self.forward()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deltavlm_link::Duration as LinkDuration;
    use std::sync::{Arc, Mutex};

    /// Keeps what is written.
    #[derive(Default, Clone)]
    struct Sink(Arc<Mutex<Vec<Vec<u8>>>>);

    impl Carrier for Sink {
        fn read(&mut self, _: &mut [u8], timeout: Duration) -> io::Result<usize> {
            std::thread::sleep(timeout);
            Ok(0)
        }

        fn write(&mut self, frame: &[u8]) -> io::Result<()> {
            self.0.lock().unwrap().push(frame.to_vec());
            Ok(())
        }
    }

    fn pass(faults: Faults, seed: u64) -> Vec<Vec<u8>> {
        let sink = Sink::default();
        let mut carrier = FaultInjector::new(sink.clone(), faults, seed);
        for number in 0..40 {
            carrier.write(&[number; 20]).unwrap();
        }
        carrier
            .read(&mut [0; 8], Duration::from_millis(100))
            .unwrap();
        sink.0.lock().unwrap().clone()
    }

    fn fast() -> Faults {
        Faults {
            rate: 1_000_000,
            delay: LinkDuration::ZERO,
            ..Faults::default()
        }
    }

    #[test]
    fn a_good_channel_changes_nothing() {
        let sent: Vec<Vec<u8>> = (0..40).map(|number| vec![number; 20]).collect();
        assert_eq!(pass(fast(), 1), sent);
    }

    #[test]
    fn a_bad_one_loses_and_damages_the_same_frames_for_the_same_seed() {
        let faults = Faults {
            loss: 0.5,
            ber: 0.01,
            ..fast()
        };
        let came = pass(faults.clone(), 7);
        assert!((5..35).contains(&came.len()), "{} of 40 came", came.len());
        assert!(
            came.iter()
                .any(|frame| frame.iter().any(|byte| *byte != frame[0])),
            "none was damaged"
        );
        assert_eq!(pass(faults, 7), came);
    }

    #[test]
    fn frames_take_their_time_on_the_air() {
        let slow = Faults {
            rate: 1_000,
            ..fast()
        };
        // 40 frames of 20 bytes take 800 ms; after 100 ms five at most are through.
        assert!((1..=8).contains(&pass(slow, 1).len()));
    }
}
