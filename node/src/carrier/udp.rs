//! UDP datagrams: one frame each. Loss and reordering are the link's daily business.

use super::{Carrier, poll};
use std::{
    io,
    net::{SocketAddr, ToSocketAddrs, UdpSocket},
    time::Duration,
};

/// A socket and the end it talks to.
pub(crate) struct Datagrams {
    socket: UdpSocket,
    peer: Option<SocketAddr>,
    /// A listening end answers whoever spoke last.
    follows: bool,
}

impl Datagrams {
    pub(crate) fn connect(peer: &str) -> io::Result<Self> {
        let address = peer.to_socket_addrs()?.next().ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, "the host name has no address")
        })?;
        let local = if address.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        Self::new(UdpSocket::bind(local)?, Some(address))
    }

    pub(crate) fn listen(local: &str) -> io::Result<Self> {
        Self::new(UdpSocket::bind(local)?, None)
    }

    fn new(socket: UdpSocket, peer: Option<SocketAddr>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            peer,
            follows: peer.is_none(),
        })
    }
}

impl Carrier for Datagrams {
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        if !poll::readable(&self.socket, timeout)? {
            return Ok(0);
        }
        match self.socket.recv_from(buffer) {
            Ok((n, from)) if self.follows || self.peer == Some(from) => {
                self.peer = Some(from);
                Ok(n)
            }
            Ok(_) => Ok(0),
            Err(error) => ignore_unreachable(error).map(|()| 0),
        }
    }

    fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        let Some(peer) = self.peer else { return Ok(()) };
        match self.socket.send_to(frame, peer) {
            Ok(_) => Ok(()),
            Err(error) => ignore_unreachable(error),
        }
    }
}

/// A peer that is not there yet is no fault of the socket.
fn ignore_unreachable(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::WouldBlock
        | io::ErrorKind::ConnectionRefused
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable => Ok(()),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listening_end_answers_whoever_spoke_last() {
        let mut board = Datagrams::listen("127.0.0.1:0").unwrap();
        let address = board.socket.local_addr().unwrap().to_string();
        board.write(b"nobody listens yet").unwrap();
        let mut buffer = [0; 64];
        for name in [b"one", b"two"] {
            let mut ground = Datagrams::connect(&address).unwrap();
            ground.write(name).unwrap();
            let n = board.read(&mut buffer, Duration::from_secs(5)).unwrap();
            assert_eq!(&buffer[..n], name);
            board.write(b"answer").unwrap();
            let n = ground.read(&mut buffer, Duration::from_secs(5)).unwrap();
            assert_eq!(&buffer[..n], b"answer");
        }
    }
}
