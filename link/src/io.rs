//! Carriers that implement the traits of `embedded-io`.

use embedded_io::{Read, Write};

use crate::{Endpoint, Instant, storage::Storage};

/// Reads once, as much as is there and fits into 64 bytes, and passes it on. Returns the number of
/// bytes; zero means that the carrier has ended.
pub fn receive<R: Read, S: Storage>(
    endpoint: &mut Endpoint<S>,
    carrier: &mut R,
    now: Instant,
) -> Result<usize, R::Error> {
    let mut bytes = [0; 64];
    let count = carrier.read(&mut bytes)?;
    endpoint.receive(&bytes[..count], now);
    Ok(count)
}

/// Writes every frame that is due now. Returns the number of frames.
pub fn transmit<W: Write, S: Storage>(
    endpoint: &mut Endpoint<S>,
    carrier: &mut W,
    now: Instant,
) -> Result<usize, W::Error> {
    let mut frames = 0;
    while let Some(frame) = endpoint.poll_transmit(now) {
        carrier.write_all(frame)?;
        frames += 1;
    }
    if frames > 0 {
        carrier.flush()?;
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Role, storage::MemoryStorage};

    #[test]
    fn two_ends_greet_each_other_over_slices() {
        let end = |role| Endpoint::new(Config::new(role), MemoryStorage::<1024>::new()).unwrap();
        let (mut board, mut ground) = (end(Role::Board), end(Role::Ground));
        for second in 0..5 {
            let now = Instant::from_secs(second);
            for (from, to) in [(0, 1), (1, 0)] {
                let mut air = [0; 1024];
                let ends = [&mut board, &mut ground];
                let mut free = &mut air[..];
                transmit(ends[from], &mut free, now).unwrap();
                let left = free.len();
                let mut sent = &air[..1024 - left];
                while receive(ends[to], &mut sent, now).unwrap() > 0 {}
            }
        }
        assert!(board.is_up() && ground.is_up());
    }
}
