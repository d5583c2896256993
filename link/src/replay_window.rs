//! Which frames of the peer came: refuses replays and says what to acknowledge.

/// A floor in storage runs at most this far ahead of the newest counter accepted, and an end that
/// starts leaves this many counters out.
pub(crate) const REPLAY_FLOOR_BLOCK: u64 = 64;

/// How many frames back a frame may still come.
pub(crate) const WINDOW: u64 = 64;

/// The counters of the peer's frames.
#[derive(Debug, Clone)]
pub(crate) struct ReplayWindow {
    /// No counter below this is accepted; what storage said at the start.
    floor: u64,
    /// One above the newest counter accepted, or the floor when there is none.
    next: u64,
    /// Bit `n`: the frame `next - 1 - n` came.
    seen: u64,
    /// The same for frames whose content was taken.
    taken: u64,
    /// What storage holds: always above the newest counter accepted.
    stored: u64,
}

impl ReplayWindow {
    pub(crate) fn new(stored: u64) -> Self {
        Self {
            floor: stored,
            next: stored,
            seen: 0,
            taken: 0,
            stored,
        }
    }

    /// The counter that should come next.
    pub(crate) fn expected(&self) -> u64 {
        self.next
    }

    pub(crate) fn replay_floor(&self) -> u64 {
        self.floor
    }

    /// Whether a frame with this counter is new.
    pub(crate) fn is_new(&self, counter: u64) -> bool {
        if counter < self.floor {
            return false;
        }
        if counter >= self.next {
            return true;
        }
        let back = self.next - 1 - counter;
        back < WINDOW && self.seen >> back & 1 == 0
    }

    /// The value that must be in storage before the frame is accepted, if it is not there yet.
    pub(crate) fn must_store(&self, counter: u64) -> Option<u64> {
        (counter >= self.stored).then(|| counter.saturating_add(REPLAY_FLOOR_BLOCK))
    }

    pub(crate) fn stored(&mut self, value: u64) {
        self.stored = value;
    }

    /// Accepts a new frame.
    pub(crate) fn accept(&mut self, counter: u64) {
        if counter >= self.next {
            let ahead = counter - self.next + 1;
            self.seen = self.seen.checked_shl(ahead.min(64) as u32).unwrap_or(0);
            self.taken = self.taken.checked_shl(ahead.min(64) as u32).unwrap_or(0);
            self.next = counter + 1;
        }
        self.seen |= 1 << (self.next - 1 - counter);
    }

    /// Says that the content of an accepted frame was taken.
    pub(crate) fn take(&mut self, counter: u64) {
        let back = self.next - 1 - counter;
        if back < WINDOW {
            self.taken |= 1 << back;
        }
    }

    /// The newest frame, and which of it and the 63 before it were not taken.
    pub(crate) fn acknowledgement(&self) -> (u64, u64) {
        (self.next.wrapping_sub(1), !self.taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_is_new_once() {
        let mut received = ReplayWindow::new(10);
        assert!(!received.is_new(9));
        for counter in [10, 12, 11, 80, 17, 18] {
            assert!(received.is_new(counter), "{counter}");
            received.accept(counter);
            assert!(!received.is_new(counter), "{counter}");
        }
        assert!(
            !received.is_new(16),
            "64 behind the newest is too old to tell"
        );
    }

    #[test]
    fn only_taken_frames_are_acknowledged() {
        let mut received = ReplayWindow::new(0);
        for counter in [0, 1, 3] {
            received.accept(counter);
        }
        received.take(0);
        received.take(3);
        assert_eq!(received.acknowledgement(), (3, !0b1001));
    }

    #[test]
    fn storage_is_always_ahead() {
        let mut received = ReplayWindow::new(0);
        assert_eq!(received.must_store(0), Some(REPLAY_FLOOR_BLOCK));
        received.stored(REPLAY_FLOOR_BLOCK);
        received.accept(0);
        assert_eq!(received.must_store(REPLAY_FLOOR_BLOCK - 1), None);
        assert_eq!(
            received.must_store(REPLAY_FLOOR_BLOCK),
            Some(2 * REPLAY_FLOOR_BLOCK)
        );
    }
}
