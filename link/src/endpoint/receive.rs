//! The receiving half: bytes to frames, frames to chunks, chunks to messages.

use super::{Endpoint, Link, Notice, Repair, start::floor_register};
use crate::{
    chunk::{Chunk, Chunks, Hello},
    class::Class,
    config::Mode,
    counters::Counters,
    flight::{Frame, Part},
    frame::{COUNTER_END, Expected, FrameError, Head, MAX_MTU, nearest, open},
    id::MessageId,
    inbox::Window,
    outbox::{Outcome, State},
    reject_reason::RejectReason,
    storage::{Register, Storage},
    time::Instant,
};

/// A handshake may move the peer's counter ahead by at most this much.
const MAX_JUMP: u64 = 1 << 40;
/// A floor may move this end's counter ahead by at most this much.
const MAX_REPLAY_FLOOR_JUMP: u64 = 1 << 32;

/// Whether the content of a chunk is now this end's responsibility.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
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
            match self.receiver.deframer.push(byte) {
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
        let expected = Expected {
            role: config.role,
            id: config.id,
            demanded: config.receiving(),
            keys: &config.keys,
            epoch: self.handshake.verified(),
            addressee: match config.mode {
                Mode::Duplex => self.handshake.own.epoch,
                Mode::Simplex(_) => 0,
            },
            counter: self.receiver.replay_window.expected(),
        };
        let (head, payload) = match open(block, &expected) {
            Ok(opened) => opened,
            Err(error) => {
                if matches!(error, FrameError::Unprotected | FrameError::UnknownKey) {
                    self.receiver.denial = Some(RejectReason::BadAuthentication);
                }
                if error == FrameError::Version1 {
                    self.heard_version_1();
                }
                self.counters.frame_error(error);
                return;
            }
        };
        let is_peer = self.handshake.verified() == Some(head.epoch);
        if (is_peer || self.meet(head, payload, now)) && self.admit(head, now) {
            self.heard(now);
            self.heard_under(head);
            self.receive_payload(head, payload, now);
        }
    }

    /// Refuses replays, and keeps storage ahead of what is accepted.
    pub(super) fn admit(&mut self, head: Head, now: Instant) -> bool {
        let counter = head.counter;
        let expected = self.receiver.replay_window.expected();
        if counter >= COUNTER_END || (expected > 0 && counter > expected + MAX_JUMP) {
            Counters::count(&mut self.counters.nonsense);
            return false;
        }
        if !self.receiver.replay_window.is_new(counter) {
            self.counters.frame_error(FrameError::Replayed);
            // An honest peer may have lost its storage, or not know how far a start of this end moved
            // its floor. It is told where to go on, but not as often as somebody repeats old frames.
            if (head.handshake || counter < self.receiver.replay_window.replay_floor())
                && now >= self.handshake.floor_at
            {
                self.handshake.floor_at = now + self.config.max_timeout;
                (
                    self.handshake.hello_due,
                    self.handshake.floor_due,
                    self.handshake.frame_due,
                ) = (true, true, true);
            }
            return false;
        }
        if let Some(floor) = self.receiver.replay_window.must_store(counter) {
            let stored = self
                .storage
                .set(Register::ReplayFloor, floor_register(floor, head.epoch));
            if self.storage_result(stored).is_none() {
                return false;
            }
            self.receiver.replay_window.stored(floor);
        }
        self.receiver.replay_window.accept(counter);
        Counters::count(&mut self.counters.frames_received);
        true
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.receiver.old_frames = 0;
        let timeout = self.transmitter.timer.timeout(0);
        self.handshake.peer_heard(now, timeout);
        self.transmitter.timer.expired = 0;
        self.transmitter.credit = None;
        if self.transmitter.link == Link::Down && self.config.mode == Mode::Duplex {
            self.transmitter.link = Link::Up;
            self.notice(Notice::LinkUp);
            for frame in self.transmitter.flight.give_up() {
                self.requeue(frame);
            }
            self.transmitter.timeout_at = now;
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
            wants_answer |= !matches!(
                chunk,
                Chunk::Ack { .. } | Chunk::Reject { .. } | Chunk::AuthDenied(_) | Chunk::Unknown
            );
            if head.handshake && self.config.mode == Mode::Duplex && !is_introduction(&chunk) {
                // Not addressed to any end, so it may be meant for another.
                Counters::count(&mut self.counters.nonsense);
                taken = Taken::No;
                continue;
            }
            if self.receive_chunk(head, chunk, now) == Taken::No {
                taken = Taken::No;
            }
        }
        if taken == Taken::Yes {
            self.receiver.replay_window.take(head.counter);
        }
        if wants_answer && self.config.mode == Mode::Duplex {
            self.acks.note(now, self.config.ack_delay);
        }
    }

    fn receive_chunk(&mut self, head: Head, chunk: Chunk<'_>, now: Instant) -> Taken {
        match chunk {
            Chunk::Hello(hello) => return self.receive_hello(head, hello, now),
            Chunk::ReplayFloor(floor) => self.receive_replay_floor(floor),
            Chunk::Ack { newest, missing } => self.receive_ack(head.counter, newest, missing, now),
            Chunk::Reject {
                class,
                sequence,
                reason,
            } => self.receive_reject(class, sequence, reason),
            Chunk::KeyOffer { id, secret } => self.receive_offer(head, id, &secret),
            Chunk::KeyHeld(id) => self.receive_held(id),
            Chunk::AuthDenied(reason) => {
                if let Some(reason) = RejectReason::from_number(reason) {
                    self.receive_denial(reason);
                }
            }
            Chunk::Cancel { class, sequence } => {
                let sequence = self.receiver.inbox.window(class).expand(sequence);
                return self.skip(MessageId { class, sequence });
            }
            Chunk::Base { class, sequence } => return self.receive_base(class, sequence),
            Chunk::Repair(repair) => self.receive_repair(head, repair, now),
            Chunk::Message {
                kind,
                sequence,
                body,
            } => {
                let class = Class::of_kind(kind);
                let sequence = self.receiver.inbox.window(class).expand(sequence);
                return self.receive_message(MessageId { class, sequence }, kind, body, now);
            }
            Chunk::Fragment {
                kind,
                sequence,
                offset,
                last,
                part,
            } => {
                let class = Class::of_kind(kind);
                let sequence = self.receiver.inbox.window(class).expand(sequence);
                return self.receive_fragment(
                    MessageId { class, sequence },
                    kind,
                    (offset, last, part),
                    now,
                );
            }
            Chunk::Unknown => Counters::count(&mut self.counters.unknown_chunks),
        }
        Taken::Yes
    }

    fn receive_repair(&mut self, head: Head, repair: crate::chunk::Repair<'_>, now: Instant) {
        let Repair::Ground(decoder) = &mut self.repair else {
            return;
        };
        let first = nearest(head.counter, repair.first);
        if first >= head.counter {
            Counters::count(&mut self.counters.nonsense);
            return;
        }
        for (counter, payload) in decoder.repair(first, repair.group, repair.index, repair.data) {
            if self.receiver.replay_window.is_new(counter) {
                Counters::count(&mut self.counters.frames_repaired);
                self.receiver.replay_window.accept(counter);
                self.receive_payload(Head { counter, ..head }, &payload, now);
            }
        }
    }

    pub(super) fn receive_hello(&mut self, head: Head, hello: Hello, now: Instant) -> Taken {
        let handshake = &mut self.handshake;
        if head.counter < handshake.peer_session_counter {
            // An earlier start of the peer, overtaken by its successor.
            return Taken::Yes;
        }
        if hello.session != handshake.peer_session {
            // A start that is over does not come back, unless there are two of them.
            let is_back = handshake.peer_session_before == hello.session && hello.session != 0;
            let is_restart = handshake.peer_session != 0;
            handshake.peer_session_before = handshake.peer_session;
            handshake.peer_session = hello.session;
            handshake.peer_session_counter = head.counter;
            self.receiver.inbox.peer_started();
            self.transmitter.outbox.forget_progress();
            if is_restart {
                self.notice(Notice::PeerStarted);
            }
            if is_back {
                self.tell_of_duplicate(None, now);
            }
        }
        let handshake = &mut self.handshake;
        let knows_session = hello.echo == handshake.session;
        // A peer sends handshakes as long as it does not know that this end knows of its start.
        handshake.hello_due |= head.handshake || !knows_session || !hello.verified;
        // Only a handshake can show it which storage this end speaks from.
        handshake.frame_due |= !hello.verified;
        handshake.peer_synced |= knows_session && hello.verified;
        Taken::Yes
    }

    fn receive_replay_floor(&mut self, floor: u64) {
        let Some(jump) = floor.checked_sub(self.numbering.next) else {
            return;
        };
        if jump > MAX_REPLAY_FLOOR_JUMP {
            Counters::count(&mut self.counters.nonsense);
        } else if jump > 0 {
            self.numbering.next = floor;
            for frame in self.transmitter.flight.give_up() {
                self.requeue(frame);
            }
        }
    }

    fn receive_ack(&mut self, counter: u64, newest: u16, missing: u64, now: Instant) {
        if counter < self.handshake.peer_session_counter {
            // From an earlier start of the peer, which has forgotten the parts it acknowledged.
            return;
        }
        let newest = nearest(self.numbering.next, newest);
        if newest >= self.numbering.next {
            Counters::count(&mut self.counters.nonsense);
            return;
        }
        let (settled, sample) = self.transmitter.flight.acknowledge(newest, missing, now);
        if let Some(sample) = sample {
            self.transmitter.timer.sample(sample);
            self.transmitter.timeout_at = now + self.timeout();
        }
        for frame in &settled.acked {
            self.acknowledged(*frame);
        }
        self.transmitter
            .delivery
            .count(settled.acked.len(), settled.lost.len());
        for frame in settled.lost {
            self.requeue(frame);
        }
    }

    fn acknowledged(&mut self, frame: Frame) {
        for part in frame.parts() {
            match part {
                Part::Body {
                    slot,
                    stamp,
                    start,
                    end,
                } => {
                    let Some(slot) = self.transmitter.outbox.stamped(slot, stamp) else {
                        continue;
                    };
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
                    let Some(slot) = self.transmitter.outbox.stamped(slot, stamp) else {
                        continue;
                    };
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
                Part::Body {
                    slot,
                    stamp,
                    start,
                    end,
                } => {
                    if let Some(slot) = self.transmitter.outbox.stamped(slot, stamp) {
                        slot.to_send.insert(start, end);
                        let acked = slot.acked;
                        acked
                            .as_slice()
                            .iter()
                            .for_each(|&(from, to)| slot.to_send.remove(from, to));
                    }
                }
                Part::Cancel { slot, stamp } => {
                    if let Some(slot) = self.transmitter.outbox.stamped(slot, stamp)
                        && let State::Cancelled { due, .. } = &mut slot.state
                    {
                        *due = true;
                    }
                }
                Part::Base(class) => self.transmitter.base_due[usize::from(class)] = true,
            }
        }
    }

    fn receive_reject(&mut self, class: Class, sequence: u16, reason: u8) {
        let reason = RejectReason::from_number(reason).unwrap_or(RejectReason::Failed);
        let slot = self.transmitter.outbox.slots_mut().find(|slot| {
            slot.id.class == class
                && slot.id.sequence as u16 == sequence
                && slot.state == State::Open
        });
        match slot {
            Some(slot) => {
                slot.state = State::Cancelled {
                    outcome: Outcome::Rejected(reason),
                    due: true,
                }
            }
            None => Counters::count(&mut self.counters.nonsense),
        }
    }

    fn receive_base(&mut self, class: Class, base: u32) -> Taken {
        let mut window = *self.receiver.inbox.window(class);
        window.advance(base);
        self.store_window(class, window)
    }

    /// Marks a message that will never come, or that is of no use, as done with.
    pub(super) fn skip(&mut self, id: MessageId) -> Taken {
        let mut window = *self.receiver.inbox.window(id.class);
        if window.is_beyond(id.sequence) {
            return Taken::No;
        }
        window.insert(id.sequence);
        self.store_window(id.class, window)
    }

    fn store_window(&mut self, class: Class, window: Window) -> Taken {
        if window == *self.receiver.inbox.window(class) {
            return Taken::Yes;
        }
        let stored = self
            .storage
            .set(Register::Settled(class), window.to_value());
        if self.storage_result(stored).is_none() {
            return Taken::No;
        }
        *self.receiver.inbox.window(class) = window;
        self.receiver.inbox.drop_settled_partials();
        Taken::Yes
    }
}

/// Whether a chunk may be in a handshake where both ends send.
fn is_introduction(chunk: &Chunk<'_>) -> bool {
    matches!(
        chunk,
        Chunk::Hello(_) | Chunk::ReplayFloor(_) | Chunk::AuthDenied(_) | Chunk::Unknown
    )
}
