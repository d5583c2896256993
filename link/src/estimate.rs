//! What a message will cost, before it is sent.

use crate::{
    MAX_MESSAGE,
    chunk::{FRAGMENT_HEAD, MESSAGE_HEAD},
    endpoint::{Endpoint, SendError},
    frame::overhead,
    message::{Instruction, Message, PreviewRequest, Prompt},
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
    /// What `message` will cost if it is sent now.
    pub fn estimate(&self, message: &Message, now: Instant) -> Result<Estimate, SendError> {
        let mut body = [0; MAX_MESSAGE];
        let length = message.encode(&mut body).ok_or(SendError::TooLarge)?;
        let answer = expected_answer(message);
        let up = self.on_air(length, self.config().sending());
        let down = self.on_air(answer, self.config().receiving())
            + overhead(self.config().receiving())
            + ACK;
        let acknowledged = if answer > 0 {
            overhead(self.config().sending()) + ACK
        } else {
            0
        };
        let bytes_up = self.with_loss(up + acknowledged);
        let bytes_down = self.with_loss(down);
        let ahead = self.with_loss(self.bytes_ahead(crate::Class::of_kind(message.kind() as u8)));
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

/// Bytes of the answer's body, typically.
fn expected_answer(message: &Message) -> usize {
    match message {
        Message::Query(query) => match query.prompt {
            Prompt::Fixed(Instruction::Classify) => 11,
            Prompt::Fixed(Instruction::Count) => 12,
            Prompt::Fixed(Instruction::Localize) => 14,
            Prompt::Fixed(Instruction::Caption) => 22,
            Prompt::Fixed(Instruction::Survey) => 30,
            _ => 40,
        },
        // A quarter of a byte a pixel is a decent JPEG; the coarsest level goes uncompressed.
        Message::PreviewRequest(PreviewRequest { level, .. }) => {
            (1..=u32::from(*level).min(8))
                .map(|level| (32usize << level).pow(2) / 4)
                .sum::<usize>()
                + 32 * 32 * 3
        }
        Message::Configure(_) => 3,
        Message::Ping(_) => 5,
        _ => 0,
    }
}
