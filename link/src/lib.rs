//! The link between a program that looks for changes on board of a drone or small satellite, and
//! its program on the ground.
//!
//! The radio between them is slow, loses frames, falls silent for hours, and may be listened to and
//! talked over by others. The crate makes a link of it that loses no message, delivers none twice,
//! and never says a message is safe before it is.
//!
//! # What it must never do
//!
//! It does no I/O, reads no clock, allocates nothing, contains no `unsafe`, and does not panic on
//! any bytes. Both ends hold the same few kilobytes from start to end. It knows nothing of
//! pictures, models or files.
//!
//! # Use
//!
//! ```
//! use deltavlm_link::{Config, Endpoint, Event, Instant, Role, storage::MemoryStorage};
//! use deltavlm_messages::{Alert, CellSet, Confidence, Message};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut board = Endpoint::new(Config::new(Role::Board), MemoryStorage::<4096>::new())?;
//! let mut ground = Endpoint::new(Config::new(Role::Ground), MemoryStorage::<4096>::new())?;
//!
//! let alert = Message::Alert(Alert {
//!     tile: 4711,
//!     time: 86_400,
//!     confidence: Confidence::from_fraction(0.93),
//!     roads: 1,
//!     buildings: 12,
//!     roads_grid: CellSet::from_bits(0b000_000_111),
//!     buildings_grid: CellSet::from_bits(0b000_110_000),
//!     pair: 0xBEEF,
//! });
//! // From here on the alert is in the board's storage.
//! let id = board.send(&alert, Instant::ZERO)?;
//!
//! // Any carrier will do: here a perfect one.
//! let mut delivered = false;
//! for millis in 0..5_000 {
//!     let now = Instant::from_millis(millis);
//!     while let Some(frame) = board.poll_transmit(now) {
//!         ground.receive(frame, now);
//!     }
//!     while let Some(frame) = ground.poll_transmit(now) {
//!         board.receive(frame, now);
//!     }
//!     while let Some(event) = ground.poll_event() {
//!         if let Event::Message { id, message, .. } = event {
//!             assert_eq!(message, alert);
//!             // Act on it, then say so.
//!             ground.acknowledge(id);
//!         }
//!     }
//!     while let Some(event) = board.poll_event() {
//!         delivered |= event == Event::Delivered(id);
//!     }
//! }
//! assert!(delivered);
//! # Ok(())
//! # }
//! ```
//!
//! # Layers
//!
//! From the air inwards: [`cobs`] and [`frame`] (what a frame is), [`auth`] (who wrote it), the
//! chunks of a frame's payload, the reliability in [`Endpoint`], the messages, and
//! [`storage`] (what survives a power cut). `docs/wire-format.md` specifies all that is visible
//! from outside.

#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod auth;
mod chunk;
mod class;
pub mod cobs;
pub mod config;
mod config_error;
mod counters;
pub mod crc;
mod endpoint;
mod fec;
mod flight;
pub mod frame;
mod id;
mod inbox;
#[cfg(feature = "embedded-io")]
pub mod io;
// Until the link carries bytes alone.
use deltavlm_messages as message;
mod estimate;
mod outbox;
pub mod pacing;
mod ranges;
mod replay_window;
mod role;
#[cfg(feature = "std")]
pub mod sim;
pub mod storage;
mod time;
#[cfg(test)]
mod vectors;

pub use class::Class;
pub use config::Config;
pub use counters::Counters;
pub use endpoint::{Endpoint, Event, SendError, StartError};
pub use estimate::Estimate;
pub use id::MessageId;
pub use inbox::INBOX;
pub use outbox::OUTBOX;
pub use role::Role;
pub use time::{Duration, Instant};

/// The longest body of a message in bytes.
pub const MAX_MESSAGE: usize = 1024;
