//! What moves the link's bytes: one file for each kind, and how a user names one.

mod address;
mod fault_injector;
mod poll;
mod serial;
mod tcp;
mod tracer;
mod udp;

pub use address::{Address, AddressError};
pub use fault_injector::FaultInjector;
pub use serial::Serial;
pub use tracer::{Tracer, Transfer};

use std::{io, time::Duration};

/// Something that carries bytes to the other end, well or badly.
///
/// A carrier may lose, cut and garble bytes; the link is built for that. It does not know what the
/// bytes mean, and it keeps none back: what cannot be sent in time is dropped, and the link sends
/// it again.
///
/// # Adding a carrier
///
/// Implement the two methods in a file of its own beside `serial.rs`, and give it a name in
/// [`Address`], so that every program can open it with `--link NAME:...`. A whole one, over a
/// Unix socket:
///
/// ```
/// use deltavlm_node::{Carrier, Tracer};
/// use std::{
///     io::{self, Read, Write},
///     os::unix::net::UnixStream,
///     time::Duration,
/// };
///
/// struct Socket(UnixStream);
///
/// impl Carrier for Socket {
///     fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
///         // A zero timeout would mean "for ever" to the socket.
///         self.0.set_read_timeout(Some(timeout.max(Duration::from_millis(1))))?;
///         match self.0.read(buffer) {
///             // The other end is gone: an error makes `ReconnectingCarrier` open it again.
///             Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
///             Ok(n) => Ok(n),
///             // Nothing came in time: that is no error.
///             Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
///             Err(error) => Err(error),
///         }
///     }
///
///     fn write(&mut self, frame: &[u8]) -> io::Result<()> {
///         self.0.set_write_timeout(Some(Duration::from_millis(500)))?;
///         self.0.write_all(frame)
///     }
/// }
///
/// // It can be wrapped like any other, here to watch what passes.
/// let (one, other) = UnixStream::pair()?;
/// let mut board = Tracer::new(Socket(one), |transfer| println!("{transfer:?}"));
/// let mut ground = Socket(other);
/// board.write(b"frame")?;
/// let mut buffer = [0; 16];
/// assert_eq!(ground.read(&mut buffer, Duration::from_secs(1))?, 5);
/// assert_eq!(ground.read(&mut buffer, Duration::from_millis(5))?, 0);
/// # Ok::<(), io::Error>(())
/// ```
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

impl<C: Carrier + ?Sized> Carrier for Box<C> {
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        (**self).read(buffer, timeout)
    }

    fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        (**self).write(frame)
    }
}
