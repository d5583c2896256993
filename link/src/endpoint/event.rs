//! What an endpoint says to the application.

use core::fmt;

use crate::{MAX_MESSAGE, id::MessageId, reject_reason::RejectReason};

/// What an endpoint has to say to the application.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(
    clippy::large_enum_variant,
    reason = "there is no allocator to box a message with"
)]
pub enum Event {
    /// A message came. Call [`Endpoint::acknowledge`](crate::Endpoint::acknowledge) when it is dealt with.
    Message {
        /// Its name at both ends.
        id: MessageId,
        /// What kind of message it is, which decides its class.
        kind: u8,
        /// What it says.
        body: heapless::Vec<u8, MAX_MESSAGE>,
        /// The program started since the message came, and it was not acknowledged before that.
        /// An application that keeps a record of its own can tell by the id whether it acted on it.
        redelivered: bool,
    },
    /// The peer has the message, in its storage.
    Delivered(MessageId),
    /// The message was sent as often as asked for, to a peer that cannot answer.
    Sent(MessageId),
    /// The peer will not take the message.
    Rejected(MessageId, RejectReason),
    /// The message waited longer than its class may.
    Expired(MessageId),
    /// A newer message took its place, or it was cancelled.
    Superseded(MessageId),
    /// The peer is heard.
    LinkUp,
    /// The peer has not been heard for a while. Nothing is lost; only probes are sent until it is.
    LinkDown,
    /// The peer's program started again.
    PeerStarted,
    /// The peer says that it does not take frames of this end: they do not pass its authentication,
    /// or another end has this one's name.
    AuthDenied(RejectReason),
    /// The peer speaks from other storage than before: it lost its own, or another end took its
    /// place. It knows none of the messages that were under way, and they are sent again.
    PeerReplaced,
    /// Another end with the peer's craft and station numbers (and key) is on this channel. Only one of
    /// them is heard; the other keeps what it has until it gets a number of its own.
    DuplicateIdentity,
    /// The peer speaks this version of the wire format, and this end another
    /// ([`VERSION`](crate::frame::VERSION)): one of them has to be updated.
    OtherFormat(u8),
    /// Both ends use the key of this id from now on; the one before it is gone.
    KeyChanged(u32),
    /// Storage failed. What it failed at was refused or left with the peer.
    StorageFailed,
}

/// Why a message was not accepted for sending. It is not in storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The peer could not read it: the body is empty, the kind is outside 1 to 61, or the
    /// application's own check says so.
    Invalid,
    /// Longer than [`MAX_MESSAGE`](crate::MAX_MESSAGE) bytes.
    TooLarge,
    /// Too many messages wait, or storage is full.
    QueueFull,
    /// This end does not send such messages: only the ground sends commands.
    WrongDirection,
    /// Storage failed.
    Storage,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid => "the message is not one that the peer could read",
            Self::TooLarge => "the message is too large",
            Self::QueueFull => "too many messages wait",
            Self::WrongDirection => "only the ground sends commands",
            Self::Storage => "storage failed",
        })
    }
}

impl core::error::Error for SendError {}

/// The events that carry nothing, so that a queue of them is small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    LinkUp,
    LinkDown,
    PeerStarted,
    StorageFailed,
    AuthDenied(RejectReason),
    PeerReplaced,
    DuplicateIdentity,
    OtherFormat(u8),
    KeyChanged(u32),
}
