//! What happened on the link, counted.

use crate::frame::FrameError;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What happened at one end since it started. Nothing here is ever reset.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[non_exhaustive]
        pub struct Counters {
            $($(#[$doc])* pub $name: u32,)*
        }

        impl Counters {
            /// All counters with their names.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u32)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}

counters! {
    /// Frames sent.
    frames_sent,
    /// Bytes sent, everything included.
    bytes_sent,
    /// Good frames received.
    frames_received,
    /// Bytes received, good or not.
    bytes_received,
    /// Blocks that were no COBS, too short or too long.
    bad_stuffing,
    /// Frames of another version.
    bad_version,
    /// Whole frames of version 1 of the wire format, among those of another version.
    version_1,
    /// Frames that were too short.
    bad_length,
    /// Frames of other craft or stations on the channel.
    foreign,
    /// Frames whose CRC did not fit.
    bad_checksum,
    /// Frames that this end could have sent itself.
    reflected,
    /// Frames with less protection than demanded.
    unprotected,
    /// Frames that named an empty key slot.
    unknown_key,
    /// Frames that came before the peer had proved which storage it speaks from.
    unknown_epoch,
    /// Frames whose tag did not fit: forged, for another key, or damaged.
    bad_authentication,
    /// Frames whose counter was not new.
    replayed,
    /// Frames with a chunk that no version of the protocol writes.
    malformed_chunks,
    /// Chunks of a later version, stepped over.
    unknown_chunks,
    /// Messages of a kind that this version does not know, skipped.
    unknown_kinds,
    /// Messages of a known kind that could not be read, skipped.
    malformed_messages,
    /// Messages that came again.
    duplicates,
    /// Messages left with the peer because there was no room for them.
    deferred,
    /// Messages refused for a reason.
    rejected,
    /// Acknowledgements of frames that were never sent, and the like.
    nonsense,
    /// Frames presumed lost.
    frames_lost,
    /// Frames presumed lost that carried messages, which were queued again.
    frames_resent,
    /// Times that the retransmission timer ran out.
    timeouts,
    /// Times that the peer was no longer heard and the link went down.
    link_downs,
    /// Frames won back by repair frames.
    frames_repaired,
    /// Times that storage failed.
    storage_failures,
}

impl Counters {
    pub(crate) fn count(counter: &mut u32) {
        *counter = counter.saturating_add(1);
    }

    pub(crate) fn frame_error(&mut self, error: FrameError) {
        if error == FrameError::Version1 {
            Self::count(&mut self.version_1);
        }
        Self::count(match error {
            FrameError::Stuffing => &mut self.bad_stuffing,
            FrameError::Version | FrameError::Version1 => &mut self.bad_version,
            FrameError::Foreign => &mut self.foreign,
            FrameError::UnknownEpoch => &mut self.unknown_epoch,
            FrameError::Length => &mut self.bad_length,
            FrameError::Checksum => &mut self.bad_checksum,
            FrameError::Reflected => &mut self.reflected,
            FrameError::Unprotected => &mut self.unprotected,
            FrameError::UnknownKey => &mut self.unknown_key,
            FrameError::Authentication => &mut self.bad_authentication,
            FrameError::Replayed => &mut self.replayed,
        });
    }
}
