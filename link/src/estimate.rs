//! What a message will cost, before it is sent.

use crate::{
    MAX_MESSAGE,
    chunk::{FRAGMENT_HEAD, MESSAGE_HEAD},
    endpoint::{Endpoint, SendError},
    frame::overhead,
    storage::Storage,
    time::{Duration, Instant},
};

/// Bytes of an acknowledgement that travels alone.
const ACK: usize = 5;

/// What a message will cost. All of it is an expectation, except that without loss no more than
/// `bytes_up` are sent for the message itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// Bytes that this end will put on the air for it, repetitions at the present loss included.
    pub bytes_up: u32,
    /// Bytes that the peer will put on the air for acknowledgement and answer, where there is one.
    pub bytes_down: u32,
    /// Until the answer (or, where there is none, the acknowledgement) is here: at the present rate,
    /// behind what waits already, within the contact schedule. The time the peer needs to find the
    /// answer is not in it. `None` if the contact schedule ends before.
    pub time: Option<Duration>,
}

impl<S: Storage> Endpoint<S> {
    /// What a message of this kind with a body of `length` bytes will cost if it is sent now, and is
    /// answered by a message of `reply_length` bytes (zero for no answer).
    ///
    /// # Errors
    /// The body is longer than [`MAX_MESSAGE`].
    pub fn estimate(
        &self,
        kind: u8,
        length: usize,
        reply_length: usize,
        now: Instant,
    ) -> Result<Estimate, SendError> {
        if length > MAX_MESSAGE {
            return Err(SendError::TooLarge);
        }
        let up = self.on_air(length, self.config().sending());
        let down = self.on_air(reply_length, self.config().receiving())
            + overhead(self.config().receiving())
            + ACK;
        let acknowledged = if reply_length > 0 {
            overhead(self.config().sending()) + ACK
        } else {
            0
        };
        let bytes_up = self.with_loss(up + acknowledged);
        let bytes_down = self.with_loss(down);
        let ahead = self.with_loss(self.bytes_ahead(crate::Class::of_kind(kind)));
        let airtime = self.time_for(u64::from(ahead) + u64::from(bytes_up) + u64::from(bytes_down));
        let time = self.within_schedule(airtime + self.round_trip(), now);
        Ok(Estimate {
            bytes_up,
            bytes_down,
            time,
        })
    }

    /// Bytes on the air for a body of this length, in as few frames as it takes.
    fn on_air(&self, length: usize, protection: crate::auth::Protection) -> usize {
        if length == 0 {
            return 0;
        }
        let capacity = usize::from(self.config().mtu) - overhead(protection);
        if length + MESSAGE_HEAD <= capacity {
            return length + MESSAGE_HEAD + overhead(protection);
        }
        let frames = length.div_ceil(capacity - FRAGMENT_HEAD);
        length + frames * (FRAGMENT_HEAD + overhead(protection))
    }
}
