//! What a frame says: introductions, offers, control and data.

use super::{Endpoint, Notice};
use crate::{
    chunk::{
        AUTH_DENIED_BYTES, BASE_BYTES, HELLO_BYTES, KEY_HELD_BYTES, KEY_OFFER_BYTES, REJECT_BYTES,
        REPLAY_FLOOR_BYTES, Writer,
    },
    class::Class,
    counters::Counters,
    flight::{MAX_PARTS, Part},
    outbox::{Next, State},
    storage::{Direction, Key, Storage},
    time::Instant,
};

impl<S: Storage> Endpoint<S> {
    /// Writes who this end is, and what it thinks of the peer's frames. True if it wants an
    /// acknowledgement.
    pub(super) fn write_introduction(&mut self, writer: &mut Writer<'_>, announce: bool) -> bool {
        let mut wants_answer = false;
        if (self.handshake.hello_due || announce) && writer.room() >= HELLO_BYTES {
            writer.hello(self.handshake.hello());
            self.handshake.hello_sent();
            self.handshake.floor_due |= !self.handshake.peer_synced
                && self.handshake.verified().is_some()
                && !self.is_simplex();
            wants_answer = true;
        }
        if self.handshake.floor_due && !self.is_simplex() && writer.room() >= REPLAY_FLOOR_BYTES {
            writer.replay_floor(self.receiver.replay_window.expected());
            self.handshake.floor_due = false;
        }
        if let Some(reason) = self.receiver.denial
            && writer.room() >= AUTH_DENIED_BYTES
        {
            writer.auth_denied(reason as u8);
            self.receiver.denial = None;
        }
        wants_answer
    }

    /// Offers the peer the new key.
    pub(super) fn write_offer(&mut self, writer: &mut Writer<'_>, now: Instant) {
        let key = self.rotation.offering.and_then(|id| {
            let key = self.config.keys.slot(id as u8);
            key.filter(|key| key.id() == id)
        });
        if let Some(key) = key
            && writer.room() >= KEY_OFFER_BYTES
        {
            writer.key_offer(key.id(), key.secret());
        }
        self.rotation.offer_at = now + self.timeout().saturating_mul(2);
    }

    /// Writes everything else but messages. True if it wants an acknowledgement.
    pub(super) fn write_control(
        &mut self,
        writer: &mut Writer<'_>,
        parts: &mut heapless::Vec<Part, MAX_PARTS>,
    ) -> bool {
        if let Some(id) = self.rotation.held_due
            && writer.room() >= KEY_HELD_BYTES
        {
            writer.key_held(id);
            self.rotation.held_due = None;
        }
        if self.acks.pending > 0 && self.handshake.peer_synced {
            let (newest, missing) = self.receiver.replay_window.acknowledgement();
            if writer.room() >= Writer::ack_bytes(missing) {
                writer.ack(newest as u16, missing);
                self.acks.clear();
            }
        }
        while let Some(&(id, reason)) = self.receiver.rejections.front()
            && writer.room() >= REJECT_BYTES
        {
            writer.reject(id.class, id.sequence as u16, reason as u8);
            self.receiver.rejections.pop_front();
        }
        for class in Class::ALL {
            if self.transmitter.base_due[class.index()]
                && writer.room() >= BASE_BYTES
                && !parts.is_full()
            {
                writer.base(class, self.transmitter.base(class));
                self.transmitter.base_due[class.index()] = false;
                let _ = parts.push(Part::Base(class as u8));
            }
        }
        !parts.is_empty()
    }

    /// Fills the rest of the frame with messages and parts of messages. `None` if storage failed.
    pub(super) fn write_data(
        &mut self,
        writer: &mut Writer<'_>,
        parts: &mut heapless::Vec<Part, MAX_PARTS>,
        counter: u64,
    ) -> Option<()> {
        let capacity = self.capacity();
        if !self.may_send_data(counter) {
            return Some(());
        }
        self.transmitter.credit = self
            .transmitter
            .credit
            .map(|credit| credit.saturating_sub(1));
        while !parts.is_full()
            && let Some(next) = self.transmitter.outbox.next(writer.room(), capacity)
        {
            let part = match next {
                Next::Cancel { slot } => {
                    let slot_state = self.transmitter.outbox.get(slot)?;
                    let (id, stamp) = (slot_state.id, slot_state.stamp);
                    writer.cancel(id.class, id.sequence as u16);
                    if let Some(slot) = self.transmitter.outbox.stamped(slot, stamp)
                        && let State::Cancelled { due, .. } = &mut slot.state
                    {
                        *due = false;
                    }
                    Part::Cancel { slot, stamp }
                }
                Next::Whole { slot } => {
                    let length = self.transmitter.outbox.get(slot)?.length;
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

    pub(super) fn write_body(
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
        } = self.transmitter.outbox.get(slot)?;
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
        if let Some(slot) = self.transmitter.outbox.stamped(slot, stamp) {
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
