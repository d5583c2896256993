//! Who the two ends are, and what they still have to tell each other of it.

use crate::{chunk::Hello, time::Instant};

/// What this end knows of its own and of the peer's start and storage.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handshake {
    /// Names this start of the program; never zero.
    pub(super) boot_id: u16,
    /// How often the program has started.
    pub(super) boot_count: u32,
    /// Names the storage; never zero.
    pub(super) storage_id: u16,
    /// The peer's storage and start, as far as they are known; zero for not known.
    pub(super) peer_storage_id: u16,
    pub(super) peer_boot_id: u16,
    /// The frame that told of the peer's start; what older ones say of parts is void.
    pub(super) peer_boot_counter: u64,
    /// The peer knows of this start. Until then nothing is acknowledged, because a peer that
    /// believes in parts that an earlier start acknowledged would never send them again.
    pub(super) peer_synced: bool,
    pub(super) hello_due: bool,
    pub(super) floor_due: bool,
    /// The next frame is a handshake, although the peer knows of this start.
    pub(super) frame_due: bool,
    /// When the peer may be told of the floor again because of an old frame.
    pub(super) floor_at: Instant,
}

impl Handshake {
    /// Before the first word of the peer.
    pub(super) fn new(
        storage_id: u16,
        peer_storage_id: u16,
        boot_count: u32,
        floor_due: bool,
    ) -> Self {
        Self {
            boot_id: (boot_count % u32::from(u16::MAX)) as u16 + 1,
            boot_count,
            storage_id,
            peer_storage_id,
            peer_boot_id: 0,
            peer_boot_counter: 0,
            peer_synced: false,
            hello_due: true,
            floor_due,
            frame_due: false,
            floor_at: Instant::ZERO,
        }
    }

    pub(super) fn hello(&self) -> Hello {
        Hello {
            boot_id: self.boot_id,
            echo: self.peer_boot_id,
            storage_id: self.storage_id,
        }
    }
}
