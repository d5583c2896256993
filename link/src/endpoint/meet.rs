//! Ends that are not the verified peer: who becomes it, and who is told off.

use super::{
    Endpoint, Notice,
    start::{draw, epochs_register, floor_register},
    transmitter::Link,
};
use crate::{
    chunk::{Chunk, Chunks},
    class::Class,
    config::Mode,
    counters::Counters,
    frame::{FrameError, Head},
    inbox::Window,
    reject_reason::RejectReason,
    replay_window::ReplayWindow,
    storage::{Register, Storage},
    time::Instant,
};

/// Whole frames of version 1 that come in a row before it is said that the peer speaks it: noise does
/// not make so many.
const OLD_FRAMES: u8 = 3;

impl<S: Storage> Endpoint<S> {
    /// Deals with a handshake of an epoch that is not verified. True if it is from now on.
    pub(super) fn meet(&mut self, head: Head, payload: &[u8], now: Instant) -> bool {
        if self.config.mode != Mode::Duplex {
            // Nobody can be asked. What was replaced, a record of it must not bring back.
            if self.handshake.replaced.contains(&head.epoch) {
                self.counters.frame_error(FrameError::Replayed);
                return false;
            }
            return self.adopt(head).is_some();
        }
        let mut hello = None;
        for chunk in Chunks(payload).flatten() {
            match chunk {
                Chunk::Hello(found) => hello = Some(found),
                // It may be old, and is only for information.
                Chunk::AuthDenied(reason) if reason == RejectReason::BadAuthentication as u8 => {
                    self.notice(Notice::AuthDenied(RejectReason::BadAuthentication));
                }
                _ => {}
            }
        }
        let Some(hello) = hello else {
            Counters::count(&mut self.counters.unknown_epoch);
            return false;
        };
        let timeout = self.transmitter.timer.timeout(0);
        if hello.echo != self.handshake.session {
            Counters::count(&mut self.counters.unknown_epoch);
            // A record of the peer looks the same: it is answered, but not as often as it is played.
            if self.handshake.verified().is_none() || now >= self.handshake.candidate_at {
                let pause = timeout.saturating_mul(4).min(self.config.max_timeout);
                self.handshake.candidate_at = now + pause;
                self.handshake.answer(hello.session);
            }
            return false;
        }
        if self.handshake.replaced.contains(&head.epoch) {
            self.tell_of_duplicate(Some(hello.session), now);
            return false;
        }
        let peer_is_here = self.handshake.verified().is_some()
            && self.handshake.peer_synced
            && self.transmitter.link == Link::Up;
        if peer_is_here {
            self.handshake.challenge(head, hello, now, timeout);
            return false;
        }
        self.adopt(head).is_some()
    }

    /// Decides who the peer is, once it had the time to answer.
    pub(super) fn settle_rivalry(&mut self, now: Instant) {
        let Some(rival) = self.handshake.rival.take_if(|rival| now >= rival.until) else {
            return;
        };
        if rival.peer_heard {
            self.tell_of_duplicate(Some(rival.hello.session), now);
        } else if self.adopt(rival.head).is_some() && self.admit(rival.head, now) {
            self.heard(now);
            self.receive_hello(rival.head, rival.hello, now);
        }
    }

    /// The peer speaks from this epoch from now on. `None` if storage failed.
    fn adopt(&mut self, head: Head) -> Option<()> {
        let before = self.handshake.peer_epoch;
        let replaced = before != 0 && before != head.epoch;
        if replaced {
            // In this order: what is interrupted is done again, and takes no message for an old one.
            self.receiver.inbox.peer_replaced();
            for class in Class::ALL {
                let stored = self
                    .storage
                    .set(Register::Settled(class), Window::default().to_value());
                self.storage_result(stored)?;
            }
            let [newest, older, _] = self.handshake.replaced;
            let epochs = [before, newest, older];
            let stored = self
                .storage
                .set(Register::ReplacedEpochs, epochs_register(epochs));
            self.storage_result(stored)?;
            self.handshake.replaced = epochs;
        }
        let value = floor_register(head.counter, head.epoch);
        let stored = self.storage.set(Register::ReplayFloor, value);
        self.storage_result(stored)?;
        if self.handshake.own.unproved {
            let mut own = self.handshake.own;
            own.unproved = false;
            let stored = self.storage.set(Register::Identity, own.to_value());
            self.storage_result(stored)?;
            self.handshake.own = own;
        }
        self.receiver.replay_window = ReplayWindow::new(head.counter);
        self.handshake.peer_epoch = head.epoch;
        (
            self.handshake.peer_session,
            self.handshake.peer_session_before,
        ) = (0, 0);
        self.handshake.peer_session_counter = head.counter;
        if before != head.epoch {
            self.transmitter.base_due = Class::ALL.map(|class| self.transmitter.base(class) > 0);
        }
        if replaced {
            // Frames that echo the session so far may be on record, and prove nothing any more.
            self.handshake.session = draw(&mut self.random);
            self.handshake.peer_synced = false;
            for frame in self.transmitter.flight.give_up() {
                self.requeue(frame);
            }
            self.notice(Notice::PeerReplaced);
        }
        Some(())
    }

    /// Two ends with the peer's name are there: the application is told, and one of them, if it is
    /// not the peer.
    pub(super) fn tell_of_duplicate(&mut self, session: Option<u32>, now: Instant) {
        if now < self.handshake.duplicate_at {
            return;
        }
        self.handshake.duplicate_at = now + self.config.max_timeout;
        self.notice(Notice::DuplicateIdentity);
        if let Some(session) = session {
            self.receiver.denial = Some(RejectReason::DuplicateIdentity);
            self.handshake.answer(session);
        }
    }

    /// The peer says that another end has taken the place of this one. This storage goes on under
    /// another epoch at the next start, since nobody takes the present one again.
    pub(super) fn receive_denial(&mut self, reason: RejectReason) {
        if reason == RejectReason::DuplicateIdentity && !self.handshake.own.renew {
            let mut own = self.handshake.own;
            own.renew = true;
            let stored = self.storage.set(Register::Identity, own.to_value());
            if self.storage_result(stored).is_some() {
                self.handshake.own = own;
            }
        }
        self.notice(Notice::AuthDenied(reason));
    }

    /// A whole frame of version 1 came.
    pub(super) fn heard_version_1(&mut self) {
        self.receiver.old_frames = self.receiver.old_frames.saturating_add(1);
        if self.receiver.old_frames == OLD_FRAMES {
            self.notice(Notice::OtherFormat(1));
        }
    }
}
