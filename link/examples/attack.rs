//! Frames that must not be accepted, by the million.
//!
//! ```text
//! cargo run --release -p deltavlm-link --example attack -- corrupt 100000000
//! cargo run --release -p deltavlm-link --example attack -- forge 100000000
//! cargo run --release -p deltavlm-link --example attack -- replay 1000000
//! ```

use std::process::ExitCode;

use deltavlm_link::{
    Config, Counters, Endpoint, Instant, Role,
    auth::{Key, Keys, Protection},
    sim::{Mix, Rng, message_of},
    storage::MemoryStorage,
};

type Storage = MemoryStorage<16_384>;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let kind = arguments.next().unwrap_or_default();
    let count = arguments
        .next()
        .map_or(Ok(1_000_000), |count| count.parse());
    let (accepted, tried) = match (kind.as_str(), count) {
        ("corrupt", Ok(count)) => (damage(Protection::Plain, count), count),
        ("forge", Ok(count)) => (damage(Protection::Authenticated, count), count),
        ("replay", Ok(count)) => (replay(count), count),
        _ => {
            eprintln!("usage: attack corrupt|forge|replay [COUNT]");
            return ExitCode::from(2);
        }
    };
    println!("{{\"attack\":\"{kind}\",\"tried\":{tried},\"accepted\":{accepted}}}");
    if accepted == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn config(role: Role, protection: Protection) -> Config {
    Config {
        mtu: 64,
        uplink: protection,
        downlink: protection,
        keys: Keys::single(Key::new(1, b"nobody knows it.")),
        ..Config::new(role)
    }
}

/// A ground that has heard the board, and genuine frames of the board that it has not seen.
fn overheard(protection: Protection, count: usize) -> (Endpoint<Storage>, Vec<Vec<u8>>) {
    let mut board = Endpoint::new(config(Role::Board, protection), Storage::new())
        .expect("a fresh board starts");
    let mut ground = Endpoint::new(config(Role::Ground, protection), Storage::new())
        .expect("a fresh ground starts");
    let mut frames = Vec::new();
    let mut number = 0;
    for millis in 0.. {
        let now = Instant::from_millis(millis);
        while board.is_up() && board.waiting() < 50 {
            if message_of(1, Role::Board, Mix::All, number)
                .send(&mut board, now)
                .is_err()
            {
                break;
            }
            number += 1;
        }
        while let Some(frame) = board.poll_transmit(now) {
            frames.push(frame.to_vec());
            ground.receive(frame, now);
        }
        while let Some(frame) = ground.poll_transmit(now) {
            board.receive(frame, now);
        }
        while let Some(event) = ground.poll_event() {
            if let deltavlm_link::Event::Message { id, .. } = event {
                ground.acknowledge(id);
            }
        }
        while board.poll_event().is_some() {}
        if frames.len() >= count {
            break;
        }
    }
    (ground, frames)
}

/// Frames that got past the checks on what is in them.
fn admitted(counters: &Counters) -> u64 {
    u64::from(counters.frames_received)
        + u64::from(counters.replayed)
        + u64::from(counters.nonsense)
}

/// Damages genuine frames, each in another way, and counts those that are taken for good ones.
fn damage(protection: Protection, count: u64) -> u64 {
    let (mut ground, frames) = overheard(protection, 64);
    let before = admitted(ground.counters());
    let mut rng = Rng::new(count);
    let mut damaged = Vec::new();
    for _ in 0..count {
        let genuine = &frames[rng.below(frames.len() as u64) as usize];
        damaged.clone_from(genuine);
        let inside = genuine.len() as u64 - 1;
        match rng.below(8) {
            // A few bits, which a checksum is made for.
            0..4 => (0..=rng.below(8))
                .for_each(|_| damaged[rng.below(inside) as usize] ^= 1 << rng.below(8)),
            // A burst.
            4 | 5 => {
                let start = rng.below(inside) as usize;
                let end = (start + 1 + rng.below(8) as usize).min(inside as usize);
                damaged[start..end]
                    .iter_mut()
                    .for_each(|byte| *byte = rng.bits() as u8);
            }
            // A new end, where the check is.
            6 => {
                let start = inside as usize - 9.min(inside as usize);
                damaged[start..inside as usize]
                    .iter_mut()
                    .for_each(|byte| *byte = rng.bits() as u8 | 1);
            }
            // A byte more or less.
            _ => {
                let place = rng.below(inside) as usize;
                if rng.chance(0.5) {
                    damaged.insert(place, rng.bits() as u8 | 1);
                } else {
                    damaged.remove(place);
                }
            }
        }
        if damaged != *genuine {
            ground.receive(&damaged, Instant::from_secs(1000));
        }
        // Whatever is left of it ends here.
        ground.receive(&[0], Instant::from_secs(1000));
    }
    admitted(ground.counters()) - before
}

/// Sends genuine frames again, to a ground that was there and to one that has started since.
fn replay(count: u64) -> u64 {
    let (mut ground, frames) = overheard(Protection::Authenticated, 20_000);
    let mut rng = Rng::new(count);
    let mut accepted = 0;
    let mut before = ground.counters().frames_received;
    for step in 0..count {
        if step % (count / 10).max(1) == count / 20 {
            accepted += u64::from(ground.counters().frames_received - before);
            let storage = ground.into_storage();
            ground = Endpoint::new(config(Role::Ground, Protection::Authenticated), storage)
                .expect("a ground starts again");
            before = 0;
        }
        let frame = &frames[rng.below(frames.len() as u64) as usize];
        ground.receive(frame, Instant::from_secs(1000));
    }
    accepted + u64::from(ground.counters().frames_received - before)
}
