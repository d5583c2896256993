//! The size of frame buffers.

/// The longest MTU a link may have, and the size of every frame buffer.
pub const MAX_MTU: usize = 255;
