//! A small deterministic generator for synthetic weights and test pictures.

/// SplitMix64: any seed is good, and stream `n` can be had by seeding with `n`.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator for a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to 1, 1 excluded.
    pub fn uniform(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// A nearly normal number of mean 0 and variance 1: a sum of eight uniforms
    /// taken from one draw, exact in f32 and so equal on every processor.
    pub fn normal(&mut self) -> f32 {
        let bits = self.next();
        let sum: u32 = bits.to_le_bytes().iter().map(|&byte| u32::from(byte)).sum();
        // Mean 8 * 127.5, variance 8 * (256^2 - 1) / 12.
        (sum as f32 - 1020.0) / 209.023_92
    }
}
