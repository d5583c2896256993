//! Arithmetic coding of symbols with given shares (Witten, Neal and Cleary, 1987), bit by bit.

const BITS: u32 = 32;
const TOP: u64 = 1 << BITS;
const HALF: u64 = TOP / 2;
const QUARTER: u64 = TOP / 4;

/// The share `from..to` of `total` that a symbol has; `total` is far below 2^30.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) total: u32,
}

/// Writes symbols. Invariant: `low < high <= TOP`, and the two never lie in the same half.
pub(super) struct Encoder<'a> {
    low: u64,
    high: u64,
    /// Bits that will be the opposite of the next one.
    pending: u32,
    into: &'a mut [u8],
    bits: usize,
    full: bool,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(into: &'a mut [u8]) -> Self {
        into.fill(0);
        Self {
            low: 0,
            high: TOP,
            pending: 0,
            into,
            bits: 0,
            full: false,
        }
    }

    pub(super) fn put(&mut self, share: Share) {
        let range = self.high - self.low;
        self.high = self.low + range * u64::from(share.to) / u64::from(share.total);
        self.low += range * u64::from(share.from) / u64::from(share.total);
        loop {
            if self.high <= HALF {
                self.bit(false);
            } else if self.low >= HALF {
                self.bit(true);
                self.low -= HALF;
                self.high -= HALF;
            } else if self.low >= QUARTER && self.high <= 3 * QUARTER {
                self.pending += 1;
                self.low -= QUARTER;
                self.high -= QUARTER;
            } else {
                return;
            }
            self.low *= 2;
            self.high *= 2;
        }
    }

    /// Ends the code. Returns its length without trailing zeros, which the decoder supplies, or
    /// `None` if it did not fit.
    pub(super) fn finish(mut self) -> Option<usize> {
        self.pending += 1;
        self.bit(self.low >= QUARTER);
        let length = self
            .into
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        (!self.full).then_some(length)
    }

    fn bit(&mut self, bit: bool) {
        self.push(bit);
        for _ in 0..core::mem::take(&mut self.pending) {
            self.push(!bit);
        }
    }

    fn push(&mut self, bit: bool) {
        match self.into.get_mut(self.bits / 8) {
            Some(byte) => *byte |= u8::from(bit) << (7 - self.bits % 8),
            None => self.full |= bit,
        }
        self.bits += 1;
    }
}

/// Reads symbols. Invariants as for [`Encoder`], and `low <= value < high`.
pub(super) struct Decoder<'a> {
    low: u64,
    high: u64,
    value: u64,
    from: &'a [u8],
    bits: usize,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(from: &'a [u8]) -> Self {
        let mut decoder = Self {
            low: 0,
            high: TOP,
            value: 0,
            from,
            bits: 0,
        };
        for _ in 0..BITS {
            decoder.value = decoder.value * 2 + decoder.bit();
        }
        decoder
    }

    /// Where in `0..total` the next symbol lies.
    pub(super) fn peek(&self, total: u32) -> u32 {
        (((self.value - self.low + 1) * u64::from(total) - 1) / (self.high - self.low)) as u32
    }

    /// Goes past a symbol whose share holds what [`peek`](Self::peek) returned.
    pub(super) fn skip(&mut self, share: Share) {
        let range = self.high - self.low;
        self.high = self.low + range * u64::from(share.to) / u64::from(share.total);
        self.low += range * u64::from(share.from) / u64::from(share.total);
        loop {
            let offset = if self.high <= HALF {
                0
            } else if self.low >= HALF {
                HALF
            } else if self.low >= QUARTER && self.high <= 3 * QUARTER {
                QUARTER
            } else {
                return;
            };
            self.low = (self.low - offset) * 2;
            self.high = (self.high - offset) * 2;
            self.value = (self.value - offset) * 2 + self.bit();
        }
    }

    fn bit(&mut self) -> u64 {
        let byte = self.from.get(self.bits / 8).copied().unwrap_or(0);
        let bit = byte >> (7 - self.bits % 8) & 1;
        self.bits += 1;
        u64::from(bit)
    }
}
