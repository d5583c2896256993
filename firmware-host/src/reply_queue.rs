//! Messages on their way to the link, which has room for a limited number at a time.

use deltavlm_link::MessageId;
use deltavlm_messages::Message;
use std::collections::VecDeque;

/// Replies wait here, not on disk: the request that each settles stays with the link until
/// the reply is in the link's storage, so after a power cut the request comes again.
#[derive(Debug, Default)]
pub(crate) struct ReplyQueue(VecDeque<Entry>);

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) message: Message,
    /// The request that is dealt with once the link has this message.
    pub(crate) completes: Option<MessageId>,
}

impl ReplyQueue {
    /// The only reply to a request.
    pub(crate) fn push_reply(&mut self, message: Message, completes: MessageId) {
        self.0.push_back(Entry {
            message,
            completes: Some(completes),
        });
    }

    /// One of several messages, none of which ends a request.
    pub(crate) fn push(&mut self, message: Message) {
        self.0.push_back(Entry {
            message,
            completes: None,
        });
    }

    /// The oldest message.
    pub(crate) fn front(&self) -> Option<&Entry> {
        self.0.front()
    }

    /// Forgets the oldest message: the link has it.
    pub(crate) fn pop(&mut self) {
        self.0.pop_front();
    }
}
