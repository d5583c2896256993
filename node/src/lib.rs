//! One end of a link as a program runs it: what the on-board program and the ground program share.
//!
//! The link (`deltavlm-link`) is a state machine that does no I/O, and the messages
//! (`deltavlm-messages`) are values. A [`Node`] ties both to a [`Carrier`] and a clock:
//!
//! ```text
//!   program          Node                                    other end
//!   send(Message) -> encode -> Endpoint -> transmit() -> Carrier ~~~~>
//!   poll_event()  <- decode <- Endpoint <- receive()  <- Carrier <~~~~
//!                              | storage
//!                          store::Store
//! ```
//!
//! # Modules
//!
//! - [`carrier`]: serial devices, TCP, UDP, and wrappers for tests. Its trait's page shows how to add
//!   one; [`ReconnectingCarrier`] opens one again whenever it is lost.
//! - [`SharedKey`]: the file that holds the key of both ends; [`MasterSecret`] makes those of a fleet.
//! - [`LinkSettings`]: who the ends are, and all else that a link can be told; [`ContactSchedule`].
//! - [`store`]: the link's storage, and that of the program around it, in one transactional store.
//! - [`atomic_file`]: a file that a power cut leaves whole; [`crc_log`]: what came before the store.
//!
//! # Invariants
//!
//! A carrier never blocks its caller for longer than asked, interprets no byte and keeps none back.
//! A file is replaced or appended to, never left half written. A key is never shown or logged.
//!
//! ```no_run
//! use deltavlm_node::{Address, ReconnectingCarrier};
//! use std::time::Duration;
//!
//! let address: Address = "serial:/dev/ttyUSB0:57600".parse()?;
//! let mut carrier = ReconnectingCarrier::new(address);
//! let mut buffer = [0; 512];
//! let n = carrier.read(&mut buffer, Duration::from_millis(50));
//! carrier.write(&buffer[..n]);
//! # Ok::<(), deltavlm_node::AddressError>(())
//! ```

#![forbid(unsafe_code)]

pub mod atomic_file;
pub mod carrier;
mod contacts;
pub mod crc_log;
mod event;
mod key;
mod link_settings;
mod master;
mod message_types;
mod node;
mod reconnect;
pub mod store;

pub use carrier::{Address, AddressError, Carrier, FaultInjector, Serial, Tracer};
pub use contacts::{ContactError, ContactSchedule};
pub use deltavlm_link::LinkId;
pub use event::NodeEvent;
pub use key::{KeyError, SharedKey};
pub use link_settings::{DutyShare, Lifetimes, LinkSettings, SimplexSettings};
pub use master::MasterSecret;
pub use message_types::MESSAGE_TYPES;
pub use node::{Node, NodeConfig, NodeError};
pub use reconnect::{CarrierEvent, CarrierSource, ReconnectingCarrier};
