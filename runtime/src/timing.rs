//! Where the time of an ask went.

use std::time::Instant;

/// Milliseconds by step. Their sum is what the caller waited for, less the
/// runtime's own overhead.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Timing {
    /// Opening the bundle; 0 when it was open already.
    pub load: f64,
    /// Decoding, resampling and normalising pictures.
    pub preprocess: f64,
    /// Vision encoder.
    pub vision: f64,
    /// Difference module.
    pub difference: f64,
    /// Q-Former and projection.
    pub qformer: f64,
    /// Language model over queries and prompt.
    pub prefill: f64,
    /// Language model over generated tokens.
    pub decode: f64,
}

impl Timing {
    /// The sum over all steps.
    pub fn total(&self) -> f64 {
        self.load
            + self.preprocess
            + self.vision
            + self.difference
            + self.qformer
            + self.prefill
            + self.decode
    }

    /// Adds another timing, step by step.
    pub fn add(&mut self, other: &Self) {
        self.load += other.load;
        self.preprocess += other.preprocess;
        self.vision += other.vision;
        self.difference += other.difference;
        self.qformer += other.qformer;
        self.prefill += other.prefill;
        self.decode += other.decode;
    }
}

/// Runs `work` and adds the milliseconds that it took to `slot`.
pub(crate) fn timed<T>(slot: &mut f64, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = work();
    *slot += ms_since(started);
    result
}

pub(crate) fn ms_since(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e3
}
