//! A carrier that shows what passes through another.

use super::Carrier;
use std::{io, time::Duration};

/// Bytes that passed through a [`Tracer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer<'a> {
    /// A piece of what came; frames begin and end anywhere in it.
    Received(&'a [u8]),
    /// A frame that the carrier took.
    Sent(&'a [u8]),
}

/// Wraps a carrier and shows every byte that it moved to a function.
pub struct Tracer<C, F> {
    inner: C,
    observer: F,
}

impl<C: Carrier, F: FnMut(Transfer<'_>) + Send> Tracer<C, F> {
    /// Shows what `inner` moves to `observer`.
    pub const fn new(inner: C, observer: F) -> Self {
        Self { inner, observer }
    }
}

impl<C: Carrier, F: FnMut(Transfer<'_>) + Send> Carrier for Tracer<C, F> {
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        let read = self.inner.read(buffer, timeout)?;
        if read > 0 {
            (self.observer)(Transfer::Received(&buffer[..read]));
        }
        Ok(read)
    }

    fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        self.inner.write(frame)?;
        (self.observer)(Transfer::Sent(frame));
        Ok(())
    }
}
