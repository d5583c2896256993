//! Tables and the Huffman-coded bit stream.

use super::bytes::{damaged, u16_at};
use crate::error::ImageFault;

/// Natural position of the n-th coefficient in zigzag order.
pub(super) const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

#[derive(Default)]
pub(super) struct Tables {
    /// In natural order.
    pub(super) quantisation: [Option<[u16; 64]>; 4],
    pub(super) dc: [Option<Huffman>; 4],
    pub(super) ac: [Option<Huffman>; 4],
    /// MCUs between restart markers; 0 for none.
    pub(super) restart_interval: usize,
}

impl Tables {
    pub(super) fn define_quantisation(&mut self, mut body: &[u8]) -> Result<(), ImageFault> {
        while let Some((&head, rest)) = body.split_first() {
            let size = if head >> 4 == 0 { 64 } else { 128 };
            let (values, rest) = rest
                .split_at_checked(size)
                .ok_or_else(|| damaged("a quantisation table is too short"))?;
            let mut table = [0; 64];
            for (index, &place) in ZIGZAG.iter().enumerate() {
                table[place] = if size == 64 {
                    u16::from(values[index])
                } else {
                    u16::from_be_bytes([values[2 * index], values[2 * index + 1]])
                };
            }
            let slot = self.quantisation.get_mut(usize::from(head & 15));
            *slot.ok_or_else(|| damaged("a quantisation table beyond the fourth"))? = Some(table);
            body = rest;
        }
        Ok(())
    }

    pub(super) fn define_huffman(&mut self, mut body: &[u8]) -> Result<(), ImageFault> {
        while let Some((&head, rest)) = body.split_first() {
            let too_short = || damaged("a Huffman table is too short");
            let (lengths, rest) = rest.split_at_checked(16).ok_or_else(too_short)?;
            let count = lengths.iter().map(|&length| usize::from(length)).sum();
            let (symbols, rest) = rest.split_at_checked(count).ok_or_else(too_short)?;
            let table = Huffman::new(lengths, symbols)?;
            let class = if head >> 4 == 0 {
                &mut self.dc
            } else {
                &mut self.ac
            };
            let slot = class.get_mut(usize::from(head & 15));
            *slot.ok_or_else(|| damaged("a Huffman table beyond the fourth"))? = Some(table);
            body = rest;
        }
        Ok(())
    }
}

const FAST_BITS: u32 = 9;

/// A Huffman code: short codes by table, long ones by length.
pub(super) struct Huffman {
    /// By the next nine bits: length and symbol; length 0 for a longer code.
    fast: Vec<(u8, u8)>,
    /// By length: one beyond its largest code, shifted to 16 bits.
    limits: [u32; 17],
    /// By length: what to add to a code to get the place of its symbol.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

impl Huffman {
    fn new(lengths: &[u8], symbols: &[u8]) -> Result<Self, ImageFault> {
        let mut fast = vec![(0, 0); 1 << FAST_BITS];
        let (mut limits, mut offsets) = ([0; 17], [0; 17]);
        let (mut code, mut place) = (0u32, 0usize);
        for length in 1..=16u32 {
            let count = usize::from(lengths[length as usize - 1]);
            offsets[length as usize] = place as i32 - code as i32;
            for &symbol in &symbols[place..place + count] {
                if code >= 1 << length {
                    return Err(damaged("an impossible Huffman table"));
                }
                if length <= FAST_BITS {
                    let first = (code << (FAST_BITS - length)) as usize;
                    fast[first..first + (1 << (FAST_BITS - length))].fill((length as u8, symbol));
                }
                code += 1;
            }
            place += count;
            limits[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Ok(Self {
            fast,
            limits,
            offsets,
            symbols: symbols.to_vec(),
        })
    }
}

/// Bits of a scan; stuffing is taken out, a marker ends it.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    buffer: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            buffer: 0,
            count: 0,
        }
    }

    /// How many bytes were read; a marker that ended the data is still ahead.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    fn fill(&mut self) {
        while self.count <= 48 {
            let Some(&byte) = self.bytes.get(self.at) else {
                return;
            };
            if byte == 0xff {
                match self.bytes.get(self.at + 1) {
                    Some(0) => self.at += 1,
                    _ => return,
                }
            }
            self.at += 1;
            self.buffer = (self.buffer << 8) | u64::from(byte);
            self.count += 8;
        }
    }

    /// The next bits, zeros behind the end.
    fn peek(&mut self, bits: u32) -> u32 {
        if self.count < bits {
            self.fill();
        }
        let value = if self.count >= bits {
            self.buffer >> (self.count - bits)
        } else {
            self.buffer << (bits - self.count)
        };
        (value & ((1 << bits) - 1)) as u32
    }

    fn skip(&mut self, bits: u32) -> Result<(), ImageFault> {
        self.count = self
            .count
            .checked_sub(bits)
            .ok_or_else(|| damaged("the coded data breaks off"))?;
        Ok(())
    }

    pub(super) fn bit(&mut self) -> Result<bool, ImageFault> {
        Ok(self.bits(1)? == 1)
    }

    pub(super) fn bits(&mut self, bits: u32) -> Result<u32, ImageFault> {
        if bits == 0 {
            return Ok(0);
        }
        let value = self.peek(bits);
        self.skip(bits)?;
        Ok(value)
    }

    /// A value of `size` bits whose sign is its first bit.
    pub(super) fn signed(&mut self, size: u32) -> Result<i32, ImageFault> {
        if size > 15 {
            return Err(damaged("an impossible coefficient"));
        }
        let value = self.bits(size)? as i32;
        let is_negative = size > 0 && value < 1 << (size - 1);
        Ok(if is_negative {
            value - (1 << size) + 1
        } else {
            value
        })
    }

    pub(super) fn symbol(&mut self, table: &Huffman) -> Result<u8, ImageFault> {
        let (length, symbol) = table.fast[self.peek(FAST_BITS) as usize];
        if length > 0 {
            self.skip(u32::from(length))?;
            return Ok(symbol);
        }
        let code = self.peek(16);
        for length in FAST_BITS + 1..=16 {
            if code < table.limits[length as usize] {
                self.skip(length)?;
                let place = (code >> (16 - length)) as i32 + table.offsets[length as usize];
                let symbol = usize::try_from(place)
                    .ok()
                    .and_then(|place| table.symbols.get(place));
                return symbol.copied().ok_or_else(|| damaged("an impossible code"));
            }
        }
        Err(damaged("an impossible code"))
    }

    /// Leaves the rest of the byte and reads a restart marker.
    pub(super) fn restart(&mut self) -> Result<(), ImageFault> {
        (self.buffer, self.count) = (0, 0);
        while self.bytes.get(self.at) == Some(&0xff) && self.bytes.get(self.at + 1) == Some(&0xff) {
            self.at += 1;
        }
        let marker = u16_at(self.bytes, self.at)?;
        if !(0xffd0..=0xffd7).contains(&marker) {
            return Err(damaged("a restart marker is missing"));
        }
        self.at += 2;
        Ok(())
    }
}
