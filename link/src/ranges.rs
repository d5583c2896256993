//! Sets of byte ranges within one message, in a few words of memory.

/// Disjoint ranges, in order, none empty and no two touching. At most `N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ranges<const N: usize> {
    spans: [(u16, u16); N],
    count: u8,
}

impl<const N: usize> Ranges<N> {
    pub(crate) const EMPTY: Self = Self {
        spans: [(0, 0); N],
        count: 0,
    };

    pub(crate) fn whole(length: u16) -> Self {
        let mut ranges = Self::EMPTY;
        ranges.insert(0, length);
        ranges
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The first range.
    pub(crate) fn first(&self) -> Option<(u16, u16)> {
        self.as_slice().first().copied()
    }

    pub(crate) fn as_slice(&self) -> &[(u16, u16)] {
        &self.spans[..usize::from(self.count)]
    }

    /// How many bytes are in the set.
    pub(crate) fn bytes(&self) -> usize {
        self.as_slice()
            .iter()
            .map(|&(start, end)| usize::from(end - start))
            .sum()
    }

    /// Whether the set is `0..length`.
    pub(crate) fn covers(&self, length: u16) -> bool {
        self.as_slice() == [(0, length)]
    }

    #[cfg(test)]
    pub(crate) fn contains(&self, start: u16, end: u16) -> bool {
        self.as_slice()
            .iter()
            .any(|&(from, to)| from <= start && end <= to)
    }

    /// Adds a range. False, and nothing changes, when that would take more than `N` ranges.
    #[must_use]
    pub(crate) fn try_insert(&mut self, start: u16, end: u16) -> bool {
        if start >= end {
            return true;
        }
        // Spans first..last touch the new one and melt into it.
        let first = self
            .as_slice()
            .iter()
            .position(|span| span.1 >= start)
            .unwrap_or(usize::from(self.count));
        let last = self
            .as_slice()
            .iter()
            .position(|span| span.0 > end)
            .unwrap_or(usize::from(self.count));
        if first == last && usize::from(self.count) == N {
            return false;
        }
        let mut merged = (start, end);
        if first < last {
            merged = (
                merged.0.min(self.spans[first].0),
                merged.1.max(self.spans[last - 1].1),
            );
        }
        self.replace(first, last, &[merged]);
        true
    }

    /// Adds a range, and where there is no room for one more, the gap to its neighbour too.
    pub(crate) fn insert(&mut self, start: u16, end: u16) {
        if self.try_insert(start, end) {
            return;
        }
        let before = self
            .as_slice()
            .iter()
            .rfind(|span| span.1 < start)
            .map(|span| span.1);
        let after = self
            .as_slice()
            .iter()
            .find(|span| span.0 > end)
            .map(|span| span.0);
        let (start, end) = match (before, after) {
            (Some(before), Some(after)) if after - end < start - before => (start, after),
            (None, Some(after)) => (start, after),
            (Some(before), _) => (before, end),
            (None, None) => (start, end),
        };
        let joined = self.try_insert(start, end);
        debug_assert!(joined, "a range that touches another takes no room");
    }

    /// Takes a range out, except where that would take more than `N` ranges.
    pub(crate) fn remove(&mut self, start: u16, end: u16) {
        let mut at = 0;
        while at < usize::from(self.count) {
            let (from, to) = self.spans[at];
            if to <= start || end <= from || start >= end {
                at += 1;
                continue;
            }
            match (from < start, end < to) {
                (true, true) => {
                    if usize::from(self.count) < N {
                        self.replace(at, at + 1, &[(from, start), (end, to)]);
                    }
                    return;
                }
                (true, false) => self.spans[at] = (from, start),
                (false, true) => self.spans[at] = (end, to),
                (false, false) => {
                    self.replace(at, at + 1, &[]);
                    continue;
                }
            }
            at += 1;
        }
    }

    /// Puts `new` in the place of the spans `first..last`; there is room for it.
    fn replace(&mut self, first: usize, last: usize, new: &[(u16, u16)]) {
        let count = usize::from(self.count);
        let kept = count - last;
        self.spans.copy_within(last..count, first + new.len());
        self.spans[first..first + new.len()].copy_from_slice(new);
        self.count = (first + new.len() + kept) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a plain set of bytes: what was inserted exactly is there exactly; what had to be
        /// rounded is never less.
        #[test]
        fn like_a_set_of_bytes(steps in proptest::collection::vec((0u8..3, 0u16..64, 0u16..20), 0..60)) {
            let mut ranges = Ranges::<4>::EMPTY;
            let mut exact = [false; 96];
            for (step, start, length) in steps {
                let end = start + length;
                let place = usize::from(start)..usize::from(end);
                match step {
                    0 => {
                        let before = ranges;
                        if ranges.try_insert(start, end) {
                            exact[place].fill(true);
                        } else {
                            prop_assert_eq!(before, ranges);
                        }
                    }
                    1 => {
                        ranges.insert(start, end);
                        exact[place].fill(true);
                    }
                    _ => {
                        ranges.remove(start, end);
                        exact[place].fill(false);
                    }
                }
                let listed = ranges.as_slice();
                prop_assert!(listed.iter().all(|span| span.0 < span.1));
                prop_assert!(listed.windows(2).all(|pair| pair[0].1 < pair[1].0));
                for (byte, &wanted) in exact.iter().enumerate() {
                    let byte = byte as u16;
                    prop_assert!(!wanted || ranges.contains(byte, byte + 1));
                }
                // Where rounding happened, go on from what the set says.
                for (byte, place) in exact.iter_mut().enumerate() {
                    *place = ranges.contains(byte as u16, byte as u16 + 1);
                }
            }
        }
    }

    #[test]
    fn exact_as_long_as_there_is_room() {
        let mut ranges = Ranges::<4>::whole(100);
        ranges.remove(10, 20);
        ranges.remove(50, 60);
        assert_eq!(ranges.as_slice(), [(0, 10), (20, 50), (60, 100)]);
        assert_eq!(ranges.bytes(), 80);
        assert!(ranges.try_insert(10, 20) && ranges.try_insert(50, 60));
        assert!(ranges.covers(100));
    }
}
