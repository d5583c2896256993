//! The roofline of this machine, measured: peak operations and bandwidth.
//!
//! A time says little without the limit it is compared with: the integer
//! operations that the processor can start when nothing has to be fetched, and
//! the bytes that it can read from memory when nothing has to be computed.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::gemm::dispatch::Kernel;
use crate::gemm::tile_f32;
use crate::thread_pool::ThreadPool;

/// The limits of one machine for one number of threads.
#[derive(Clone, Copy, Debug)]
pub struct Roofline {
    /// 8-bit multiplications and additions per second, counted as two
    /// operations.
    pub int8_ops: f64,
    /// The same in single precision.
    pub f32_ops: f64,
    /// Bytes per second read from memory.
    pub read_bytes: f64,
}

/// Larger than the last-level cache of the boards, and of most servers.
const BUFFER_BYTES: usize = 512 << 20;
/// Places that a thread reads from at a time.
const STREAMS: usize = 4;
/// What is read at a time: long enough for a clock, short enough to find a
/// moment without interruption.
const WINDOW_BYTES: usize = 32 << 20;

impl Roofline {
    /// Measures the limits with the threads and the instruction set of a pool.
    /// Takes about two seconds and half a gibibyte.
    #[must_use]
    pub fn measure(pool: &ThreadPool) -> Self {
        Self {
            int8_ops: int8_ops(pool),
            f32_ops: f32_ops(pool),
            read_bytes: read_bytes(pool),
        }
    }
}

fn int8_ops(pool: &ThreadPool) -> f64 {
    // Short runs and many of them: one that nothing interrupts is enough.
    const ROUNDS: usize = 50_000;
    let peak = Kernel::of(pool.isa()).peak;
    let threads = pool.threads();
    let best = best_of(1000, |_| {
        pool.run(threads, |_| {
            // SAFETY: the pool's instruction set is available.
            unsafe { (peak.run)(ROUNDS) };
        });
    });
    (2 * peak.products * ROUNDS * threads) as f64 / best.as_secs_f64()
}

fn f32_ops(pool: &ThreadPool) -> f64 {
    const ROUNDS: usize = 50_000;
    let (threads, isa) = (pool.threads(), pool.isa());
    let lanes = tile_f32::peak(isa, 1);
    let best = best_of(1000, |_| {
        pool.run(threads, |_| {
            black_box(tile_f32::peak(isa, ROUNDS));
        });
    });
    (2 * lanes * ROUNDS * threads) as f64 / best.as_secs_f64()
}

fn read_bytes(pool: &ThreadPool) -> f64 {
    // Written, so that every page is a page of its own.
    let buffer = vec![1_u64; BUFFER_BYTES / size_of::<u64>()];
    let windows: Vec<&[u64]> = buffer
        .chunks_exact(WINDOW_BYTES / size_of::<u64>())
        .collect();
    let pieces = 8 * pool.threads();
    let best = best_of(4 * windows.len(), |run| {
        let window = windows[run % windows.len()];
        let piece = window.len() / pieces;
        pool.run(pieces, |index| {
            let piece = &window[index * piece..(index + 1) * piece];
            // Several places at a time keep more of the memory busy than one.
            let (a, rest) = piece.split_at(piece.len() / STREAMS);
            let (b, rest) = rest.split_at(a.len());
            let (c, d) = rest.split_at(a.len());
            let mut sums = [0_u64; 32];
            let lines = a.as_chunks::<32>().0.iter().zip(b.as_chunks::<32>().0);
            let more = c.as_chunks::<32>().0.iter().zip(d.as_chunks::<32>().0);
            for ((a, b), (c, d)) in lines.zip(more) {
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum ^= a[i] ^ b[i] ^ c[i] ^ d[i];
                }
            }
            black_box(sums);
        });
    });
    WINDOW_BYTES as f64 / best.as_secs_f64()
}

/// The shortest of several runs.
fn best_of(runs: usize, mut work: impl FnMut(usize)) -> Duration {
    (0..runs)
        .map(|run| {
            let start = Instant::now();
            work(run);
            start.elapsed()
        })
        .min()
        .unwrap_or_default()
}
