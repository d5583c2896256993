//! What a node says to its program.

use deltavlm_link::{Event, MessageId, RejectReason};
use deltavlm_messages::{Message, RefusalReason};

/// What a node has to say to its program: the link's [`Event`] with its message decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(
    clippy::large_enum_variant,
    reason = "an event is taken apart at once and never kept"
)]
pub enum NodeEvent {
    /// A message came. Call [`Node::acknowledge`](crate::Node::acknowledge) when it is dealt with.
    Message {
        /// Its name at both ends.
        id: MessageId,
        /// What it says.
        message: Message,
        /// The program started since the message came, and it was not acknowledged before that.
        redelivered: bool,
    },
    /// The other end has the message, in its storage.
    Delivered(MessageId),
    /// The message was sent as often as asked for, to an end that cannot answer.
    Sent(MessageId),
    /// The other end will not take the message.
    Rejected(MessageId, RefusalReason),
    /// The message waited longer than it may.
    Expired(MessageId),
    /// A newer message took its place, or it was cancelled.
    Superseded(MessageId),
    /// The other end is heard.
    LinkUp,
    /// The other end has not been heard for a while. Nothing is lost.
    LinkDown,
    /// The other end's program started again.
    PeerStarted,
    /// The other end says that frames of this one do not pass its authentication.
    AuthDenied(RefusalReason),
    /// The other end speaks from other storage than before.
    PeerReplaced,
    /// Another end with the other end's craft and station numbers is on this channel.
    DuplicateIdentity,
    /// The other end says that another has this one's craft and station numbers.
    Displaced,
    /// The other end speaks this version of the wire format.
    OtherFormat(u8),
    /// Storage failed. What it failed at was refused or left with the other end.
    StorageFailed,
}

impl NodeEvent {
    /// What an operator must be told, with the remedy: somebody has to do something about it, or the
    /// other end is not heard any more.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        Some(match self {
            Self::AuthDenied(_) => "the other end refuses frames of this one: both ends need the \
                 same key, craft and station"
                .to_owned(),
            Self::PeerReplaced => "the other end speaks from new storage: it lost its own, or \
                 another took its place; what was under way is sent again"
                .to_owned(),
            Self::DuplicateIdentity => "another end with the same craft and station numbers is on \
                 this channel, and only one of them is heard: give each craft a number of its own"
                .to_owned(),
            Self::Displaced => "another end has this one's craft and station numbers and took its \
                 place: give one of them another number and start this program again; nothing is lost"
                .to_owned(),
            Self::OtherFormat(version) => format!(
                "the other end speaks format {version} of the link, this program format {}: \
                 update the older of them",
                deltavlm_link::frame::VERSION
            ),
            _ => return None,
        })
    }
}

/// The event in this program's terms. The id alone for a message that cannot be decoded, and
/// nothing for an event that a later link adds.
pub(crate) fn translate(event: Event) -> Result<Option<NodeEvent>, MessageId> {
    Ok(Some(match event {
        Event::Message {
            id,
            kind,
            body,
            redelivered,
        } => match Message::decode(kind, &body) {
            Ok(message) => NodeEvent::Message {
                id,
                message,
                redelivered,
            },
            Err(_) => return Err(id),
        },
        Event::Delivered(id) => NodeEvent::Delivered(id),
        Event::Sent(id) => NodeEvent::Sent(id),
        Event::Rejected(id, reason) => NodeEvent::Rejected(id, refusal(reason)),
        Event::Expired(id) => NodeEvent::Expired(id),
        Event::Superseded(id) => NodeEvent::Superseded(id),
        Event::LinkUp => NodeEvent::LinkUp,
        Event::LinkDown => NodeEvent::LinkDown,
        Event::PeerStarted => NodeEvent::PeerStarted,
        Event::AuthDenied(RejectReason::DuplicateIdentity) => NodeEvent::Displaced,
        Event::AuthDenied(reason) => NodeEvent::AuthDenied(refusal(reason)),
        Event::PeerReplaced => NodeEvent::PeerReplaced,
        Event::DuplicateIdentity => NodeEvent::DuplicateIdentity,
        Event::OtherFormat(version) => NodeEvent::OtherFormat(version),
        Event::StorageFailed => NodeEvent::StorageFailed,
        _ => return Ok(None),
    }))
}

/// The link's reasons are the first of the messages' reasons, under the same numbers.
fn refusal(reason: RejectReason) -> RefusalReason {
    RefusalReason::from_number(reason as u8).unwrap_or(RefusalReason::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reasons_of_link_and_messages_agree() {
        for (link, messages) in [
            (RejectReason::TooLarge, RefusalReason::TooLarge),
            (RejectReason::QueueFull, RefusalReason::QueueFull),
            (RejectReason::RateLimited, RefusalReason::RateLimited),
            (
                RejectReason::BadAuthentication,
                RefusalReason::BadAuthentication,
            ),
            (RejectReason::Unsupported, RefusalReason::Unsupported),
            (RejectReason::Failed, RefusalReason::Failed),
        ] {
            assert_eq!(refusal(link), messages);
            assert_eq!(link as u8, messages as u8);
        }
    }
}
