//! What the on-board program and the ground program share around the link: the
//! carriers of its bytes, the key file, and how a file is replaced without a power cut
//! leaving half of it.
//!
//! The link (`deltavlm-link`) is a state machine that knows no device. Both programs
//! need the same few ways of moving its bytes, so they live here once: a serial device,
//! a TCP stream, UDP datagrams.
//!
//! A carrier is allowed to lose, cut and garble bytes; the link is built for that. What
//! a carrier must never do is block its caller for longer than asked, interpret a byte,
//! or keep bytes back: what was not sent in time is dropped and the link repeats it.
//!
//! ```no_run
//! use deltavlm_carrier::{Address, Line};
//! use std::time::Duration;
//!
//! let address: Address = "serial:/dev/ttyUSB0:57600".parse()?;
//! let mut line = Line::new(address);
//! let mut buffer = [0; 512];
//! let n = line.read(&mut buffer, Duration::from_millis(50));
//! line.write(&buffer[..n]);
//! # Ok::<(), deltavlm_carrier::AddressError>(())
//! ```

#![forbid(unsafe_code)]

mod address;
pub mod disk;
mod key;
mod line;
mod serial;
mod tcp;
mod udp;
mod wait;

pub use address::{Address, AddressError};
pub use key::{KeyError, SharedKey};
pub use line::{Line, Notice};
pub use serial::Serial;

use std::{io, time::Duration};

/// Something that carries bytes to the other end, well or badly.
pub trait Carrier: Send {
    /// Reads what has arrived, waiting for `timeout` at most; 0 means that nothing came.
    ///
    /// # Errors
    /// The device or connection is gone and has to be opened again.
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize>;

    /// Hands one frame to the wire.
    ///
    /// # Errors
    /// The device or connection is gone, or took nothing for too long.
    fn write(&mut self, frame: &[u8]) -> io::Result<()>;
}
