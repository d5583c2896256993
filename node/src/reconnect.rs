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

/// Where a [`Node`](crate::Node) gets its carrier from.
pub enum CarrierSource {
    /// Opened on demand, and again whenever it goes away.
    Address(Address),
    /// One that the program made; when it goes away, it is not opened again.
    Carrier(Box<dyn Carrier>),
}

impl From<Address> for CarrierSource {
    fn from(address: Address) -> Self {
        Self::Address(address)
    }
}

impl<C: Carrier + 'static> From<Box<C>> for CarrierSource {
    fn from(carrier: Box<C>) -> Self {
        Self::Carrier(carrier)
    }
}

/// A carrier at an address, opened on demand and again whenever it goes away.
///
/// While it is closed, reading waits and yields nothing and writing drops the frame:
/// to the link that is a contact gap, which it survives.
pub struct ReconnectingCarrier {
    /// `None` for a carrier that the program made: it cannot be opened again.
    address: Option<Address>,
    name: String,
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
            name: address.to_string(),
            address: Some(address),
            carrier: None,
            retry_at: Instant::now(),
            event: None,
            reported: None,
        }
    }

    /// A carrier from an address, or one that is open already.
    #[must_use]
    pub fn from_source(source: CarrierSource) -> Self {
        match source {
            CarrierSource::Address(address) => Self::new(address),
            CarrierSource::Carrier(carrier) => Self {
                address: None,
                name: "carrier of the program's own".to_owned(),
                carrier: Some(carrier),
                retry_at: Instant::now(),
                event: Some(CarrierEvent::Opened),
                reported: None,
            },
        }
    }

    /// The address it was made for, or what stands for it where there is none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
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
        if let Some(address) = &self.address
            && self.carrier.is_none()
            && Instant::now() >= self.retry_at
        {
            match address.open() {
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
