//! A carrier that comes back after it was lost.

use crate::{Address, Carrier};
use std::{
    thread,
    time::{Duration, Instant},
};

const REOPEN_AFTER: Duration = Duration::from_secs(2);

/// What happened to the line since it was last asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The device or connection is open.
    Opened,
    /// It is not, and why; it is tried again every two seconds.
    Closed(String),
}

/// A carrier at an address, opened on demand and again whenever it goes away.
///
/// While it is closed, reading waits and yields nothing and writing drops the frame:
/// to the link that is a contact gap, which it survives.
pub struct Line {
    address: Address,
    carrier: Option<Box<dyn Carrier>>,
    retry_at: Instant,
    notice: Option<Notice>,
    told: Option<Notice>,
}

impl Line {
    /// A line to `address`, not opened yet.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self {
            address,
            carrier: None,
            retry_at: Instant::now(),
            notice: None,
            told: None,
        }
    }

    /// The address it was made for.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Reads what has arrived, waiting for `timeout` at most.
    pub fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> usize {
        let Some(carrier) = self.carrier() else {
            thread::sleep(timeout);
            return 0;
        };
        match carrier.read(buffer, timeout) {
            Ok(n) => n,
            Err(error) => {
                self.close(error.to_string());
                0
            }
        }
    }

    /// Sends one frame; whether the carrier took it.
    pub fn write(&mut self, frame: &[u8]) -> bool {
        let Some(carrier) = self.carrier() else {
            return false;
        };
        match carrier.write(frame) {
            Ok(()) => true,
            Err(error) => {
                self.close(error.to_string());
                false
            }
        }
    }

    /// The latest change of state that was not reported yet.
    pub fn notice(&mut self) -> Option<Notice> {
        let notice = self.notice.take()?;
        if self.told.as_ref() == Some(&notice) {
            return None;
        }
        self.told = Some(notice.clone());
        Some(notice)
    }

    fn carrier(&mut self) -> Option<&mut Box<dyn Carrier>> {
        if self.carrier.is_none() && Instant::now() >= self.retry_at {
            match self.address.open() {
                Ok(carrier) => {
                    self.carrier = Some(carrier);
                    self.notice = Some(Notice::Opened);
                }
                Err(error) => self.close(error.to_string()),
            }
        }
        self.carrier.as_mut()
    }

    fn close(&mut self, reason: String) {
        self.carrier = None;
        self.retry_at = Instant::now() + REOPEN_AFTER;
        self.notice = Some(Notice::Closed(reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_device_is_reported_once_and_is_no_error() {
        let mut line = Line::new("serial:/nowhere/tty:9600".parse().unwrap());
        let mut buffer = [0; 8];
        assert_eq!(line.read(&mut buffer, Duration::from_millis(1)), 0);
        assert!(!line.write(b"frame"));
        assert!(matches!(line.notice(), Some(Notice::Closed(_))));
        line.retry_at = Instant::now();
        assert!(!line.write(b"frame"));
        assert_eq!(line.notice(), None, "the same fault is not told twice");
    }
}
