//! Messages and parts of messages that came: into storage, into the window, to the application.

use super::{Endpoint, receive::Taken};
use crate::{
    config::Mode,
    counters::Counters,
    id::MessageId,
    inbox::{Placed, Waiting},
    message_types::InvalidMessage,
    outbox::SEQUENCES,
    reject_reason::RejectReason,
    role::Role,
    storage::{Direction, Key, Storage, StorageError},
    time::Instant,
};

impl<S: Storage> Endpoint<S> {
    pub(super) fn receive_fragment(
        &mut self,
        id: MessageId,
        kind: u8,
        part: (u16, bool, &[u8]),
        now: Instant,
    ) -> Taken {
        if self.receiver.inbox.window(id.class).contains(id.sequence) {
            Counters::count(&mut self.counters.duplicates);
            return Taken::Yes;
        }
        if !self.make_room(id) {
            return Taken::No;
        }
        let (offset, last, bytes) = part;
        let mut placed = self.receiver.inbox.place(id, kind, offset, last, bytes);
        if placed == Placed::NoPlace && self.config.mode != Mode::Duplex {
            // Nobody will send what the oldest lacks any more often than what is new.
            self.receiver.inbox.drop_oldest_partial();
            placed = self.receiver.inbox.place(id, kind, offset, last, bytes);
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
            Placed::TooLarge => self.reject(id, RejectReason::TooLarge),
            Placed::Complete(place) => {
                let mut body = [0; crate::MAX_MESSAGE];
                let Some(complete) = self
                    .receiver
                    .inbox
                    .partial(place)
                    .and_then(|partial| partial.complete())
                else {
                    return Taken::No;
                };
                let length = complete.len();
                body[..length].copy_from_slice(complete);
                let taken = self.receive_message(id, kind, &body[..length], now);
                if taken == Taken::Yes {
                    self.receiver.inbox.drop_partial(id);
                } else {
                    // The last part comes again, and with it the occasion to store the message.
                    self.receiver.inbox.reopen(place, offset, bytes.len());
                }
                taken
            }
        }
    }

    pub(super) fn receive_message(
        &mut self,
        id: MessageId,
        kind: u8,
        body: &[u8],
        now: Instant,
    ) -> Taken {
        if self.receiver.inbox.window(id.class).contains(id.sequence) {
            Counters::count(&mut self.counters.duplicates);
            return Taken::Yes;
        }
        if !self.make_room(id) {
            return Taken::No;
        }
        // Before the direction is checked: what this version cannot read may well be for it.
        match self.config.message_types.check(kind, body) {
            Ok(()) => {}
            Err(InvalidMessage::UnknownKind) => {
                Counters::count(&mut self.counters.unknown_kinds);
                return self.skip(id);
            }
            Err(InvalidMessage::Malformed) => {
                Counters::count(&mut self.counters.malformed_messages);
                return self.skip(id);
            }
        }
        let is_command = self.config.message_types.commands.contains(kind);
        if is_command != (self.config.role == Role::Board) {
            return self.reject(id, RejectReason::Unsupported);
        }
        if self.receiver.inbox.waiting.is_full() {
            return self.refuse_or_defer(id, is_command);
        }
        if is_command && !self.receiver.commands.take(now) {
            return self.reject(id, RejectReason::RateLimited);
        }
        let key = Key {
            direction: Direction::Inbound,
            class: id.class,
            sequence: id.sequence,
        };
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
            self.receiver
                .inbox
                .window(id.class)
                .advance(id.sequence.saturating_add(1));
        } else {
            self.receiver.inbox.window(id.class).insert(id.sequence);
        }
        let pushed = self.receiver.inbox.waiting.push(Waiting {
            id,
            shown: false,
            redelivered: false,
        });
        debug_assert!(pushed.is_ok(), "room was checked above");
        Taken::Yes
    }

    /// Whether the window reaches to the message, after it was moved where it may be.
    fn make_room(&mut self, id: MessageId) -> bool {
        let window = self.receiver.inbox.window(id.class);
        if !window.is_beyond(id.sequence) {
            return true;
        }
        if self.config.mode == Mode::Duplex && !id.class.latest_wins() {
            Counters::count(&mut self.counters.deferred);
            return false;
        }
        // Nobody will ask for what is left behind here.
        window.advance(id.sequence - SEQUENCES + 1);
        true
    }

    fn drop_older(&mut self, id: MessageId) {
        while let Some(place) = self
            .receiver
            .inbox
            .waiting
            .iter()
            .position(|old| old.id.class == id.class && !old.shown)
        {
            let old = self.receiver.inbox.waiting.swap_remove(place);
            let key = Key {
                direction: Direction::Inbound,
                class: old.id.class,
                sequence: old.id.sequence,
            };
            let removed = self.storage.acknowledge(key);
            self.storage_result(removed);
        }
    }

    fn refuse_or_defer(&mut self, id: MessageId, is_command: bool) -> Taken {
        if is_command {
            return self.reject(id, RejectReason::QueueFull);
        }
        Counters::count(&mut self.counters.deferred);
        Taken::No
    }

    /// Tells the peer that this message will not be taken. If that is lost, the message comes again
    /// and is rejected again.
    fn reject(&mut self, id: MessageId, reason: RejectReason) -> Taken {
        Counters::count(&mut self.counters.rejected);
        self.receiver.queue_rejection(id, reason);
        Taken::No
    }
}
