//! Repair frames for a receiver that cannot ask again: Reed-Solomon erasure coding over GF(256)
//! with a Cauchy matrix.
//!
//! Each protected payload is taken as its length (one byte) and its bytes, padded with zeros. Repair
//! `i` is the sum over the group's members `j` of `payload j / ((8 + i) + j)`, in the field with
//! polynomial 0x11D, where `+` is XOR. Any square part of that matrix can be inverted, so any `n`
//! repairs make up for any `n` lost frames.

use crate::mtu::MAX_MTU;

/// Frames that can be protected together.
pub(crate) const MAX_GROUP: usize = 8;
/// Repair frames that can follow them.
pub(crate) const MAX_REPAIRS: usize = 4;

const TABLES: ([u8; 512], [u8; 256]) = {
    let mut powers = [0; 512];
    let mut logs = [0; 256];
    let mut value = 1u16;
    let mut power = 0;
    while power < 255 {
        powers[power] = value as u8;
        powers[power + 255] = value as u8;
        logs[value as usize] = power as u8;
        value <<= 1;
        if value & 0x100 != 0 {
            value ^= 0x11D;
        }
        power += 1;
    }
    (powers, logs)
};

fn multiply(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    TABLES.0[usize::from(TABLES.1[usize::from(a)]) + usize::from(TABLES.1[usize::from(b)])]
}

fn invert(a: u8) -> u8 {
    TABLES.0[255 - usize::from(TABLES.1[usize::from(a)])]
}

fn coefficient(repair: usize, member: usize) -> u8 {
    invert((MAX_GROUP + repair) as u8 ^ member as u8)
}

fn add_scaled(into: &mut [u8], from: &[u8], factor: u8) {
    for (into, &from) in into.iter_mut().zip(from) {
        *into ^= multiply(from, factor);
    }
}

/// A payload with its length in front, padded with zeros.
type Block = [u8; MAX_MTU];

fn block_of(payload: &[u8]) -> Block {
    let mut block = [0; MAX_MTU];
    block[0] = payload.len() as u8;
    block[1..=payload.len()].copy_from_slice(payload);
    block
}

/// Sums up the payloads of a group as they are sent.
#[derive(Debug, Clone)]
pub(crate) struct Encoder {
    group: u8,
    repairs: u8,
    sums: [Block; MAX_REPAIRS],
    /// Counter of the group's first frame.
    first: u64,
    /// Payloads in the sums.
    count: u8,
    /// Length of the longest block among them.
    longest: usize,
    /// Repairs of this group that were sent.
    sent: u8,
}

impl Encoder {
    pub(crate) fn new(group: u8, repairs: u8) -> Self {
        Self {
            group,
            repairs,
            sums: [[0; MAX_MTU]; MAX_REPAIRS],
            first: 0,
            count: 0,
            longest: 0,
            sent: 0,
        }
    }

    /// Takes a payload that was sent.
    pub(crate) fn add(&mut self, counter: u64, payload: &[u8]) {
        if self.repairs == 0 {
            return;
        }
        if self.count == 0 {
            self.first = counter;
        }
        let block = block_of(payload);
        for (index, sum) in self.sums.iter_mut().enumerate() {
            add_scaled(sum, &block, coefficient(index, usize::from(self.count)));
        }
        self.longest = self.longest.max(payload.len() + 1);
        self.count += 1;
    }

    /// Whether a repair must go out before the next payload.
    pub(crate) fn is_due(&self) -> bool {
        self.count >= self.group
    }

    /// Whether there are payloads without their repairs.
    pub(crate) fn is_open(&self) -> bool {
        self.count > 0
    }

    /// The next repair: the group's first counter, its size, the repair's number, and its data. After
    /// the last one a new group begins.
    pub(crate) fn next(&mut self) -> Option<(u64, u8, u8, heapless::Vec<u8, MAX_MTU>)> {
        if self.count == 0 {
            return None;
        }
        let index = self.sent;
        let data =
            heapless::Vec::from_slice(&self.sums[usize::from(index)][..self.longest]).ok()?;
        let repair = (self.first, self.count, index, data);
        self.sent += 1;
        if self.sent >= self.repairs {
            *self = Self::new(self.group, self.repairs);
        }
        Some(repair)
    }
}

/// Keeps what came of the last group.
#[derive(Debug, Clone)]
pub(crate) struct Decoder {
    /// Payload `counter` is at `counter % MAX_GROUP`.
    payloads: [Option<(u64, Block)>; MAX_GROUP],
    /// Repairs of the group that begins with the counter.
    repairs: [Option<(u64, Block)>; MAX_REPAIRS],
}

impl Decoder {
    pub(crate) const fn new() -> Self {
        Self {
            payloads: [None; MAX_GROUP],
            repairs: [None; MAX_REPAIRS],
        }
    }

    /// Takes a payload that came or was won back.
    pub(crate) fn add(&mut self, counter: u64, payload: &[u8]) {
        self.payloads[(counter % MAX_GROUP as u64) as usize] = Some((counter, block_of(payload)));
    }

    /// Takes a repair, and returns the payloads that it and the others make up for.
    pub(crate) fn repair(
        &mut self,
        first: u64,
        group: u8,
        index: u8,
        data: &[u8],
    ) -> heapless::Vec<(u64, heapless::Vec<u8, MAX_MTU>), MAX_REPAIRS> {
        let mut won = heapless::Vec::new();
        let (group, index) = (usize::from(group), usize::from(index));
        if group == 0 || group > MAX_GROUP || index >= MAX_REPAIRS || data.len() > MAX_MTU {
            return won;
        }
        let mut block = [0; MAX_MTU];
        block[..data.len()].copy_from_slice(data);
        self.repairs[index] = Some((first, block));
        let is_there = |member: usize| self.payload(first + member as u64).is_some();
        let missing: heapless::Vec<usize, MAX_GROUP> =
            (0..group).filter(|&member| !is_there(member)).collect();
        let mut rows: heapless::Vec<([u8; MAX_REPAIRS], Block), MAX_REPAIRS> = heapless::Vec::new();
        if missing.is_empty() || missing.len() > MAX_REPAIRS {
            return won;
        }
        // What is left of a repair without the payloads that came is a sum of the missing ones.
        for (repair, kept) in self.repairs.iter().enumerate() {
            let Some((of, mut sum)) = *kept else { continue };
            if of != first || rows.len() == missing.len() {
                continue;
            }
            for member in 0..group {
                if let Some(payload) = self.payload(first + member as u64) {
                    add_scaled(&mut sum, payload, coefficient(repair, member));
                }
            }
            let mut factors = [0; MAX_REPAIRS];
            for (factor, &member) in factors.iter_mut().zip(&missing) {
                *factor = coefficient(repair, member);
            }
            let _ = rows.push((factors, sum));
        }
        if rows.len() < missing.len() {
            return won;
        }
        eliminate(&mut rows);
        for (&member, (_, block)) in missing.iter().zip(&rows) {
            let length = usize::from(block[0]);
            let Some(payload) = block.get(1..=length) else {
                continue;
            };
            let counter = first + member as u64;
            if let Ok(payload) = heapless::Vec::from_slice(payload) {
                let _ = won.push((counter, payload));
            }
        }
        for (counter, payload) in &won {
            self.add(*counter, payload);
        }
        won
    }

    fn payload(&self, counter: u64) -> Option<&Block> {
        match &self.payloads[(counter % MAX_GROUP as u64) as usize] {
            Some((kept, block)) if *kept == counter => Some(block),
            _ => None,
        }
    }
}

/// Gauss and Jordan. Every square part of a Cauchy matrix is regular, and so is what elimination
/// makes of it, so a pivot is never zero.
fn eliminate(rows: &mut [([u8; MAX_REPAIRS], Block)]) {
    for pivot in 0..rows.len() {
        let inverse = invert(rows[pivot].0[pivot]);
        let (factors, block) = &mut rows[pivot];
        factors
            .iter_mut()
            .for_each(|factor| *factor = multiply(*factor, inverse));
        block
            .iter_mut()
            .for_each(|byte| *byte = multiply(*byte, inverse));
        let (factors, block) = rows[pivot];
        for (other, row) in rows.iter_mut().enumerate() {
            if other != pivot {
                let factor = row.0[pivot];
                add_scaled(&mut row.0, &factors, factor);
                add_scaled(&mut row.1, &block, factor);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every way to lose as many frames as there are repairs, for every size of group.
    #[test]
    fn any_loss_up_to_the_number_of_repairs_is_made_up_for() {
        for group in 1..=MAX_GROUP {
            for repairs in 1..=MAX_REPAIRS {
                for lost in 0u32..1 << (group + repairs) {
                    if lost.count_ones() as usize > repairs {
                        continue;
                    }
                    check(group, repairs, lost);
                }
            }
        }
    }

    fn check(group: usize, repairs: usize, lost: u32) {
        let first = 1000;
        let payload = |member: usize| -> heapless::Vec<u8, 64> {
            (0..member * 7 % 23)
                .map(|at| (member * 31 + at * 17) as u8)
                .collect()
        };
        let mut encoder = Encoder::new(group as u8, repairs as u8);
        let mut decoder = Decoder::new();
        for member in 0..group {
            assert!(!encoder.is_due());
            let counter = first + member as u64;
            encoder.add(counter, &payload(member));
            if lost >> member & 1 == 0 {
                decoder.add(counter, &payload(member));
            }
        }
        let mut won = 0;
        for index in 0..repairs {
            let (of, size, number, data) = encoder.next().unwrap();
            if lost >> (group + index) & 1 == 0 {
                for (counter, bytes) in decoder.repair(of, size, number, &data) {
                    assert_eq!(bytes[..], payload((counter - first) as usize)[..]);
                    won += 1;
                }
            }
        }
        assert!(!encoder.is_open());
        let missing = (lost & ((1 << group) - 1)).count_ones();
        assert_eq!(
            won, missing,
            "group {group}, repairs {repairs}, lost {lost:b}"
        );
    }
}
