//! What the receiving half keeps.

use super::command_limit::CommandLimit;
use crate::{
    frame::Deframer, id::MessageId, inbox::Inbox, reject_reason::RejectReason,
    replay_window::ReplayWindow, time::Instant,
};

/// From bytes to messages that wait for the application, and what the peer is to be told of them.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) deframer: Deframer,
    pub(super) replay_window: ReplayWindow,
    pub(super) inbox: Inbox,
    pub(super) rejections: heapless::Deque<(MessageId, RejectReason), 8>,
    /// Why the peer is to be told that its frames are not taken.
    pub(super) denial: Option<RejectReason>,
    /// Frames of version 1 of the wire format since the last good one.
    pub(super) old_frames: u8,
    pub(super) commands: CommandLimit,
}

impl Receiver {
    pub(super) fn new(replay_window: ReplayWindow, inbox: Inbox, commands_per_minute: u16) -> Self {
        Self {
            deframer: Deframer::new(),
            replay_window,
            inbox,
            rejections: heapless::Deque::new(),
            denial: None,
            old_frames: 0,
            commands: CommandLimit::new(commands_per_minute, Instant::ZERO),
        }
    }

    /// Queues the news that a message will not be taken; where there is no room, it comes again and
    /// is rejected again.
    pub(super) fn queue_rejection(&mut self, id: MessageId, reason: RejectReason) {
        if !self.rejections.iter().any(|(queued, _)| *queued == id) {
            let _ = self.rejections.push_back((id, reason));
        }
    }
}
