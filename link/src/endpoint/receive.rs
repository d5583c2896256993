//! The receiving half: bytes to frames, frames to chunks, chunks to messages.

use super::{Endpoint, Event8, Link, MessageId, Repair, identity_register};
use crate::{
    chunk::{Chunk, Chunks, Hello},
    config::{Mode, Role},
    counters::Counters,
    flight::{Frame, Part},
    frame::{FrameError, Head, MAX_MTU, nearest, open},
    inbox::{Placed, Waiting, Window},
    message::{Class, DecodeError, Kind, Message, RefusalReason, class_of_kind},
    outbox::{Outcome, State},
    storage::{Direction, Key, Register, Storage, StorageError},
    time::Instant,
};

/// A greeting may move the peer's counter ahead by at most this much.
const MAX_JUMP: u64 = 1 << 40;
/// A floor may move this end's counter ahead by at most this much.
const MAX_FLOOR_JUMP: u64 = 1 << 32;

const MINUTE: u64 = 60_000_000;

/// Whether the content of a chunk is now this end's responsibility.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Yes,
    /// It must come again.
    No,
}

impl<S: Storage> Endpoint<S> {
    /// Takes bytes from the carrier, in any portions.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) {
        let now = self.clock.read(now);
        for &byte in bytes {
            self.counters.bytes_received = self.counters.bytes_received.saturating_add(1);
            match self.deframer.push(byte) {
                None => {}
                Some(Err(error)) => self.counters.frame_error(error),
                Some(Ok(stuffed)) => {
                    let mut block = [0; MAX_MTU];
                    let block = &mut block[..stuffed.len()];
                    block.copy_from_slice(stuffed);
                    self.receive_frame(block, now);
                }
            }
        }
    }

    fn receive_frame(&mut self, block: &mut [u8], now: Instant) {
        let config = &self.config;
        let opened = open(block, config.role, config.receiving(), &config.keys, self.received.expected());
        let (head, payload) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                if matches!(error, FrameError::Unprotected | FrameError::UnknownKey) {
                    self.denial_due = true;
                }
                self.counters.frame_error(error);
                return;
            }
        };
        if self.admit(head) {
            self.heard(now);
            self.receive_payload(head, payload, now);
        }
    }

    /// Refuses replays, and keeps storage ahead of what is accepted.
    fn admit(&mut self, head: Head) -> bool {
        let counter = head.counter;
        let expected = self.received.expected();
        if counter >= 1 << 62 || (expected > 0 && counter > expected + MAX_JUMP) {
            Counters::count(&mut self.counters.nonsense);
            return false;
        }
        if !self.received.is_new(counter) {
            self.counters.frame_error(FrameError::Replayed);
            // An honest peer may not know how far this end's floor was moved by a start.
            self.floor_due |= counter < self.received.floor();
            return false;
        }
        if let Some(floor) = self.received.must_store(counter) {
            let stored = self.storage.set(Register::ReceiveFloor, super::register(floor));
            if self.storage_result(stored).is_none() {
                return false;
            }
            self.received.stored(floor);
        }
        self.received.accept(counter);
        Counters::count(&mut self.counters.frames_received);
        true
    }

    fn heard(&mut self, now: Instant) {
        self.timer.expired = 0;
        self.credit = None;
        if self.link == Link::Parked && self.config.mode == Mode::Duplex {
            self.link = Link::Up;
            self.notice(Event8::LinkUp);
            for frame in self.flight.give_up() {
                self.requeue(frame);
            }
            self.timeout_at = now;
        }
    }

    fn receive_payload(&mut self, head: Head, payload: &[u8], now: Instant) {
        if let Repair::Ground(decoder) = &mut self.repair
            && !matches!(Chunks(payload).next(), Some(Ok(Chunk::Repair(_))))
        {
            decoder.add(head.counter, payload);
        }
        let mut taken = Taken::Yes;
        let mut wants_answer = false;
        for chunk in Chunks(payload) {
            let Ok(chunk) = chunk else {
                Counters::count(&mut self.counters.malformed_chunks);
                taken = Taken::No;
                break;
            };
            wants_answer |= !matches!(chunk, Chunk::Ack { .. } | Chunk::Reject { .. } | Chunk::Denial(_) | Chunk::Unknown);
            if self.receive_chunk(head, chunk, now) == Taken::No {
                taken = Taken::No;
            }
        }
        if taken == Taken::Yes {
            self.received.take(head.counter);
        }
        if wants_answer && self.config.mode == Mode::Duplex {
            if self.unacknowledged == 0 {
                self.acknowledge_at = now + self.config.ack_delay;
            }
            self.unacknowledged = self.unacknowledged.saturating_add(1);
        }
    }

    fn receive_chunk(&mut self, head: Head, chunk: Chunk<'_>, now: Instant) -> Taken {
        match chunk {
            Chunk::Hello(hello) => return self.receive_hello(head, hello),
            Chunk::Floor(floor) => self.receive_floor(floor),
            Chunk::Ack { newest, missing } => self.receive_ack(head.counter, newest, missing, now),
            Chunk::Reject { class, sequence, reason } => self.receive_reject(class, sequence, reason),
            Chunk::Denial(reason) => {
                if let Some(reason) = RefusalReason::from_number(reason) {
                    self.notice(Event8::Denied(reason));
                }
            }
            Chunk::Cancel { class, sequence } => {
                let sequence = self.inbox.window(class).expand(sequence);
                return self.skip(MessageId { class, sequence });
            }
            Chunk::Base { class, sequence } => return self.receive_base(class, sequence),
            Chunk::Repair(repair) => self.receive_repair(head, repair, now),
            Chunk::Message { kind, sequence, body } => {
                let class = class_of_kind(kind);
                let sequence = self.inbox.window(class).expand(sequence);
                return self.receive_message(MessageId { class, sequence }, kind, body, now);
            }
            Chunk::Fragment { kind, sequence, offset, last, part } => {
                let class = class_of_kind(kind);
                let sequence = self.inbox.window(class).expand(sequence);
                return self.receive_fragment(MessageId { class, sequence }, kind, (offset, last, part), now);
            }
            Chunk::Unknown => Counters::count(&mut self.counters.unknown_chunks),
        }
        Taken::Yes
    }

    fn receive_repair(&mut self, head: Head, repair: crate::chunk::Repair<'_>, now: Instant) {
        let Repair::Ground(decoder) = &mut self.repair else { return };
        let first = nearest(head.counter, repair.first);
        if first >= head.counter {
            Counters::count(&mut self.counters.nonsense);
            return;
        }
        for (counter, payload) in decoder.repair(first, repair.group, repair.index, repair.data) {
            if self.received.is_new(counter) {
                Counters::count(&mut self.counters.frames_repaired);
                self.received.accept(counter);
                self.receive_payload(Head { counter, ..head }, &payload, now);
            }
        }
    }

    fn receive_hello(&mut self, head: Head, hello: Hello) -> Taken {
        let counter = head.counter;
        if counter < self.peer_start_counter {
            // An earlier start of the peer, overtaken by its successor.
            return Taken::Yes;
        }
        if hello.storage != self.peer_identity {
            if self.peer_identity != 0 {
                self.inbox.peer_replaced();
                for class in Class::ALL {
                    let stored = self.storage.set(Register::Settled(class), Window::default().to_value());
                    if self.storage_result(stored).is_none() {
                        return Taken::No;
                    }
                }
            }
            let value = identity_register(self.identity, hello.storage, self.starts);
            let stored = self.storage.set(Register::Identity, value);
            if self.storage_result(stored).is_none() {
                return Taken::No;
            }
            self.peer_identity = hello.storage;
            self.base_due = [true; 5];
        }
        if hello.start != self.peer_start {
            if self.peer_start != 0 {
                self.notice(Event8::PeerStarted);
            }
            self.peer_start = hello.start;
            self.peer_start_counter = counter;
            self.inbox.peer_started();
            self.outbox.forget_progress();
        }
        // A peer greets as long as it does not know that this end knows of its start.
        self.hello_due |= head.greeting || hello.echo != self.start;
        self.introduced |= hello.echo == self.start;
        Taken::Yes
    }

    fn receive_floor(&mut self, floor: u64) {
        let Some(jump) = floor.checked_sub(self.next_counter) else { return };
        if jump > MAX_FLOOR_JUMP {
            Counters::count(&mut self.counters.nonsense);
        } else if jump > 0 {
            self.next_counter = floor;
            for frame in self.flight.give_up() {
                self.requeue(frame);
            }
        }
    }

    fn receive_ack(&mut self, counter: u64, newest: u16, missing: u64, now: Instant) {
        if counter < self.peer_start_counter {
            // From an earlier start of the peer, which has forgotten the parts it acknowledged.
            return;
        }
        let newest = nearest(self.next_counter, newest);
        if newest >= self.next_counter {
            Counters::count(&mut self.counters.nonsense);
            return;
        }
        let (settled, sample) = self.flight.acknowledge(newest, missing, now);
        if let Some(sample) = sample {
            self.timer.sample(sample);
            self.timeout_at = now + self.timeout();
        }
        for frame in &settled.acked {
            self.acknowledged(*frame);
        }
        self.delivery.count(settled.acked.len(), settled.lost.len());
        for frame in settled.lost {
            self.requeue(frame);
        }
    }

    fn acknowledged(&mut self, frame: Frame) {
        for part in frame.parts() {
            match part {
                Part::Body { slot, stamp, start, end } => {
                    let Some(slot) = self.outbox.stamped(slot, stamp) else { continue };
                    if slot.state != State::Open {
                        continue;
                    }
                    if slot.acked.try_insert(start, end) {
                        slot.to_send.remove(start, end);
                    } else {
                        slot.to_send.insert(start, end);
                    }
                    let id = slot.id;
                    if slot.acked.covers(slot.length) {
                        self.finish(id, Outcome::Delivered);
                    }
                }
                Part::Cancel { slot, stamp } => {
                    let Some(slot) = self.outbox.stamped(slot, stamp) else { continue };
                    if let State::Cancelled { outcome, .. } = slot.state {
                        let id = slot.id;
                        self.finish(id, outcome);
                    }
                }
                Part::Base(_) => {}
            }
        }
    }

    /// Queues again what a lost frame carried.
    pub(super) fn requeue(&mut self, frame: Frame) {
        Counters::count(&mut self.counters.frames_lost);
        if frame.parts().any(|part| matches!(part, Part::Body { .. })) {
            Counters::count(&mut self.counters.frames_resent);
        }
        for part in frame.parts() {
            match part {
                Part::Body { slot, stamp, start, end } => {
                    if let Some(slot) = self.outbox.stamped(slot, stamp) {
                        slot.to_send.insert(start, end);
                        let acked = slot.acked;
                        acked.as_slice().iter().for_each(|&(from, to)| slot.to_send.remove(from, to));
                    }
                }
                Part::Cancel { slot, stamp } => {
                    if let Some(slot) = self.outbox.stamped(slot, stamp)
                        && let State::Cancelled { due, .. } = &mut slot.state
                    {
                        *due = true;
                    }
                }
                Part::Base(class) => self.base_due[usize::from(class)] = true,
            }
        }
    }

    fn receive_reject(&mut self, class: Class, sequence: u16, reason: u8) {
        let reason = RefusalReason::from_number(reason).unwrap_or(RefusalReason::Failed);
        let slot = self
            .outbox
            .slots_mut()
            .find(|slot| slot.id.class == class && slot.id.sequence as u16 == sequence && slot.state == State::Open);
        match slot {
            Some(slot) => slot.state = State::Cancelled { outcome: Outcome::Refused(reason), due: true },
            None => Counters::count(&mut self.counters.nonsense),
        }
    }

    fn receive_base(&mut self, class: Class, base: u32) -> Taken {
        let mut window = *self.inbox.window(class);
        window.advance(base);
        self.store_window(class, window)
    }

    /// Marks a message that will never come, or that is of no use, as done with.
    fn skip(&mut self, id: MessageId) -> Taken {
        let mut window = *self.inbox.window(id.class);
        if window.is_beyond(id.sequence) {
            return Taken::No;
        }
        window.insert(id.sequence);
        self.store_window(id.class, window)
    }

    fn store_window(&mut self, class: Class, window: Window) -> Taken {
        if window == *self.inbox.window(class) {
            return Taken::Yes;
        }
        let stored = self.storage.set(Register::Settled(class), window.to_value());
        if self.storage_result(stored).is_none() {
            return Taken::No;
        }
        *self.inbox.window(class) = window;
        self.inbox.drop_settled_partials();
        Taken::Yes
    }

    fn receive_fragment(&mut self, id: MessageId, kind: u8, part: (u16, bool, &[u8]), now: Instant) -> Taken {
        if self.inbox.window(id.class).contains(id.sequence) {
            Counters::count(&mut self.counters.duplicates);
            return Taken::Yes;
        }
        if !self.make_room(id) {
            return Taken::No;
        }
        let (offset, last, bytes) = part;
        let mut placed = self.inbox.place(id, kind, offset, last, bytes);
        if placed == Placed::NoPlace && self.config.mode != Mode::Duplex {
            // Nobody will send what the oldest lacks any more often than what is new.
            self.inbox.drop_oldest_partial();
            placed = self.inbox.place(id, kind, offset, last, bytes);
        }
        match placed {
            Placed::Incomplete => Taken::Yes,
            Placed::NoPlace => {
                Counters::count(&mut self.counters.deferred);
                Taken::No
            }
            Placed::Contradiction => {
                Counters::count(&mut self.counters.nonsense);
                Taken::No
            }
            Placed::TooLarge => self.reject(id, RefusalReason::TooLarge),
            Placed::Complete(place) => {
                let mut body = [0; crate::MAX_MESSAGE];
                let Some(complete) = self.inbox.partial(place).and_then(|partial| partial.complete()) else {
                    return Taken::No;
                };
                let length = complete.len();
                body[..length].copy_from_slice(complete);
                let taken = self.receive_message(id, kind, &body[..length], now);
                if taken == Taken::Yes {
                    self.inbox.drop_partial(id);
                } else {
                    // The last part comes again, and with it the occasion to store the message.
                    self.inbox.reopen(place, offset, bytes.len());
                }
                taken
            }
        }
    }

    fn receive_message(&mut self, id: MessageId, kind: u8, body: &[u8], now: Instant) -> Taken {
        if self.inbox.window(id.class).contains(id.sequence) {
            Counters::count(&mut self.counters.duplicates);
            return Taken::Yes;
        }
        if !self.make_room(id) {
            return Taken::No;
        }
        match Message::decode(kind, body) {
            Ok(_) => {}
            Err(DecodeError::UnknownKind(_)) => {
                Counters::count(&mut self.counters.unknown_kinds);
                return self.skip(id);
            }
            Err(DecodeError::Malformed) => {
                Counters::count(&mut self.counters.malformed_messages);
                return self.skip(id);
            }
        }
        let is_command = Kind::from_number(kind).is_some_and(Kind::is_command);
        if is_command != (self.config.role == Role::Board) {
            return self.reject(id, RefusalReason::Unsupported);
        }
        if self.inbox.waiting.is_full() {
            return self.refuse_or_defer(id, is_command);
        }
        if is_command && !self.command_allowed(now) {
            return self.reject(id, RefusalReason::RateLimited);
        }
        let key = Key { direction: Direction::Inbound, class: id.class, sequence: id.sequence };
        match self.storage.append(key, &[&[kind], body]) {
            Ok(()) => {}
            Err(StorageError::Full) => return self.refuse_or_defer(id, is_command),
            Err(error) => {
                self.storage_result(Err::<(), _>(error));
                return Taken::No;
            }
        }
        if id.class.latest_wins() {
            self.drop_older(id);
            self.inbox.window(id.class).advance(id.sequence.saturating_add(1));
        } else {
            self.inbox.window(id.class).insert(id.sequence);
        }
        let pushed = self.inbox.waiting.push(Waiting { id, shown: false, again: false });
        debug_assert!(pushed.is_ok(), "room was checked above");
        Taken::Yes
    }

    /// Whether the window reaches to the message, after it was moved where it may be.
    fn make_room(&mut self, id: MessageId) -> bool {
        let window = self.inbox.window(id.class);
        if !window.is_beyond(id.sequence) {
            return true;
        }
        if self.config.mode == Mode::Duplex && !id.class.latest_wins() {
            Counters::count(&mut self.counters.deferred);
            return false;
        }
        // Nobody will ask for what is left behind here.
        window.advance(id.sequence - crate::outbox::SEQUENCES + 1);
        true
    }

    fn drop_older(&mut self, id: MessageId) {
        while let Some(place) = self.inbox.waiting.iter().position(|old| old.id.class == id.class && !old.shown) {
            let old = self.inbox.waiting.swap_remove(place);
            let key = Key { direction: Direction::Inbound, class: old.id.class, sequence: old.id.sequence };
            let removed = self.storage.acknowledge(key);
            self.storage_result(removed);
        }
    }

    fn refuse_or_defer(&mut self, id: MessageId, is_command: bool) -> Taken {
        if is_command {
            return self.reject(id, RefusalReason::QueueFull);
        }
        Counters::count(&mut self.counters.deferred);
        Taken::No
    }

    /// Tells the peer that this message will not be taken. If that is lost, the message comes again
    /// and is rejected again.
    fn reject(&mut self, id: MessageId, reason: RefusalReason) -> Taken {
        Counters::count(&mut self.counters.rejected);
        if !self.rejections.iter().any(|(queued, _)| *queued == id) {
            let _ = self.rejections.push_back((id, reason));
        }
        Taken::No
    }

    fn command_allowed(&mut self, now: Instant) -> bool {
        let per_minute = u64::from(self.config.commands_per_minute);
        if per_minute == 0 {
            return true;
        }
        let (tokens, counted_at) = self.command_tokens;
        let gained = now.since(counted_at).as_micros().saturating_mul(per_minute);
        let tokens = tokens.saturating_add(gained).min(per_minute * MINUTE);
        let allowed = tokens >= MINUTE;
        self.command_tokens = (tokens - if allowed { MINUTE } else { 0 }, now);
        allowed
    }
}
