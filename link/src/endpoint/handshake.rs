//! Who the two ends are, and what they still have to tell each other of it.
//!
//! Each storage has an *epoch*, drawn at random when it is first used (or when it was damaged): frames
//! are numbered within it, so losing storage repeats no nonce. Each start has a *session*, a number never
//! used before: the peer that echoes it speaks now, and no record of it does. An epoch of the peer
//! counts only once the peer has echoed this end's session in a handshake of that epoch; until then
//! nothing of it is obeyed.

use crate::{
    chunk::Hello,
    frame::Head,
    storage::Value,
    time::{Duration, Instant},
};

/// Marks the register of this version: the one before had no such byte.
const MARK: u8 = 2;
const UNPROVED: u8 = 1;
const RENEW: u8 = 2;

/// What storage says of its own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    /// Names the storage; never zero.
    pub(super) epoch: u32,
    /// How often the program has started.
    pub(super) boot_count: u32,
    /// What storage says of the peer was damaged: the peer is to prove its epoch again.
    pub(super) unproved: bool,
    /// The next start draws a new epoch, because another end has taken the place of this one.
    pub(super) renew: bool,
}

impl Identity {
    /// `None` for what an earlier version wrote: it numbered its frames by other rules.
    pub(super) fn from_value(value: Value) -> Option<Self> {
        let [a, b, c, d, e, f, g, h, mark, flags, ..] = value;
        (mark == MARK).then_some(Self {
            epoch: u32::from_le_bytes([a, b, c, d]),
            boot_count: u32::from_le_bytes([e, f, g, h]),
            unproved: flags & UNPROVED != 0,
            renew: flags & RENEW != 0,
        })
    }

    pub(super) fn to_value(self) -> Value {
        let mut value = [0; 12];
        value[..4].copy_from_slice(&self.epoch.to_le_bytes());
        value[4..8].copy_from_slice(&self.boot_count.to_le_bytes());
        value[8] = MARK;
        value[9] = (u8::from(self.unproved) * UNPROVED) | (u8::from(self.renew) * RENEW);
        value
    }
}

/// What this end knows of its own and of the peer's start and storage.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handshake {
    pub(super) own: Identity,
    /// Names this start of the program; never zero.
    pub(super) session: u32,
    /// The peer's storage as last known; zero for not known.
    pub(super) peer_epoch: u32,
    /// Epochs that others took the place of. None of them is taken again: its counters may have been
    /// set back.
    pub(super) replaced: [u32; 3],
    /// The peer's start, zero for not known, and the one before it.
    pub(super) peer_session: u32,
    pub(super) peer_session_before: u32,
    /// The frame that told of the peer's start; what older ones say of parts is void.
    pub(super) peer_session_counter: u64,
    /// The peer knows of this start and has verified this end's epoch. Until then only handshakes are
    /// sent, and nothing is acknowledged, because a peer that believes in parts that an earlier start
    /// acknowledged would never send them again.
    pub(super) peer_synced: bool,
    /// The session of an end whose epoch is not verified: the next hello echoes it, so that it can
    /// prove that it speaks now. Zero for none.
    pub(super) candidate: u32,
    /// When another end than the verified peer may be answered again.
    pub(super) candidate_at: Instant,
    /// Another end has proved that it speaks now.
    pub(super) rival: Option<Rival>,
    /// When the application may be told of another end again.
    pub(super) duplicate_at: Instant,
    pub(super) hello_due: bool,
    pub(super) floor_due: bool,
    /// The next frame is a handshake, although the peer knows of this start.
    pub(super) frame_due: bool,
    /// When the peer may be told of the floor again because of an old frame.
    pub(super) floor_at: Instant,
}

/// An end that has proved that it speaks now, from another storage than the peer's: the peer itself
/// after it lost its own, or a second one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rival {
    /// What it proved it with.
    pub(super) head: Head,
    pub(super) hello: Hello,
    since: Instant,
    /// When it takes the peer's place, unless the peer is heard before.
    pub(super) until: Instant,
    /// The peer itself was heard since: there are two of them.
    pub(super) peer_heard: bool,
}

impl Handshake {
    /// Before the first word of the peer.
    pub(super) fn new(own: Identity, session: u32, peer_epoch: u32, replaced: [u32; 3]) -> Self {
        Self {
            own,
            session,
            peer_epoch,
            replaced,
            peer_session: 0,
            peer_session_before: 0,
            peer_session_counter: 0,
            peer_synced: false,
            candidate: 0,
            candidate_at: Instant::ZERO,
            rival: None,
            duplicate_at: Instant::ZERO,
            hello_due: true,
            floor_due: peer_epoch != 0 && !own.unproved,
            frame_due: false,
            floor_at: Instant::ZERO,
        }
    }

    /// The peer's epoch, once it is verified.
    pub(super) fn verified(&self) -> Option<u32> {
        (self.peer_epoch != 0 && !self.own.unproved).then_some(self.peer_epoch)
    }

    pub(super) fn hello(&self) -> Hello {
        match self.candidate {
            0 => Hello {
                session: self.session,
                echo: self.peer_session,
                verified: self.verified().is_some(),
            },
            candidate => Hello {
                session: self.session,
                echo: candidate,
                verified: false,
            },
        }
    }

    /// The hello was sent.
    pub(super) fn hello_sent(&mut self) {
        (self.hello_due, self.candidate) = (false, 0);
    }

    /// Answers an end that has not proved yet that it speaks now, in a handshake.
    pub(super) fn answer(&mut self, session: u32) {
        self.candidate = session;
        (self.hello_due, self.frame_due) = (true, true);
    }

    /// The verified peer was heard.
    pub(super) fn peer_heard(&mut self, now: Instant, timeout: Duration) {
        if let Some(rival) = &mut self.rival
            // What was under way when the rival spoke proves nothing.
            && now >= rival.since + timeout
        {
            rival.peer_heard = true;
        }
    }

    /// Another end than the peer has proved that it speaks now. The peer is asked whether it is still
    /// there.
    pub(super) fn challenge(&mut self, head: Head, hello: Hello, now: Instant, timeout: Duration) {
        self.rival.get_or_insert_with(|| {
            self.hello_due = true;
            Rival {
                head,
                hello,
                since: now,
                until: now + timeout.saturating_mul(2),
                peer_heard: false,
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_comes_back_and_that_of_version_1_does_not() {
        for (unproved, renew) in [(false, false), (true, false), (false, true), (true, true)] {
            let identity = Identity {
                epoch: 0xDEAD_BEEF,
                boot_count: 7,
                unproved,
                renew,
            };
            assert_eq!(Identity::from_value(identity.to_value()), Some(identity));
        }
        assert_eq!(
            Identity::from_value([1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0]),
            None
        );
    }
}
