//! Waiting for a descriptor, for a bounded time.

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll as poll_fds},
    fd::AsFd,
};
use std::{io, time::Duration};

/// Whether the descriptor can be read within `timeout`.
pub(crate) fn readable(fd: impl AsFd, timeout: Duration) -> io::Result<bool> {
    wait(fd, PollFlags::IN, timeout)
}

/// Whether the descriptor takes bytes within `timeout`.
pub(crate) fn writable(fd: impl AsFd, timeout: Duration) -> io::Result<bool> {
    wait(fd, PollFlags::OUT, timeout)
}

fn wait(fd: impl AsFd, flags: PollFlags, timeout: Duration) -> io::Result<bool> {
    let mut fds = [PollFd::new(&fd, flags)];
    let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
    match poll_fds(&mut fds, Some(&timeout)) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
