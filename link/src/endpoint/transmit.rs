//! The sending half: timers, and what goes into the next frame.

use super::{Endpoint, Link, Notice, Repair, start::next_random};
use crate::{
    auth::Protection,
    chunk::{HELLO_BYTES, REPLAY_FLOOR_BYTES, Writer},
    class::Class,
    config::Mode,
    counters::Counters,
    flight::Part,
    frame::{Head, MAX_MTU, capacity, overhead, payload_at, seal},
    outbox::{Outcome, State},
    role::Role,
    storage::Storage,
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
        if !self.wants_to_send(now)
            || self.transmitter.pacer.earliest(self.longest_next(), now)? > now
        {
            return None;
        }
        let Some(length) = self.build_frame(now) else {
            // Storage failed. It gets a pause, so that nobody polls in a circle.
            self.transmitter.pacer.quiet_until = self
                .transmitter
                .pacer
                .quiet_until
                .max(now + self.config.min_timeout);
            return None;
        };
        self.transmitter.pacer.spend(length, now);
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
            at = at.min(self.transmitter.probe_at);
        }
        if self.transmitter.link == Link::Up && self.transmitter.flight.outstanding() > 0 {
            at = at.min(self.transmitter.timeout_at);
        }
        if self.rotation.offering.is_some() && self.transmitter.link == Link::Up {
            at = at.min(self.rotation.offer_at);
        }
        if self.acks.pending > 0 && self.handshake.peer_synced {
            at = at.min(self.acks.due_at);
        }
        if self.is_simplex()
            && self.config.role == Role::Board
            && self.transmitter.outbox.has_repeats()
        {
            at = at.min(self.transmitter.repeat_at);
        }
        let at = if at == Instant::MAX {
            None
        } else {
            self.transmitter
                .pacer
                .earliest(self.longest_next(), at.max(now))
        };
        let rival = self.handshake.rival.map(|rival| rival.until.max(now));
        let expiry = self
            .transmitter
            .outbox
            .slots()
            .filter(|slot| slot.state == State::Open)
            .map(|slot| slot.expires)
            .min();
        let expiry = expiry.filter(|&expiry| expiry != Instant::MAX);
        let edge = self.transmitter.pacer.next_edge(now);
        [at, expiry, edge, rival]
            .into_iter()
            .flatten()
            .min()
            .map(|at| self.clock.outside(at))
    }

    fn run_timers(&mut self, now: Instant) {
        self.settle_rivalry(now);
        let in_contact = self.transmitter.pacer.in_contact(now);
        if in_contact != self.transmitter.in_contact {
            self.transmitter.in_contact = in_contact;
            if in_contact {
                self.transmitter.probe_at = now;
                self.transmitter.timer.expired = 0;
            } else {
                self.take_link_down();
            }
        }
        while let Some(id) = self.transmitter.outbox.expired(now) {
            self.give_up(id, Outcome::Expired);
        }
        if self.transmitter.link == Link::Up
            && self.transmitter.flight.outstanding() > 0
            && now >= self.transmitter.timeout_at
        {
            Counters::count(&mut self.counters.timeouts);
            self.transmitter.timer.expired = self.transmitter.timer.expired.saturating_add(1);
            let lost = self
                .transmitter
                .flight
                .give_up_older(now - self.transmitter.timer.timeout(0));
            self.transmitter.delivery.count(0, lost.len());
            for frame in lost {
                self.requeue(frame);
            }
            self.transmitter.credit = Some(PROBE_FRAMES);
            self.transmitter.timeout_at = now + self.timeout();
            if self.transmitter.timer.expired >= self.config.down_after {
                self.take_link_down();
                self.transmitter.probe_at = now;
            }
        }
        if self.is_probing() && now >= self.transmitter.probe_at {
            self.handshake.hello_due = true;
        }
        if self.is_simplex()
            && now >= self.transmitter.repeat_at
            && !self.has_data()
            && self.transmitter.outbox.has_repeats()
        {
            self.transmitter.outbox.repeat();
            self.rest(now);
        }
    }

    /// In simplex, puts the next round of repetitions off.
    fn rest(&mut self, now: Instant) {
        if let Mode::Simplex(simplex) = self.config.mode {
            self.transmitter.repeat_at = now + simplex.pause;
        }
    }

    /// Stops sending messages until the peer is heard.
    fn take_link_down(&mut self) {
        if self.transmitter.link == Link::Down || self.is_simplex() {
            return;
        }
        self.transmitter.link = Link::Down;
        self.transmitter.timer.expired = 0;
        Counters::count(&mut self.counters.link_downs);
        self.notice(Notice::LinkDown);
        for frame in self.transmitter.flight.give_up() {
            self.requeue(frame);
        }
    }

    pub(super) fn is_simplex(&self) -> bool {
        self.config.mode != Mode::Duplex
    }

    fn is_probing(&self) -> bool {
        if self.is_simplex() {
            self.config.role == Role::Board
        } else {
            self.transmitter.link == Link::Down || !self.handshake.peer_synced
        }
    }

    /// The retransmission timeout as it stands now.
    pub(super) fn timeout(&mut self) -> Duration {
        let random = next_random(&mut self.random) as u16;
        self.transmitter.timer.timeout(random)
    }

    fn wants_to_send(&self, now: Instant) -> bool {
        if self.is_simplex() && self.config.role == Role::Ground {
            return false;
        }
        if self.handshake.hello_due
            || self.handshake.floor_due
            || matches!(&self.repair, Repair::Board(encoder) if encoder.is_open())
        {
            return true;
        }
        let introduced = self.transmitter.link == Link::Up && self.handshake.peer_synced;
        if !introduced && !self.is_simplex() {
            return false;
        }
        let acknowledges =
            self.handshake.peer_synced && self.acks.is_due(now, self.config.ack_every);
        acknowledges
            || self.rotation.held_due.is_some()
            || self.offer_is_due(now)
            || !self.receiver.rejections.is_empty()
            || self.transmitter.base_due.contains(&true)
            || self.may_send_data(self.numbering.next) && self.has_data()
    }

    pub(super) fn may_send_data(&self, counter: u64) -> bool {
        self.transmitter.flight.has_room(counter) && self.transmitter.credit != Some(0)
    }

    fn has_data(&self) -> bool {
        let introduced = self.is_simplex() || self.handshake.peer_synced;
        introduced
            && self
                .transmitter
                .outbox
                .is_ready(self.capacity(), self.capacity())
    }

    /// Bytes that the next frame takes at the most.
    fn longest_next(&self) -> usize {
        let bare = overhead(self.config.sending()) + HELLO_BYTES + REPLAY_FLOOR_BYTES + 16;
        let down = self.transmitter.link == Link::Down && !self.is_simplex();
        let longest = usize::from(self.config.mtu);
        if down {
            return bare.min(longest);
        }
        (bare + self.transmitter.outbox.bytes_ahead(Class::Bulk)).min(longest)
    }

    fn build_frame(&mut self, now: Instant) -> Option<usize> {
        let taken = self.numbering.take(&mut self.storage);
        let counter = self.storage_result(taken)?;
        for lost in self.transmitter.flight.retire(counter) {
            self.requeue(lost);
        }
        let repair = self.next_repair();
        let handshake = match self.config.mode {
            // A peer that is not heard may have lost what it knew of this end.
            Mode::Duplex => {
                !self.handshake.peer_synced
                    || self.transmitter.link == Link::Down
                    || core::mem::take(&mut self.handshake.frame_due)
            }
            Mode::Simplex(_) => {
                repair.is_none()
                    && (self.handshake.hello_due || counter % SIMPLEX_HANDSHAKE_INTERVAL == 0)
            }
        };
        // A key goes out encrypted, whatever else does.
        let offers = !handshake && !self.is_simplex() && self.offer_is_due(now);
        let protection = if offers {
            Protection::AuthenticatedEncrypted
        } else {
            self.config.sending()
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
            wants_answer = self.write_introduction(&mut writer, handshake && self.is_simplex());
            // In duplex a handshake is not addressed to any end, and carries nothing else.
            let addressed = !handshake || self.is_simplex();
            if offers {
                self.write_offer(&mut writer, now);
                wants_answer = true;
            }
            if addressed {
                wants_answer |= self.write_control(&mut writer, &mut parts);
            }
            if addressed && (self.transmitter.link == Link::Up || self.is_simplex()) {
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
            slot: match protection {
                Protection::Plain => 0,
                _ => self.config.keys.active_slot(),
            },
            counter,
            epoch: self.handshake.own.epoch,
            addressee: match self.config.mode {
                Mode::Duplex if !handshake => self.handshake.peer_epoch,
                _ => 0,
            },
        };
        let sent = seal(&mut frame, length, head, self.config.id, &self.config.keys).len();
        self.frame = frame;
        if wants_answer && !self.is_simplex() {
            self.transmitter.flight.push(counter, now, &parts);
            self.transmitter.timeout_at = now + self.timeout();
        }
        if self.is_probing() && now >= self.transmitter.probe_at {
            self.transmitter.timer.expired = self
                .transmitter
                .timer
                .expired
                .saturating_add(u8::from(self.transmitter.link == Link::Down));
            self.transmitter.probe_at = now + self.timeout();
        }
        Some(sent)
    }

    /// In simplex, the repair frame to send now, if one is due or nothing else is.
    fn next_repair(&mut self) -> Option<(u64, u8, u8, heapless::Vec<u8, MAX_MTU>)> {
        let is_idle = !self.handshake.hello_due && !self.has_data();
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
                if let Some(id) = self.transmitter.outbox.sent_once(slot) {
                    self.finish(id, Outcome::Sent);
                }
                self.rest(now);
            }
        }
    }
}
