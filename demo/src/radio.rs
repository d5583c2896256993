//! A radio between two pseudo-terminals: slow, lossy, and silent for a while.
//!
//! Each program opens an ordinary serial device. What it writes is cut into frames at the
//! zero bytes, held back for as long as a real radio would need to send it, and then
//! delivered, damaged or dropped, as the simulator's [`Channel`] decides.

use deltavlm_link::{
    Duration as LinkDuration, Instant as LinkInstant,
    sim::{Channel, Fate, Faults},
};
use deltavlm_node::{Carrier, Serial};
use rustix::{
    fd::OwnedFd,
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// The radio channel.
#[derive(Debug, Clone, Copy)]
pub struct ChannelModel {
    /// Bits per second; a byte takes ten.
    pub baud: u32,
    /// The share of frames that vanish.
    pub loss: f64,
    /// The share of bits that arrive inverted.
    pub bit_errors: f64,
    /// Where the dice start.
    pub seed: u64,
}

impl ChannelModel {
    fn faults(&self, contact: bool) -> Faults {
        Faults {
            loss: self.loss,
            ber: self.bit_errors,
            rate: self.baud / 10,
            delay: LinkDuration::ZERO,
            contact: (!contact).then_some((LinkDuration::from_secs(1), LinkDuration::ZERO)),
            ..Faults::default()
        }
    }
}

/// Which way a frame went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the board to the ground.
    Down,
    /// From the ground to the board.
    Up,
}

/// A frame that was on the air.
#[derive(Debug, Clone, Copy)]
pub struct FrameRecord {
    /// When its last byte left, since the radio was switched on.
    pub at: Duration,
    /// Which way.
    pub direction: Direction,
    /// Its length, delimiter included.
    pub bytes: usize,
    /// What became of it.
    pub fate: Fate,
}

/// The radio. It is switched off when this is dropped.
pub struct Radio {
    /// The device that the on-board program opens.
    pub board: PathBuf,
    /// The device that the ground program opens.
    pub ground: PathBuf,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Keeps the devices alive while neither program has them open.
    _devices: [OwnedFd; 2],
}

struct Shared {
    started: Instant,
    contact: AtomicBool,
    off: AtomicBool,
    log: Mutex<Vec<FrameRecord>>,
}

impl Shared {
    fn now(&self) -> LinkInstant {
        let micros = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        LinkInstant::from_micros(micros)
    }
}

impl Radio {
    /// Switches the radio on.
    ///
    /// # Errors
    /// The system gives no pseudo-terminals.
    pub fn start(channel: ChannelModel) -> io::Result<Self> {
        let (board_side, board) = terminal()?;
        let (ground_side, ground) = terminal()?;
        let open = |path: &PathBuf| {
            rustix::fs::open(
                path,
                OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
                Mode::empty(),
            )
        };
        let devices = [open(&board)?, open(&ground)?];
        let shared = Arc::new(Shared {
            started: Instant::now(),
            contact: AtomicBool::new(true),
            off: AtomicBool::new(false),
            log: Mutex::new(Vec::new()),
        });
        let side = |fd: &OwnedFd| Serial::configure(fd.try_clone()?, channel.baud);
        let mut paths = Vec::new();
        for (direction, from, to) in [
            (Direction::Down, &board_side, &ground_side),
            (Direction::Up, &ground_side, &board_side),
        ] {
            let path = DirectionPath {
                direction,
                // Each direction has dice of its own.
                channel: Channel::new(
                    channel.faults(true),
                    channel.seed ^ (direction as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15),
                ),
                model: channel,
                from: side(from)?,
                to: side(to)?,
                shared: Arc::clone(&shared),
            };
            paths.push(
                thread::Builder::new()
                    .name(format!("radio {direction:?}"))
                    .spawn(|| path.run())?,
            );
        }
        Ok(Self {
            board,
            ground,
            shared,
            threads: paths,
            _devices: devices,
        })
    }

    /// Lets the two ends hear each other, or not.
    pub fn set_contact(&self, contact: bool) {
        self.shared.contact.store(contact, Ordering::Relaxed);
    }

    /// Time since the radio was switched on.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.shared.started.elapsed()
    }

    /// Every frame that was on the air so far, in the order in which they left.
    #[must_use]
    pub fn log(&self) -> Vec<FrameRecord> {
        let mut log = self
            .shared
            .log
            .lock()
            .map(|log| log.clone())
            .unwrap_or_default();
        log.sort_by_key(|frame| frame.at);
        log
    }
}

impl Drop for Radio {
    fn drop(&mut self) {
        self.shared.off.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

/// One direction of the radio.
struct DirectionPath {
    direction: Direction,
    channel: Channel,
    model: ChannelModel,
    from: Serial,
    to: Serial,
    shared: Arc<Shared>,
}

impl DirectionPath {
    fn run(mut self) {
        let mut frame = Vec::new();
        let mut buffer = [0; 256];
        while !self.shared.off.load(Ordering::Relaxed) {
            let read = self.from.read(&mut buffer, Duration::from_millis(50));
            let Ok(read) = read else {
                thread::sleep(Duration::from_millis(50));
                continue;
            };
            for &byte in &buffer[..read] {
                frame.push(byte);
                if byte == 0 {
                    self.send(std::mem::take(&mut frame));
                }
            }
        }
    }

    fn send(&mut self, frame: Vec<u8>) {
        let contact = self.shared.contact.load(Ordering::Relaxed);
        self.channel.set_faults(self.model.faults(contact));
        let fate = self.channel.send(&frame, self.shared.now());
        let sent = self.channel.busy_until();
        thread::sleep(Duration::from_micros(
            sent.since(self.shared.now()).as_micros(),
        ));
        while let Some(frame) = self.channel.receive(sent) {
            // A program that is not there misses the frame, as it would on the air.
            let _ = self.to.write(&frame);
        }
        let frame = FrameRecord {
            at: self.shared.started.elapsed(),
            direction: self.direction,
            bytes: frame.len(),
            fate,
        };
        if let Ok(mut log) = self.shared.log.lock() {
            log.push(frame);
        }
    }
}

fn terminal() -> io::Result<(OwnedFd, PathBuf)> {
    let radio = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&radio)?;
    unlockpt(&radio)?;
    let name = ptsname(&radio, Vec::new())?;
    let name = name.into_string().map_err(io::Error::other)?;
    rustix::io::ioctl_fionbio(&radio, true)?;
    Ok((radio, name.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(channel: ChannelModel, frames: usize) -> (Radio, Vec<u8>, Duration) {
        let radio = Radio::start(channel).unwrap();
        let mut board = Serial::open(&radio.board, channel.baud).unwrap();
        let mut ground = Serial::open(&radio.ground, channel.baud).unwrap();
        let started = Instant::now();
        for _ in 0..frames {
            board.write(&[7; 23]).unwrap();
            board.write(&[0]).unwrap();
        }
        let mut got = Vec::new();
        let mut buffer = [0; 256];
        let mut took = Duration::ZERO;
        while radio.log().len() < frames {
            let n = ground.read(&mut buffer, Duration::from_millis(20)).unwrap();
            got.extend_from_slice(&buffer[..n]);
            took = started.elapsed();
        }
        while let Ok(n @ 1..) = ground.read(&mut buffer, Duration::from_millis(50)) {
            got.extend_from_slice(&buffer[..n]);
        }
        (radio, got, took)
    }

    #[test]
    fn bytes_take_their_time() {
        let channel = ChannelModel {
            baud: 9600,
            loss: 0.0,
            bit_errors: 0.0,
            seed: 1,
        };
        let (_radio, got, took) = send(channel, 20);
        assert_eq!(got.len(), 20 * 24);
        assert!(
            took >= Duration::from_millis(480),
            "480 bytes at 960 bytes/s took {took:?}"
        );
    }

    #[test]
    fn frames_vanish_as_often_as_asked_and_the_seed_says_which() {
        let channel = ChannelModel {
            baud: 1_000_000,
            loss: 0.3,
            bit_errors: 0.0,
            seed: 5,
        };
        let outcomes = |channel| -> Vec<Fate> {
            send(channel, 200)
                .0
                .log()
                .iter()
                .map(|frame| frame.fate)
                .collect()
        };
        let first = outcomes(channel);
        let lost = first
            .iter()
            .filter(|outcome| **outcome == Fate::Lost)
            .count();
        assert!((30..=90).contains(&lost), "{lost} of 200");
        assert_eq!(outcomes(channel), first);
        assert_ne!(outcomes(ChannelModel { seed: 6, ..channel }), first);
    }

    #[test]
    fn nothing_is_heard_without_contact() {
        let channel = ChannelModel {
            baud: 1_000_000,
            loss: 0.0,
            bit_errors: 0.0,
            seed: 1,
        };
        let radio = Radio::start(channel).unwrap();
        radio.set_contact(false);
        let mut board = Serial::open(&radio.board, channel.baud).unwrap();
        let mut ground = Serial::open(&radio.ground, channel.baud).unwrap();
        board.write(&[1, 2, 0]).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(
            ground
                .read(&mut buffer, Duration::from_millis(200))
                .unwrap(),
            0
        );
        assert_eq!(radio.log()[0].fate, Fate::NoContact);
    }
}
