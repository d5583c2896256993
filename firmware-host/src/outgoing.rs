//! Messages on their way to the link, which has room for a limited number at a time.

use deltavlm_link::{MessageId, message::Message};
use std::collections::VecDeque;

/// Replies wait here, not on disk: the request that each settles stays with the link until
/// the reply is in the link's storage, so after a power cut the request comes again.
#[derive(Debug, Default)]
pub(crate) struct Outgoing(VecDeque<Entry>);

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) message: Message,
    /// The request that is dealt with once the link has this message.
    pub(crate) settles: Option<MessageId>,
}

impl Outgoing {
    /// The only reply to a request.
    pub(crate) fn reply(&mut self, message: Message, settles: MessageId) {
        self.0.push_back(Entry {
            message,
            settles: Some(settles),
        });
    }

    /// One of several messages, none of which ends a request.
    pub(crate) fn part(&mut self, message: Message) {
        self.0.push_back(Entry {
            message,
            settles: None,
        });
    }

    /// The oldest message.
    pub(crate) fn first(&self) -> Option<&Entry> {
        self.0.front()
    }

    /// Forgets the oldest message: the link has it.
    pub(crate) fn done(&mut self) {
        self.0.pop_front();
    }
}
