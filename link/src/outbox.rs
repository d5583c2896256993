//! Messages on their way out: which bytes of which are still to be sent.
//!
//! The bytes themselves stay in storage; here is only what is known about them.

use crate::{
    chunk::{CANCEL_BYTES, FRAGMENT_HEAD, MESSAGE_HEAD},
    class::Class,
    id::MessageId,
    ranges::Ranges,
    reject_reason::RejectReason,
    time::Instant,
};

/// Messages that can wait at once.
pub const OUTBOX: usize = 80;

/// Sequence numbers that may be under way at once in each class.
pub(crate) const SEQUENCES: u32 = 64;

/// How many messages of each class may be half sent: the peer has as many places to put them
/// together.
pub(crate) const HALF_SENT: [u8; 5] = [1, 1, 1, 1, 2];

/// Places that messages of each class leave free for others.
const RESERVED: [usize; 5] = [0, 8, 4, 24, 40];

/// A fragment is not worth a frame of its own below this many bytes.
const MIN_FRAGMENT: usize = 16;

/// How a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Delivered,
    Rejected(RejectReason),
    Expired,
    Superseded,
    /// As often as asked for, to a peer that cannot answer.
    Sent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Bytes are still to be sent or to be acknowledged.
    Open,
    /// The peer is still to be told that it will never come.
    Cancelled { outcome: Outcome, due: bool },
    /// Over; the application is still to be told.
    Done(Outcome),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) id: MessageId,
    pub(crate) kind: u8,
    pub(crate) length: u16,
    /// Tells this message from others that were in the same slot.
    pub(crate) stamp: u16,
    pub(crate) state: State,
    pub(crate) expires: Instant,
    /// Neither acknowledged nor under way.
    pub(crate) to_send: Ranges<4>,
    pub(crate) acked: Ranges<4>,
    /// Part of it was sent.
    started: bool,
    /// How often it is still to be sent whole; only where nothing is acknowledged.
    pub(crate) repeats: u8,
}

/// What to put into a frame next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Cancel { slot: u8 },
    Whole { slot: u8 },
    Fragment { slot: u8, start: u16, end: u16 },
}

#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    slots: [Option<Slot>; OUTBOX],
    stamp: u16,
    /// How often each class was passed over while it had something to send.
    skipped: [u8; 5],
    max_skips: [u8; 5],
}

impl Outbox {
    pub(crate) fn new(max_skips: [u8; 5]) -> Self {
        Self {
            slots: [None; OUTBOX],
            stamp: 0,
            skipped: [0; 5],
            max_skips,
        }
    }

    /// Whether a message of the class may come in: the less urgent leave room for the more urgent.
    pub(crate) fn has_room(&self, class: Class) -> bool {
        let free = self.slots.iter().filter(|slot| slot.is_none()).count();
        free > RESERVED[class.index()]
    }

    /// Takes a message in. There is room.
    pub(crate) fn insert(
        &mut self,
        id: MessageId,
        kind: u8,
        length: u16,
        expires: Instant,
        repeats: u8,
    ) {
        self.stamp = self.stamp.wrapping_add(1);
        let slot = Slot {
            id,
            kind,
            length,
            stamp: self.stamp,
            state: State::Open,
            expires,
            to_send: Ranges::whole(length),
            acked: Ranges::EMPTY,
            started: false,
            repeats,
        };
        if let Some(place) = self.slots.iter_mut().find(|place| place.is_none()) {
            *place = Some(slot);
        }
    }

    pub(crate) fn get(&self, slot: u8) -> Option<&Slot> {
        self.slots.get(usize::from(slot))?.as_ref()
    }

    /// The slot, if the message in it is still the same.
    pub(crate) fn stamped(&mut self, slot: u8, stamp: u16) -> Option<&mut Slot> {
        self.slots
            .get_mut(usize::from(slot))?
            .as_mut()
            .filter(|slot| slot.stamp == stamp)
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().flatten()
    }

    pub(crate) fn slots_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.slots.iter_mut().flatten()
    }

    pub(crate) fn find(&mut self, id: MessageId) -> Option<&mut Slot> {
        self.slots_mut().find(|slot| slot.id == id)
    }

    /// A message that has waited longer than it may.
    pub(crate) fn expired(&self, now: Instant) -> Option<MessageId> {
        self.slots()
            .find(|slot| slot.state == State::Open && slot.expires <= now)
            .map(|slot| slot.id)
    }

    /// Messages of the class that are not done with: the lowest sequence number.
    pub(crate) fn lowest(&self, class: Class) -> Option<u32> {
        self.slots()
            .filter(|slot| slot.id.class == class && !matches!(slot.state, State::Done(_)))
            .map(|slot| slot.id.sequence)
            .min()
    }

    /// Removes a message that is over and returns it.
    pub(crate) fn take_done(&mut self) -> Option<(MessageId, Outcome)> {
        self.slots.iter_mut().find_map(|place| match place {
            Some(Slot {
                id,
                state: State::Done(outcome),
                ..
            }) => {
                let done = (*id, *outcome);
                *place = None;
                Some(done)
            }
            _ => None,
        })
    }

    /// Counts a message as sent once more, if no byte of it is left to send, and returns it when it
    /// was the last time. Only where nothing is acknowledged.
    pub(crate) fn sent_once(&mut self, slot: u8) -> Option<MessageId> {
        let slot = self
            .slots
            .get_mut(usize::from(slot))?
            .as_mut()
            .filter(|slot| slot.to_send.is_empty())?;
        slot.started = false;
        slot.repeats = slot.repeats.saturating_sub(1);
        (slot.repeats == 0).then_some(slot.id)
    }

    /// Whether messages are to be sent again.
    pub(crate) fn has_repeats(&self) -> bool {
        self.slots()
            .any(|slot| slot.state == State::Open && slot.repeats > 0)
    }

    /// Queues all messages again that are to be sent again.
    pub(crate) fn repeat(&mut self) {
        for slot in self
            .slots_mut()
            .filter(|slot| slot.state == State::Open && slot.repeats > 0)
        {
            slot.to_send = Ranges::whole(slot.length);
        }
    }

    /// The peer forgot the parts it had: all that is not under way is to be sent again.
    pub(crate) fn forget_progress(&mut self) {
        for slot in self.slots_mut().filter(|slot| slot.state == State::Open) {
            for &(start, end) in slot.acked.as_slice() {
                slot.to_send.insert(start, end);
            }
            slot.acked = Ranges::EMPTY;
        }
    }

    /// Bytes waiting that are at least as urgent as `class`.
    pub(crate) fn bytes_ahead(&self, class: Class) -> usize {
        self.slots()
            .filter(|slot| slot.state == State::Open && slot.id.class <= class)
            .map(|slot| slot.to_send.bytes() + MESSAGE_HEAD)
            .sum()
    }

    /// Messages that are not over.
    pub(crate) fn waiting(&self) -> usize {
        self.slots()
            .filter(|slot| !matches!(slot.state, State::Done(_)))
            .count()
    }

    /// What to send next where `room` bytes are left of a frame that could hold `capacity`.
    ///
    /// The most urgent class comes first, except that a class that was passed over as often as its
    /// max_skips says gets its turn.
    pub(crate) fn next(&mut self, room: usize, capacity: usize) -> Option<Next> {
        let ready = self.candidates(room, capacity);
        let starved = (1..5).find(|&class| {
            ready[class].is_some() && self.skipped[class] >= self.max_skips[class].max(1)
        });
        let chosen = starved.or_else(|| ready.iter().position(Option::is_some))?;
        for (class, next) in ready.iter().enumerate() {
            if class == chosen {
                self.skipped[class] = 0;
            } else if next.is_some() && class > chosen {
                self.skipped[class] = self.skipped[class].saturating_add(1);
            }
        }
        if let Some(Next::Fragment { slot, .. }) = ready[chosen]
            && let Some(slot) = &mut self.slots[usize::from(slot)]
        {
            slot.started = true;
        }
        ready[chosen]
    }

    /// Whether anything could be put into an empty frame of `room` bytes.
    pub(crate) fn is_ready(&self, room: usize, capacity: usize) -> bool {
        self.candidates(room, capacity).iter().any(Option::is_some)
    }

    /// What each class would send next: of its messages, the one with the lowest number that can.
    fn candidates(&self, room: usize, capacity: usize) -> [Option<Next>; 5] {
        let mut lowest = [u32::MAX; 5];
        let mut half_sent = [0; 5];
        for slot in self
            .slots()
            .filter(|slot| !matches!(slot.state, State::Done(_)))
        {
            let class = slot.id.class.index();
            lowest[class] = slot.id.sequence.min(lowest[class]);
            half_sent[class] += u8::from(slot.started);
        }
        let mut best: [Option<(u32, Next)>; 5] = [None; 5];
        for (index, slot) in self.slots.iter().enumerate() {
            let Some(slot) = slot else { continue };
            let (class, sequence) = (slot.id.class.index(), slot.id.sequence);
            if sequence.saturating_sub(lowest[class]) >= SEQUENCES
                || best[class].is_some_and(|(found, _)| found < sequence)
            {
                continue;
            }
            let may_start = half_sent[class] < HALF_SENT[class];
            if let Some(next) = slot.next(index as u8, may_start, room, capacity) {
                best[class] = Some((sequence, next));
            }
        }
        best.map(|best| best.map(|(_, next)| next))
    }
}

impl Slot {
    /// What this message would send where `room` bytes are left of a frame that could hold
    /// `capacity`.
    fn next(&self, slot: u8, may_start: bool, room: usize, capacity: usize) -> Option<Next> {
        match self.state {
            State::Cancelled { due: true, .. } if room >= CANCEL_BYTES => {
                Some(Next::Cancel { slot })
            }
            State::Open => {
                let (start, end) = self.to_send.first()?;
                let whole = usize::from(self.length) + MESSAGE_HEAD;
                if whole <= capacity && !self.started {
                    return (whole <= room).then_some(Next::Whole { slot });
                }
                let room = room.saturating_sub(FRAGMENT_HEAD);
                let wanted = usize::from(end - start);
                let worthwhile = wanted.min(MIN_FRAGMENT).min(capacity - FRAGMENT_HEAD);
                let allowed = (self.started || may_start) && room >= worthwhile;
                allowed.then_some(Next::Fragment {
                    slot,
                    start,
                    end: start + wanted.min(room) as u16,
                })
            }
            _ => None,
        }
    }
}
