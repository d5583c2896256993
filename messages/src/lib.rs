//! What the board and the ground say to each other, and how it is laid out in bytes.
//!
//! A message is a [`Kind`] (six bits, carried by the link's chunk that holds it) and a body. Kinds
//! are frozen: a number is never given a second meaning. Bodies are `postcard`, except for the
//! [`Alert`], which is packed by hand into 15 bytes. Bytes behind the fields a decoder knows are
//! ignored, so a later version may append fields. `docs/wire-format.md` is the specification.
//!
//! ```
//! use deltavlm_messages::{Instruction, MAX_BODY, Message, Query};
//!
//! let query = Message::Query(Query { id: 1, tile: 4711, prompt: Instruction::Count.into() });
//! let mut body = [0; MAX_BODY];
//! let length = query.encode(&mut body).unwrap();
//! assert!(length <= 9);
//! assert_eq!(Message::decode(query.kind() as u8, &body[..length]), Ok(query));
//! ```
//!
//! # Invariants
//!
//! It needs no `std` and no allocator, does no I/O, contains no `unsafe`, and does not panic on any
//! bytes. It knows nothing of how a message travels: the link (`deltavlm-link`) knows nothing of it
//! either.

#![cfg_attr(not(any(test, feature = "clap")), no_std)]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod alert;
mod answer;
mod cells;
mod confidence;
mod health;
mod instruction;
mod kind;
mod message;
mod preview;
mod query;
mod refusal;
mod reply_size;
mod settings;
mod short_hash;
pub mod text;
mod tile_id;

pub use alert::{Alert, FaultReason, PairFault};
pub use answer::{Answer, AnswerBody, Provenance};
pub use cells::{Cell, CellSet};
pub use confidence::Confidence;
pub use health::{Health, StorageState};
pub use instruction::Instruction;
pub use kind::Kind;
pub use message::{DecodeError, MAX_BODY, Message};
pub use preview::{MAX_PREVIEW_DATA, PreviewFormat, PreviewImage, PreviewPart, PreviewRequest};
pub use query::{Prompt, Query, QueryId};
pub use refusal::{Refusal, RefusalReason};
pub use reply_size::{PREVIEW_BYTES, expected_reply_size};
pub use settings::{Configure, Setting};
pub use short_hash::short_hash;
pub use text::Text;
pub use tile_id::tile_number;
