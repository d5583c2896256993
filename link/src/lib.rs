//! A link over a slow, lossy, intermittent radio: messages go in at one end and come out at the other,
//! each once, unaltered, and the urgent ones first.
//!
//! The radio it is for loses frames, falls silent for hours, and may be listened to and talked over
//! by others; the two ends may lose power at any moment. What [`Endpoint::send`] has accepted is in
//! storage and stays there until the peer has it in its own. It was written for an on-board program
//! and its ground program, and works for any two ends of which one gives commands and the other
//! reports: a message is a kind (1 to 61, which decides its priority) and up to 1024 bytes that mean
//! nothing to the link.
//!
//! # Data flow
//!
//! The crate does no I/O (sans-IO): an [`Endpoint`] is a state machine, and the program around it
//! moves bytes and tells the time.
//!
//! ```text
//!         program                    Endpoint                          carrier
//!
//!   send(kind, body, now) ---> | outbox --+                    |
//!                              |  (by     v                    |
//!                              |  class) fragments, chunks,    |
//!                              |         repair, tag, COBS ----|--> poll_transmit(now) ~~~> radio
//!                              |            ^                  |
//!                              |            | acknowledgements |
//!                              |            v                  |
//!   poll_event() <------------ | inbox <- replay window, tag,  |
//!   acknowledge(id) ---------> |         deframer, COBS <------|--- receive(bytes, now) <~~ radio
//!                              |   ^                           |
//!                              +---|---------------------------+
//!                                  v
//!                 Storage: messages, counters, windows        next_deadline() -> when to poll again
//! ```
//!
//! # Use
//!
//! ```
//! use deltavlm_link::{Config, Endpoint, Event, Instant, Role, storage::MemoryStorage};
//!
//! // Kinds of one's own. The number decides the priority: 0 to 7 urgent, 8 to 23 interactive (8 to 15
//! // are commands, unless configured otherwise), 24 to 31 telemetry, 32 to 39 routine, then bulk.
//! const OVERHEAT: u8 = 1;
//! const SET_HEATER: u8 = 8;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut board = Endpoint::new(Config::new(Role::Board), MemoryStorage::<4096>::new())?;
//! let mut ground = Endpoint::new(Config::new(Role::Ground), MemoryStorage::<4096>::new())?;
//!
//! // From here on the message is in the board's storage.
//! let id = board.send(OVERHEAT, b"battery, 61 C", Instant::ZERO)?;
//! ground.send(SET_HEATER, &[0], Instant::ZERO)?;
//!
//! // Any carrier will do: here a perfect one.
//! let (mut delivered, mut heater) = (false, None);
//! for millis in 0..5_000 {
//!     let now = Instant::from_millis(millis);
//!     while let Some(frame) = board.poll_transmit(now) {
//!         ground.receive(frame, now);
//!     }
//!     while let Some(frame) = ground.poll_transmit(now) {
//!         board.receive(frame, now);
//!     }
//!     while let Some(event) = ground.poll_event() {
//!         if let Event::Message { id, kind, body, .. } = event {
//!             assert_eq!((kind, &body[..]), (OVERHEAT, &b"battery, 61 C"[..]));
//!             // Act on it, then say so.
//!             ground.acknowledge(id);
//!         }
//!     }
//!     while let Some(event) = board.poll_event() {
//!         match event {
//!             Event::Delivered(done) => delivered |= done == id,
//!             Event::Message { id, kind: SET_HEATER, body, .. } => {
//!                 heater = body.first().copied();
//!                 board.acknowledge(id);
//!             }
//!             _ => {}
//!         }
//!     }
//! }
//! assert!(delivered);
//! assert_eq!(heater, Some(0));
//! # Ok(())
//! # }
//! ```
//!
//! [`MessageTypes`] says which kinds are commands, and lets the application check a body before it is
//! acknowledged to the peer. [`sim`] runs two ends through a bad radio and power cuts.
//!
//! # Layers
//!
//! From the air inwards: [`cobs`] and [`frame`] (what a frame is), [`auth`] (who wrote it), the
//! chunks of a frame's payload, the reliability in [`Endpoint`], and [`storage`] (what survives a
//! power cut). `docs/wire-format.md` specifies all that is visible from outside.
//!
//! # Invariants
//!
//! - It does no I/O, reads no clock, allocates nothing, contains no `unsafe`, and does not panic on
//!   any bytes. Both ends hold the same few kilobytes from start to end.
//! - It loses no message that it accepted, hands none out twice within one start, and never says a
//!   message is delivered before it is in the peer's storage.
//! - It uses no nonce twice with a key, whatever happens to the power, and even if storage is lost.
//! - It takes no frame of another craft or station for one of its own, obeys none that was sent to
//!   another storage, and none from a peer that has not proved that it speaks now.
//! - It never interprets a body, and knows no message of any application.

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
mod estimate;
mod fec;
mod flight;
pub mod frame;
mod id;
mod identity;
mod inbox;
#[cfg(feature = "embedded-io")]
pub mod io;
pub mod message_types;
mod mtu;
mod outbox;
pub mod pacing;
mod ranges;
mod reject_reason;
mod replay_window;
mod role;
#[cfg(feature = "std")]
pub mod sim;
pub mod storage;
mod time;
#[cfg(test)]
#[path = "../tests/vectors/golden.rs"]
mod vectors;

pub use class::Class;
pub use config::Config;
pub use counters::Counters;
pub use endpoint::{Endpoint, Event, RotateError, SendError, StartError};
pub use estimate::Estimate;
pub use id::MessageId;
pub use identity::{LinkId, MAX_STATION};
pub use inbox::INBOX;
pub use message_types::MessageTypes;
pub use outbox::OUTBOX;
pub use reject_reason::RejectReason;
pub use role::Role;
pub use time::{Duration, Instant};

/// The longest body of a message in bytes.
pub const MAX_MESSAGE: usize = 1024;
