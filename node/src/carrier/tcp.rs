//! A TCP stream, for simulation and for radios with an Ethernet port.

use super::{Carrier, poll};
use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream, ToSocketAddrs},
    time::Duration,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const WRITE_TIMEOUT: Duration = Duration::from_millis(500);

/// A connected stream.
pub(crate) struct Stream(TcpStream);

impl Stream {
    pub(crate) fn connect(peer: &str) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
        for address in peer.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(stream) => return Self::new(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        Ok(Self(stream))
    }
}

impl Carrier for Stream {
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        if !poll::readable(&self.0, timeout)? {
            return Ok(0);
        }
        match self.0.read(buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            other => other,
        }
    }

    fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        self.0.write_all(frame)
    }
}

/// A listening socket and the peer that connected last.
///
/// The newest peer wins: a ground station that lost power leaves a connection that looks
/// alive for minutes, and must be able to come back at once.
pub(crate) struct Listener {
    listener: TcpListener,
    peer: Option<Stream>,
}

impl Listener {
    pub(crate) fn bind(local: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(local)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            peer: None,
        })
    }

    fn accept(&mut self) -> io::Result<()> {
        match self.listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                self.peer = Some(Stream::new(stream)?);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Carrier for Listener {
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        self.accept()?;
        let Some(peer) = &mut self.peer else {
            poll::readable(&self.listener, timeout)?;
            self.accept()?;
            return Ok(0);
        };
        peer.read(buffer, timeout).or_else(|_| {
            self.peer = None;
            Ok(0)
        })
    }

    fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        if let Some(peer) = &mut self.peer
            && peer.write(frame).is_err()
        {
            self.peer = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(carrier: &mut dyn Carrier, expected: usize) -> Vec<u8> {
        let mut got = Vec::new();
        let mut buffer = [0; 64];
        for _ in 0..20 {
            let n = carrier
                .read(&mut buffer, Duration::from_millis(50))
                .unwrap();
            got.extend_from_slice(&buffer[..n]);
            if got.len() >= expected {
                break;
            }
        }
        got
    }

    #[test]
    fn the_newest_peer_wins_and_bytes_pass_both_ways() {
        let mut board = Listener::bind("127.0.0.1:0").unwrap();
        let address = board.listener.local_addr().unwrap().to_string();
        let mut stale = Stream::connect(&address).unwrap();
        stale.write(b"first").unwrap();
        assert_eq!(read_all(&mut board, 5), b"first");
        let mut ground = Stream::connect(&address).unwrap();
        ground.write(b"second").unwrap();
        assert_eq!(read_all(&mut board, 6), b"second");
        board.write(b"answer").unwrap();
        assert_eq!(read_all(&mut ground, 6), b"answer");
        drop(ground);
        // The peer that left is forgotten; the listener itself stays up.
        assert_eq!(read_all(&mut board, 1), b"");
    }
}
