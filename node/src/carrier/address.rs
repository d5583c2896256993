//! What a user writes to name a carrier.

use super::{Carrier, Serial, tcp, udp};
use std::{fmt, io, path::PathBuf, str::FromStr};

/// A carrier's address, as written in a configuration or on a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `serial:PATH:BAUD`: a serial device, 8 data bits, no parity, one stop bit.
    Serial {
        /// The device, e.g. `/dev/ttyUSB0`.
        path: PathBuf,
        /// Bits per second on the wire.
        baud: u32,
    },
    /// `tcp:HOST:PORT`: connects to a listening end.
    Tcp(String),
    /// `tcp-listen:HOST:PORT`: accepts one peer at a time, the newest wins.
    TcpListen(String),
    /// `udp:HOST:PORT`: sends to that end from any free port.
    Udp(String),
    /// `udp-listen:HOST:PORT`: answers whoever spoke last.
    UdpListen(String),
}

/// A string that names no carrier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The part before the first colon is not known.
    #[error(
        "`{0}` names no carrier: write serial:PATH:BAUD, tcp:HOST:PORT, tcp-listen:HOST:PORT, \
         udp:HOST:PORT or udp-listen:HOST:PORT"
    )]
    Kind(String),
    /// A serial address without device or speed.
    #[error("`{0}` is not complete: write serial:PATH:BAUD, e.g. serial:/dev/ttyUSB0:57600")]
    Serial(String),
    /// A speed that is no number of bits per second.
    #[error("`{0}` is not a speed in bits per second (50 to 4000000), e.g. 57600")]
    Baud(String),
    /// A network address without host or port.
    #[error("`{0}` is not complete: write HOST:PORT, e.g. 192.168.1.10:7000")]
    HostPort(String),
}

impl Address {
    /// Opens the carrier.
    ///
    /// # Errors
    /// The device cannot be opened or is in use, or the network end does not answer.
    pub fn open(&self) -> io::Result<Box<dyn Carrier>> {
        Ok(match self {
            Self::Serial { path, baud } => Box::new(Serial::open(path, *baud)?),
            Self::Tcp(peer) => Box::new(tcp::Stream::connect(peer)?),
            Self::TcpListen(local) => Box::new(tcp::Listener::bind(local)?),
            Self::Udp(peer) => Box::new(udp::Datagrams::connect(peer)?),
            Self::UdpListen(local) => Box::new(udp::Datagrams::listen(local)?),
        })
    }

    /// Bytes per second that the carrier itself allows; `None` when it sets no bound.
    #[must_use]
    pub fn bytes_per_second(&self) -> Option<u32> {
        match self {
            // A start bit, eight data bits and a stop bit for every byte.
            Self::Serial { baud, .. } => Some(baud / 10),
            _ => None,
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        Ok(match kind {
            "serial" => {
                let (path, baud) = rest
                    .rsplit_once(':')
                    .filter(|(path, baud)| !path.is_empty() && !baud.is_empty())
                    .ok_or_else(|| AddressError::Serial(text.into()))?;
                let speed = baud
                    .parse()
                    .ok()
                    .filter(|speed| (50..=4_000_000).contains(speed));
                let baud = speed.ok_or_else(|| AddressError::Baud(baud.into()))?;
                Self::Serial {
                    path: path.into(),
                    baud,
                }
            }
            "tcp" => Self::Tcp(host_port(rest)?),
            "tcp-listen" => Self::TcpListen(host_port(rest)?),
            "udp" => Self::Udp(host_port(rest)?),
            "udp-listen" => Self::UdpListen(host_port(rest)?),
            _ => return Err(AddressError::Kind(text.into())),
        })
    }
}

fn host_port(text: &str) -> Result<String, AddressError> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.into()),
        _ => Err(AddressError::HostPort(text.into())),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial { path, baud } => write!(f, "serial:{}:{baud}", path.display()),
            Self::Tcp(peer) => write!(f, "tcp:{peer}"),
            Self::TcpListen(local) => write!(f, "tcp-listen:{local}"),
            Self::Udp(peer) => write!(f, "udp:{peer}"),
            Self::UdpListen(local) => write!(f, "udp-listen:{local}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read_back() {
        for text in [
            "serial:/dev/ttyUSB0:57600",
            "serial:/dev/serial/by-id/usb-FTDI:0:9600",
            "tcp:10.0.0.2:7000",
            "tcp-listen:[::]:7000",
            "udp:board.local:7000",
            "udp-listen:0.0.0.0:7000",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_wrong_address_says_what_to_write() {
        for (text, expected) in [
            ("", "names no carrier"),
            ("usb:3", "names no carrier"),
            ("serial:/dev/ttyUSB0", "not complete"),
            ("serial:/dev/ttyUSB0:fast", "not a speed"),
            ("serial:/dev/ttyUSB0:7", "not a speed"),
            ("serial::9600", "not complete"),
            ("tcp:board", "write HOST:PORT"),
            ("tcp::7000", "write HOST:PORT"),
            ("udp:board:70000", "write HOST:PORT"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
