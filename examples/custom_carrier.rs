//! A carrier written by hand, here a pair of channels between two threads, under two nodes.
//!
//!     cargo run -p deltavlm-examples --example custom_carrier

use deltavlm_link::Role;
use deltavlm_messages::Message;
use deltavlm_node::{Carrier, LinkSettings, Node, NodeConfig, NodeEvent, store::Store};
use std::{
    error::Error,
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    time::{Duration, Instant},
};

/// One end of the pair: whole frames in, whole frames out.
struct Channels {
    out: Sender<Vec<u8>>,
    into: Receiver<Vec<u8>>,
}

impl Carrier for Channels {
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        match self.into.recv_timeout(timeout) {
            Ok(frame) => {
                // What does not fit is lost; the link sends it again. No frame is over 255 bytes.
                let length = frame.len().min(buffer.len());
                buffer[..length].copy_from_slice(&frame[..length]);
                Ok(length)
            }
            Err(RecvTimeoutError::Timeout) => Ok(0),
            Err(RecvTimeoutError::Disconnected) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        self.out
            .send(frame.to_vec())
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

fn config(role: Role) -> NodeConfig {
    NodeConfig {
        role,
        key: None,
        mtu: 128,
        rate: 10_000,
        probe_interval: Duration::from_millis(200),
        commands_per_minute: 0,
        link: LinkSettings::default(),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("custom_carrier-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let ((to_ground, from_board), (to_board, from_ground)) = (channel(), channel());
    let board_end = Channels {
        out: to_ground,
        into: from_ground,
    };
    let ground_end = Channels {
        out: to_board,
        into: from_board,
    };
    let (board_store, _) = Store::open(&dir.join("board"), &[])?;
    let (ground_store, _) = Store::open(&dir.join("ground"), &[])?;
    let mut board = Node::start(config(Role::Board), &board_store, Box::new(board_end))?;
    let mut ground = Node::start(config(Role::Ground), &ground_store, Box::new(ground_end))?;
    ground.send(&Message::Ping(7))?;
    let (mut answered, end) = (false, Instant::now() + Duration::from_secs(10));
    while !answered && Instant::now() < end {
        for node in [&mut board, &mut ground] {
            node.receive(Duration::from_millis(5));
            while let Some(event) = node.poll_event() {
                let NodeEvent::Message { id, message, .. } = event else {
                    continue;
                };
                println!("{message:?}");
                match message {
                    Message::Ping(number) => drop(node.send(&Message::Pong(number))?),
                    Message::Pong(number) => answered = number == 7,
                    _ => {}
                }
                node.acknowledge(id);
            }
            node.transmit();
        }
    }
    std::fs::remove_dir_all(&dir)?;
    if answered {
        Ok(())
    } else {
        Err("no answer came".into())
    }
}
