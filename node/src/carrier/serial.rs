//! A serial device: raw bytes, 8N1, no flow control.

use super::{Carrier, poll};
use rustix::{
    fd::OwnedFd,
    fs::{FlockOperation, Mode, OFlags, flock, open},
    io::Errno,
    termios::{ControlModes, OptionalActions, QueueSelector, tcflush, tcgetattr, tcsetattr},
};
use std::{io, path::Path, time::Duration};

/// The longest time that the device may refuse bytes before it counts as gone.
const WRITE_TIMEOUT: Duration = Duration::from_millis(500);

/// An open serial device.
#[derive(Debug)]
pub struct Serial {
    fd: OwnedFd,
}

impl Serial {
    /// Opens `path` for this program alone and sets it to `baud`, 8N1, raw.
    ///
    /// # Errors
    /// The device is missing, not readable and writable, no terminal, refuses the speed,
    /// or belongs to another program at the moment.
    pub fn open(path: &Path, baud: u32) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = open(path, flags, Mode::empty())?;
        flock(&fd, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another program uses this device",
            )
        })?;
        Self::configure(fd, baud)
    }

    /// Takes a terminal that is open already, e.g. one side of a pseudo-terminal.
    ///
    /// # Errors
    /// The descriptor is no terminal or refuses the speed.
    pub fn configure(fd: OwnedFd, baud: u32) -> io::Result<Self> {
        let mut settings = tcgetattr(&fd)?;
        settings.make_raw();
        settings.control_modes |= ControlModes::CS8 | ControlModes::CREAD | ControlModes::CLOCAL;
        settings.control_modes &=
            !(ControlModes::CSTOPB | ControlModes::PARENB | ControlModes::CRTSCTS);
        settings.set_speed(baud)?;
        tcsetattr(&fd, OptionalActions::Now, &settings)?;
        // What lay in the driver before now belongs to nobody.
        tcflush(&fd, QueueSelector::IOFlush)?;
        Ok(Self { fd })
    }
}

impl Carrier for Serial {
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        if !poll::readable(&self.fd, timeout)? {
            return Ok(0);
        }
        match rustix::io::read(&self.fd, &mut *buffer) {
            // A hung-up terminal is readable for ever and yields nothing.
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => Ok(n),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    fn write(&mut self, mut frame: &[u8]) -> io::Result<()> {
        while !frame.is_empty() {
            match rustix::io::write(&self.fd, frame) {
                Ok(n) => frame = &frame[n..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if poll::writable(&self.fd, WRITE_TIMEOUT)? => {}
                Err(Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    fn terminal() -> (OwnedFd, std::path::PathBuf) {
        let radio = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&radio).unwrap();
        unlockpt(&radio).unwrap();
        let name = ptsname(&radio, Vec::new()).unwrap().into_string().unwrap();
        (radio, name.into())
    }

    #[test]
    fn every_byte_value_passes_unchanged_both_ways() {
        let (radio, path) = terminal();
        let mut radio = Serial::configure(radio, 9600).unwrap();
        let mut device = Serial::open(&path, 9600).unwrap();
        let all: Vec<u8> = (0..=255).collect();
        device.write(&all).unwrap();
        radio.write(&all).unwrap();
        for side in [&mut radio, &mut device] {
            let mut got = Vec::new();
            let mut buffer = [0; 64];
            while got.len() < all.len() {
                let n = side.read(&mut buffer, Duration::from_secs(5)).unwrap();
                assert!(n > 0, "only {} of 256 bytes arrived", got.len());
                got.extend_from_slice(&buffer[..n]);
            }
            assert_eq!(got, all);
        }
    }

    #[test]
    fn a_second_program_is_told_that_the_device_is_taken() {
        let (_radio, path) = terminal();
        let _first = Serial::open(&path, 9600).unwrap();
        let error = Serial::open(&path, 9600).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
    }

    #[test]
    fn a_device_that_is_pulled_out_is_an_error_not_silence() {
        let (radio, path) = terminal();
        let mut device = Serial::open(&path, 9600).unwrap();
        drop(radio);
        let mut buffer = [0; 8];
        assert!(
            device
                .read(&mut buffer, Duration::from_millis(200))
                .is_err()
        );
    }

    #[test]
    fn a_file_that_is_no_terminal_is_refused() {
        assert!(Serial::open(Path::new("/dev/null"), 9600).is_err());
        assert!(Serial::open(Path::new("/nowhere/tty"), 9600).is_err());
    }
}
