//! Messages on their way in: which are done with, which are half there, which wait to be taken.

use crate::{
    MAX_MESSAGE,
    class::Class,
    frame::nearest,
    id::MessageId,
    outbox::{HALF_SENT, SEQUENCES},
    ranges::Ranges,
    storage::Value,
};

/// Complete messages that can wait for the application at once.
pub const INBOX: usize = 32;

/// Messages that can be half there at once.
const PARTIALS: usize = {
    let mut sum = 0;
    let mut class = 0;
    while class < HALF_SENT.len() {
        sum += HALF_SENT[class] as usize;
        class += 1;
    }
    sum
};

/// Which sequence numbers of a class are done with: the duplicate window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Window {
    /// All below are done with; this one is not.
    base: u32,
    /// Bit `n`: `base + n` is done with. Bit 0 is never set.
    above: u64,
}

impl Window {
    pub(crate) fn from_value(value: Value) -> Self {
        let [b0, b1, b2, b3, above @ ..] = value;
        let mut window = Self {
            base: u32::from_le_bytes([b0, b1, b2, b3]),
            above: u64::from_le_bytes(above),
        };
        window.slide();
        window
    }

    pub(crate) fn to_value(self) -> Value {
        let mut value = [0; 12];
        value[..4].copy_from_slice(&self.base.to_le_bytes());
        value[4..].copy_from_slice(&self.above.to_le_bytes());
        value
    }

    /// The whole number of which the peer sent the low half.
    pub(crate) fn expand(&self, sequence: u16) -> u32 {
        nearest(u64::from(self.base) + u64::from(SEQUENCES / 2), sequence) as u32
    }

    pub(crate) fn contains(&self, sequence: u32) -> bool {
        match sequence.checked_sub(self.base) {
            None => true,
            Some(ahead) => ahead < SEQUENCES && self.above >> ahead & 1 == 1,
        }
    }

    /// Whether the number is so far ahead that the window would have to leave others behind.
    pub(crate) fn is_beyond(&self, sequence: u32) -> bool {
        sequence
            .checked_sub(self.base)
            .is_some_and(|ahead| ahead >= SEQUENCES)
    }

    pub(crate) fn insert(&mut self, sequence: u32) {
        if let Some(ahead) = sequence.checked_sub(self.base)
            && ahead < SEQUENCES
        {
            self.above |= 1 << ahead;
            self.slide();
        }
    }

    /// Everything below `base` is done with.
    pub(crate) fn advance(&mut self, base: u32) {
        if let Some(ahead) = base.checked_sub(self.base) {
            self.above = self.above.checked_shr(ahead).unwrap_or(0);
            self.base = base;
            self.slide();
        }
    }

    fn slide(&mut self) {
        let done = self.above.trailing_ones();
        self.above = self.above.checked_shr(done).unwrap_or(0);
        self.base = self.base.saturating_add(done);
    }
}

/// A complete message in storage.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting {
    pub(crate) id: MessageId,
    /// The application has seen it and did not say yet that it is done with it.
    pub(crate) shown: bool,
    /// It came before the last start.
    pub(crate) redelivered: bool,
}

/// A message of which parts came.
#[derive(Debug, Clone)]
pub(crate) struct Partial {
    pub(crate) id: MessageId,
    pub(crate) kind: u8,
    /// Known once the last part came.
    length: Option<u16>,
    have: Ranges<8>,
    /// The peer has forgotten that parts of it were acknowledged, so it may be dropped.
    stale: bool,
    bytes: [u8; MAX_MESSAGE],
}

impl Partial {
    /// The body, once all of it is there.
    pub(crate) fn complete(&self) -> Option<&[u8]> {
        let length = self.length?;
        self.have
            .covers(length)
            .then(|| &self.bytes[..usize::from(length)])
    }
}

/// What became of a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placed {
    /// More is to come.
    Incomplete,
    /// The message in this place is complete.
    Complete(usize),
    /// There is no place for it now.
    NoPlace,
    /// It contradicts what came before, or is longer than any message.
    Contradiction,
    TooLarge,
}

#[derive(Debug, Clone)]
pub(crate) struct Inbox {
    pub(crate) windows: [Window; 5],
    pub(crate) waiting: heapless::Vec<Waiting, INBOX>,
    partials: [Option<Partial>; PARTIALS],
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            windows: [Window::default(); 5],
            waiting: heapless::Vec::new(),
            partials: [const { None }; PARTIALS],
        }
    }

    pub(crate) fn window(&mut self, class: Class) -> &mut Window {
        &mut self.windows[class.index()]
    }

    pub(crate) fn partial(&self, place: usize) -> Option<&Partial> {
        self.partials[place].as_ref()
    }

    pub(crate) fn drop_partial(&mut self, id: MessageId) {
        for place in &mut self.partials {
            if place.as_ref().is_some_and(|partial| partial.id == id) {
                *place = None;
            }
        }
    }

    /// Takes the last part of a complete message out again, because it could not be stored.
    pub(crate) fn reopen(&mut self, place: usize, offset: u16, length: usize) {
        if let Some(partial) = &mut self.partials[place] {
            partial.have.remove(offset, offset + length as u16);
        }
    }

    /// Makes room where nothing can be asked for again.
    pub(crate) fn drop_oldest_partial(&mut self) {
        let oldest = self
            .partials
            .iter()
            .flatten()
            .map(|partial| partial.id)
            .min_by_key(|id| id.sequence);
        if let Some(id) = oldest {
            self.drop_partial(id);
        }
    }

    /// Drops what will never be completed, because the class has gone past it.
    pub(crate) fn drop_settled_partials(&mut self) {
        for place in &mut self.partials {
            if let Some(partial) = place
                && self.windows[partial.id.class.index()].contains(partial.id.sequence)
            {
                *place = None;
            }
        }
    }

    /// The peer started again.
    pub(crate) fn peer_started(&mut self) {
        self.partials
            .iter_mut()
            .flatten()
            .for_each(|partial| partial.stale = true);
    }

    /// The peer's numbers mean other messages than before.
    pub(crate) fn peer_replaced(&mut self) {
        self.partials = [const { None }; PARTIALS];
        self.windows = [Window::default(); 5];
    }

    /// Puts a part of a message where it belongs.
    pub(crate) fn place(
        &mut self,
        id: MessageId,
        kind: u8,
        offset: u16,
        last: bool,
        part: &[u8],
    ) -> Placed {
        let start = usize::from(offset);
        let end = start + part.len();
        if end > MAX_MESSAGE {
            return Placed::TooLarge;
        }
        if part.is_empty() {
            return Placed::Contradiction;
        }
        let Some(place) = self.place_for(id, kind) else {
            return Placed::NoPlace;
        };
        let Some(partial) = &mut self.partials[place] else {
            return Placed::NoPlace;
        };
        let (from, to) = (offset, end as u16);
        let fits = match partial.length {
            Some(length) => to <= length && (!last || to == length),
            None => {
                !last
                    || partial
                        .have
                        .as_slice()
                        .last()
                        .is_none_or(|span| span.1 <= to)
            }
        };
        if partial.kind != kind || !fits {
            return Placed::Contradiction;
        }
        if !partial.have.try_insert(from, to) {
            return Placed::NoPlace;
        }
        if last {
            partial.length = Some(to);
        }
        partial.stale = false;
        partial.bytes[start..end].copy_from_slice(part);
        if partial.complete().is_some() {
            Placed::Complete(place)
        } else {
            Placed::Incomplete
        }
    }

    /// The place of the message: its own, a free one, or one that may be dropped.
    fn place_for(&mut self, id: MessageId, kind: u8) -> Option<usize> {
        let is_free = |place: &Option<Partial>| place.is_none();
        let is_stale =
            |place: &Option<Partial>| place.as_ref().is_some_and(|partial| partial.stale);
        let own = self
            .partials
            .iter()
            .position(|place| place.as_ref().is_some_and(|partial| partial.id == id));
        own.or_else(|| {
            let place = self
                .partials
                .iter()
                .position(is_free)
                .or_else(|| self.partials.iter().position(is_stale))?;
            self.partials[place] = Some(Partial {
                id,
                kind,
                length: None,
                have: Ranges::EMPTY,
                stale: false,
                bytes: [0; MAX_MESSAGE],
            });
            Some(place)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_slides_over_what_is_done() {
        let mut window = Window::default();
        for sequence in [0, 2, 3, 63] {
            assert!(!window.contains(sequence));
            window.insert(sequence);
            assert!(window.contains(sequence));
        }
        assert_eq!(window.base, 1);
        assert!(window.is_beyond(65) && !window.is_beyond(64));
        window.insert(1);
        assert_eq!(window.base, 4);
        assert_eq!(Window::from_value(window.to_value()), window);
        window.advance(1000);
        assert_eq!(
            window,
            Window {
                base: 1000,
                above: 0
            }
        );
    }

    #[test]
    fn the_low_half_of_a_number_is_enough() {
        let mut window = Window::default();
        window.advance(0x1_FFF0);
        for sequence in [0x1_FFF0u32, 0x2_0005, 0x1_FF00] {
            assert_eq!(window.expand(sequence as u16), sequence);
        }
    }

    #[test]
    fn parts_that_contradict_each_other_are_refused() {
        let id = MessageId {
            class: Class::Bulk,
            sequence: 0,
        };
        let mut inbox = Inbox::new();
        assert_eq!(inbox.place(id, 40, 10, true, b"tail"), Placed::Incomplete);
        assert_eq!(
            inbox.place(id, 40, 12, true, b"tail"),
            Placed::Contradiction,
            "two ends"
        );
        assert_eq!(
            inbox.place(id, 40, 14, false, b"x"),
            Placed::Contradiction,
            "behind the end"
        );
        assert_eq!(
            inbox.place(id, 41, 0, false, b"0123456789"),
            Placed::Contradiction,
            "two kinds"
        );
        assert_eq!(inbox.place(id, 40, 1020, false, b"01234"), Placed::TooLarge);
        assert_eq!(
            inbox.place(id, 40, 0, false, b"0123456789"),
            Placed::Complete(0)
        );
        assert_eq!(
            inbox.partial(0).unwrap().complete(),
            Some(&b"0123456789tail"[..])
        );
    }
}
