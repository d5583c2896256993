//! A carrier that reconnects.

use crate::{Address, Carrier};
use std::{
    thread,
    time::{Duration, Instant},
};

const RECONNECT_INTERVAL: Duration = Duration::from_secs(2);

/// A change of a carrier's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CarrierEvent {
    /// The device or connection is open.
    Opened,
    /// It is not, and why; it is tried again every two seconds.
    Closed(String),
}

/// A carrier at an address, opened on demand and again whenever it goes away.
///
/// While it is closed, reading waits and yields nothing and writing drops the frame:
/// to the link that is a contact gap, which it survives.
pub struct ReconnectingCarrier {
    address: Address,
    carrier: Option<Box<dyn Carrier>>,
    retry_at: Instant,
    event: Option<CarrierEvent>,
    reported: Option<CarrierEvent>,
}

impl ReconnectingCarrier {
    /// A carrier at `address`, not opened yet.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self {
            address,
            carrier: None,
            retry_at: Instant::now(),
            event: None,
            reported: None,
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
    pub fn poll_event(&mut self) -> Option<CarrierEvent> {
        let event = self.event.take()?;
        if self.reported.as_ref() == Some(&event) {
            return None;
        }
        self.reported = Some(event.clone());
        Some(event)
    }

    fn carrier(&mut self) -> Option<&mut Box<dyn Carrier>> {
        if self.carrier.is_none() && Instant::now() >= self.retry_at {
            match self.address.open() {
                Ok(carrier) => {
                    self.carrier = Some(carrier);
                    self.event = Some(CarrierEvent::Opened);
                }
                Err(error) => self.close(error.to_string()),
            }
        }
        self.carrier.as_mut()
    }

    fn close(&mut self, reason: String) {
        self.carrier = None;
        self.retry_at = Instant::now() + RECONNECT_INTERVAL;
        self.event = Some(CarrierEvent::Closed(reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_device_is_reported_once_and_is_no_error() {
        let mut line = ReconnectingCarrier::new("serial:/nowhere/tty:9600".parse().unwrap());
        let mut buffer = [0; 8];
        assert_eq!(line.read(&mut buffer, Duration::from_millis(1)), 0);
        assert!(!line.write(b"frame"));
        assert!(matches!(line.poll_event(), Some(CarrierEvent::Closed(_))));
        line.retry_at = Instant::now();
        assert!(!line.write(b"frame"));
        assert_eq!(line.poll_event(), None, "the same fault is not told twice");
    }
}
