//! The sending half: timers, and what goes into the next frame.

use super::{
    Endpoint, Link, Notice, Repair,
    start::{COUNTER_BLOCK, next_random, register},
};
use crate::{
    chunk::{
        AUTH_DENIED_BYTES, BASE_BYTES, HELLO_BYTES, Hello, REJECT_BYTES, REPLAY_FLOOR_BYTES, Writer,
    },
    class::Class,
    config::Mode,
    counters::Counters,
    flight::{MAX_PARTS, Part},
    frame::{Head, MAX_MTU, capacity, overhead, payload_at, seal},
    outbox::{Next, Outcome, State},
    reject_reason::RejectReason,
    role::Role,
    storage::{Direction, Key, Register, Storage},
    time::{Duration, Instant},
};

/// In simplex, every frame whose counter is a multiple of this is a handshake.
const SIMPLEX_HANDSHAKE_INTERVAL: u64 = 8;
/// After a timeout, this many frames may be sent before the peer is heard or the next one.
const PROBE_FRAMES: u8 = 4;

impl<S: Storage> Endpoint<S> {
    /// The next frame to send, if one is due and may be sent now.
    ///
    /// It counts as sent: a carrier that cannot take it may drop it, as the air might.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<&[u8]> {
        let now = self.clock.read(now);
        self.run_timers(now);
        if !self.wants_to_send(now) || self.pacer.earliest(self.longest_next(), now)? > now {
            return None;
        }
        let Some(length) = self.build_frame(now) else {
            // Storage failed. It gets a pause, so that nobody polls in a circle.
            self.pacer.quiet_until = self.pacer.quiet_until.max(now + self.config.min_timeout);
            return None;
        };
        self.pacer.spend(length, now);
        Counters::count(&mut self.counters.frames_sent);
        self.counters.bytes_sent = self.counters.bytes_sent.saturating_add(length as u32);
        Some(&self.frame[..length])
    }

    /// When [`poll_transmit`](Self::poll_transmit) is to be called again, even if nothing happens
    /// before. It may be in the past.
    pub fn next_deadline(&self) -> Option<Instant> {
        let now = self.clock.last;
        let mut at = Instant::MAX;
        if self.wants_to_send(now) {
            at = now;
        }
        if self.is_probing() {
            at = at.min(self.probe_at);
        }
        if self.link == Link::Up && self.flight.outstanding() > 0 {
            at = at.min(self.timeout_at);
        }
        if self.unacknowledged > 0 && self.peer_synced {
            at = at.min(self.acknowledge_at);
        }
        if self.is_simplex() && self.config.role == Role::Board && self.outbox.has_repeats() {
            at = at.min(self.repeat_at);
        }
        let at = if at == Instant::MAX {
            None
        } else {
            self.pacer.earliest(self.longest_next(), at.max(now))
        };
        let expiry = self
            .outbox
            .slots()
            .filter(|slot| slot.state == State::Open)
            .map(|slot| slot.expires)
            .min();
        let expiry = expiry.filter(|&expiry| expiry != Instant::MAX);
        let edge = self.pacer.next_edge(now);
        [at, expiry, edge]
            .into_iter()
            .flatten()
            .min()
            .map(|at| self.clock.outside(at))
    }

    fn run_timers(&mut self, now: Instant) {
        let in_contact = self.pacer.in_contact(now);
        if in_contact != self.in_contact {
            self.in_contact = in_contact;
            if in_contact {
                self.probe_at = now;
                self.timer.expired = 0;
            } else {
                self.take_link_down();
            }
        }
        while let Some(id) = self.outbox.expired(now) {
            self.give_up(id, Outcome::Expired);
        }
        if self.link == Link::Up && self.flight.outstanding() > 0 && now >= self.timeout_at {
            Counters::count(&mut self.counters.timeouts);
            self.timer.expired = self.timer.expired.saturating_add(1);
            let lost = self.flight.give_up_older(now - self.timer.timeout(0));
            self.delivery.count(0, lost.len());
            for frame in lost {
                self.requeue(frame);
            }
            self.credit = Some(PROBE_FRAMES);
            self.timeout_at = now + self.timeout();
            if self.timer.expired >= self.config.down_after {
                self.take_link_down();
                self.probe_at = now;
            }
        }
        if self.is_probing() && now >= self.probe_at {
            self.hello_due = true;
        }
        if self.is_simplex()
            && now >= self.repeat_at
            && !self.has_data()
            && self.outbox.has_repeats()
        {
            self.outbox.repeat();
            self.rest(now);
        }
    }

    /// In simplex, puts the next round of repetitions off.
    fn rest(&mut self, now: Instant) {
        if let Mode::Simplex(simplex) = self.config.mode {
            self.repeat_at = now + simplex.pause;
        }
    }

    /// Stops sending messages until the peer is heard.
    fn take_link_down(&mut self) {
        if self.link == Link::Down || self.is_simplex() {
            return;
        }
        self.link = Link::Down;
        self.timer.expired = 0;
        Counters::count(&mut self.counters.link_downs);
        self.notice(Notice::LinkDown);
        for frame in self.flight.give_up() {
            self.requeue(frame);
        }
    }

    fn is_simplex(&self) -> bool {
        self.config.mode != Mode::Duplex
    }

    fn is_probing(&self) -> bool {
        if self.is_simplex() {
            self.config.role == Role::Board
        } else {
            self.link == Link::Down || !self.peer_synced
        }
    }

    /// The retransmission timeout as it stands now.
    pub(super) fn timeout(&mut self) -> Duration {
        let random = next_random(&mut self.random) as u16;
        self.timer.timeout(random)
    }

    fn wants_to_send(&self, now: Instant) -> bool {
        if self.is_simplex() && self.config.role == Role::Ground {
            return false;
        }
        if self.hello_due
            || self.replay_floor_due
            || matches!(&self.repair, Repair::Board(encoder) if encoder.is_open())
        {
            return true;
        }
        if self.link == Link::Down && !self.is_simplex() {
            return false;
        }
        let acknowledges = self.peer_synced
            && self.unacknowledged > 0
            && (now >= self.acknowledge_at || self.unacknowledged >= self.config.ack_every);
        acknowledges
            || !self.rejections.is_empty()
            || self.base_due.contains(&true)
            || self.may_send_data(self.next_counter) && self.has_data()
    }

    fn may_send_data(&self, counter: u64) -> bool {
        self.flight.has_room(counter) && self.credit != Some(0)
    }

    fn has_data(&self) -> bool {
        // A handshake has less room, and a message that does not fit waits for the introduction.
        let handshakes = self.config.mode == Mode::Duplex && !self.peer_synced;
        self.outbox.is_ready(
            capacity(self.config.mtu, self.config.sending(), handshakes) - self.repair_margin(),
            self.capacity(),
        )
    }

    /// Bytes that the next frame takes at the most.
    fn longest_next(&self) -> usize {
        let bare = overhead(self.config.sending()) + HELLO_BYTES + REPLAY_FLOOR_BYTES + 12;
        let down = self.link == Link::Down && !self.is_simplex();
        let longest = usize::from(self.config.mtu);
        if down {
            return bare.min(longest);
        }
        (bare + self.outbox.bytes_ahead(Class::Bulk)).min(longest)
    }

    fn take_counter(&mut self) -> Option<u64> {
        if self.next_counter >= self.reserved {
            let reserved = self.next_counter + COUNTER_BLOCK;
            let stored = self.storage.set(Register::SendCounter, register(reserved));
            self.storage_result(stored)?;
            self.reserved = reserved;
        }
        let counter = self.next_counter;
        self.next_counter += 1;
        Some(counter)
    }

    fn build_frame(&mut self, now: Instant) -> Option<usize> {
        let counter = self.take_counter()?;
        for lost in self.flight.retire(counter) {
            self.requeue(lost);
        }
        let protection = self.config.sending();
        let repair = self.next_repair();
        let handshake = match self.config.mode {
            Mode::Duplex => !self.peer_synced || core::mem::take(&mut self.handshake_due),
            Mode::Simplex(_) => {
                repair.is_none() && (self.hello_due || counter % SIMPLEX_HANDSHAKE_INTERVAL == 0)
            }
        };
        let mut frame = [0; MAX_MTU + 1];
        let start = payload_at(handshake);
        let margin = if repair.is_some() {
            0
        } else {
            self.repair_margin()
        };
        let end = start + capacity(self.config.mtu, protection, handshake) - margin;
        let mut writer = Writer::new(&mut frame[start..end]);
        let mut parts = heapless::Vec::new();
        let mut wants_answer = false;
        if let Some((first, group, index, data)) = &repair {
            writer
                .repair(*first as u16, *group, *index, data.len())
                .copy_from_slice(data);
        } else {
            wants_answer =
                self.write_control(&mut writer, &mut parts, handshake && self.is_simplex());
            if self.link == Link::Up || self.is_simplex() {
                self.write_data(&mut writer, &mut parts, counter)?;
            }
        }
        wants_answer |= !parts.is_empty();
        let length = writer.length();
        if repair.is_none()
            && let Repair::Board(encoder) = &mut self.repair
        {
            encoder.add(counter, &frame[start..start + length]);
            self.count_repeats(&parts, now);
        }
        let head = Head {
            sender: self.config.role,
            protection,
            handshake,
            counter,
        };
        let sent = seal(&mut frame, length, head, &self.config.keys).len();
        self.frame = frame;
        if wants_answer && !self.is_simplex() {
            self.flight.push(counter, now, &parts);
            self.timeout_at = now + self.timeout();
        }
        if self.is_probing() && now >= self.probe_at {
            self.timer.expired = self
                .timer
                .expired
                .saturating_add(u8::from(self.link == Link::Down));
            self.probe_at = now + self.timeout();
        }
        Some(sent)
    }

    /// In simplex, the repair frame to send now, if one is due or nothing else is.
    fn next_repair(&mut self) -> Option<(u64, u8, u8, heapless::Vec<u8, MAX_MTU>)> {
        let is_idle = !self.hello_due && !self.has_data();
        match &mut self.repair {
            Repair::Board(encoder) if encoder.is_due() || (is_idle && encoder.is_open()) => {
                encoder.next()
            }
            _ => None,
        }
    }

    /// In simplex, ends the messages that were now sent as often as asked for.
    fn count_repeats(&mut self, parts: &[Part], now: Instant) {
        for part in parts {
            if let Part::Body { slot, .. } = *part {
                if let Some(id) = self.outbox.sent_once(slot) {
                    self.finish(id, Outcome::Sent);
                }
                self.rest(now);
            }
        }
    }

    /// Writes everything but messages. True if it wants an acknowledgement.
    fn write_control(
        &mut self,
        writer: &mut Writer<'_>,
        parts: &mut heapless::Vec<Part, MAX_PARTS>,
        announce: bool,
    ) -> bool {
        let mut wants_answer = false;
        if (self.hello_due || announce) && writer.room() >= HELLO_BYTES {
            writer.hello(Hello {
                boot_id: self.boot_id,
                echo: self.peer_boot_id,
                storage_id: self.storage_id,
            });
            self.hello_due = false;
            self.replay_floor_due |= !self.peer_synced && !self.is_simplex();
            wants_answer = true;
        }
        if self.unacknowledged > 0 && self.peer_synced {
            let (newest, missing) = self.replay_window.acknowledgement();
            if writer.room() >= Writer::ack_bytes(missing) {
                writer.ack(newest as u16, missing);
                self.unacknowledged = 0;
            }
        }
        if self.replay_floor_due && !self.is_simplex() && writer.room() >= REPLAY_FLOOR_BYTES {
            writer.replay_floor(self.replay_window.expected());
            self.replay_floor_due = false;
        }
        if self.auth_denied_due && writer.room() >= AUTH_DENIED_BYTES {
            writer.auth_denied(RejectReason::BadAuthentication as u8);
            self.auth_denied_due = false;
        }
        while let Some(&(id, reason)) = self.rejections.front()
            && writer.room() >= REJECT_BYTES
        {
            writer.reject(id.class, id.sequence as u16, reason as u8);
            self.rejections.pop_front();
        }
        for class in Class::ALL {
            if self.base_due[class.index()] && writer.room() >= BASE_BYTES && !parts.is_full() {
                writer.base(class, self.base(class));
                self.base_due[class.index()] = false;
                let _ = parts.push(Part::Base(class as u8));
            }
        }
        wants_answer
    }

    /// Fills the rest of the frame with messages and parts of messages. `None` if storage failed.
    fn write_data(
        &mut self,
        writer: &mut Writer<'_>,
        parts: &mut heapless::Vec<Part, MAX_PARTS>,
        counter: u64,
    ) -> Option<()> {
        let capacity = self.capacity();
        if !self.may_send_data(counter) {
            return Some(());
        }
        self.credit = self.credit.map(|credit| credit.saturating_sub(1));
        while !parts.is_full()
            && let Some(next) = self.outbox.next(writer.room(), capacity)
        {
            let part = match next {
                Next::Cancel { slot } => {
                    let slot_state = self.outbox.get(slot)?;
                    let (id, stamp) = (slot_state.id, slot_state.stamp);
                    writer.cancel(id.class, id.sequence as u16);
                    if let Some(slot) = self.outbox.stamped(slot, stamp)
                        && let State::Cancelled { due, .. } = &mut slot.state
                    {
                        *due = false;
                    }
                    Part::Cancel { slot, stamp }
                }
                Next::Whole { slot } => {
                    let length = self.outbox.get(slot)?.length;
                    self.write_body(writer, slot, 0, length, true)?
                }
                Next::Fragment { slot, start, end } => {
                    self.write_body(writer, slot, start, end, false)?
                }
            };
            let _ = parts.push(part);
        }
        Some(())
    }

    fn write_body(
        &mut self,
        writer: &mut Writer<'_>,
        slot: u8,
        start: u16,
        end: u16,
        whole: bool,
    ) -> Option<Part> {
        let &crate::outbox::Slot {
            id,
            kind,
            length,
            stamp,
            ..
        } = self.outbox.get(slot)?;
        let wire = id.sequence as u16;
        let count = usize::from(end - start);
        let place = if whole {
            writer.message(kind, wire, count)
        } else {
            writer.fragment(kind, wire, start, end == length, count)
        };
        let key = Key {
            direction: Direction::Outbound,
            class: id.class,
            sequence: id.sequence,
        };
        let read = self.storage.read(key, 1 + usize::from(start), place);
        if self.storage_result(read)? != count {
            Counters::count(&mut self.counters.storage_failures);
            self.notice(Notice::StorageFailed);
            return None;
        }
        if let Some(slot) = self.outbox.stamped(slot, stamp) {
            slot.to_send.remove(start, end);
        }
        Some(Part::Body {
            slot,
            stamp,
            start,
            end,
        })
    }
}
