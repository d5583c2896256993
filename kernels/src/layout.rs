//! How quantised weights lie in memory.
//!
//! The layout is that of the ONNX Runtime operator `MatMulNBits` of the domain
//! `com.microsoft`, with blocks of 32 and no zero-point tensor, so that one
//! file serves both and is used where it is mapped:
//!
//! * 4 bits: bytes `[N, K / 32, 16]`; a byte holds the value of an even `k` in
//!   its low half and of the next `k` in its high half; a half means
//!   `half - 8`;
//! * 8 bits: bytes `[N, K / 32, 32]`; a byte means `byte - 128`;
//! * scales `[N, K / 32]`, one per block.

use half::f16;

use crate::error::ShapeError;

/// The number of consecutive values along `K` that share one scale.
pub const BLOCK: usize = 32;

/// The width of a stored weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bits {
    /// Two weights per byte, -8 to 7.
    Four,
    /// One weight per byte, -128 to 127.
    Eight,
}

impl Bits {
    /// The number of bits.
    #[must_use]
    pub const fn count(self) -> usize {
        match self {
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    /// The number of bytes that one block of weights takes, without its scale.
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::Four => BLOCK / 2,
            Self::Eight => BLOCK,
        }
    }

    /// The stored value that means zero.
    #[must_use]
    pub const fn zero_point(self) -> i32 {
        match self {
            Self::Four => 8,
            Self::Eight => 128,
        }
    }
}

/// One scale per block of weights, row after row.
#[derive(Clone, Copy, Debug)]
pub enum Scales<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Half precision.
    F16(&'a [f16]),
}

impl Scales<'_> {
    /// The number of scales.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::F32(scales) => scales.len(),
            Self::F16(scales) => scales.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The scale at `index`.
    ///
    /// # Panics
    /// If there is no such scale.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> f32 {
        match self {
            Self::F32(scales) => scales[index],
            Self::F16(scales) => scales[index].to_f32(),
        }
    }
}

/// A borrowed matrix of `n` rows of `k` quantised weights.
///
/// A product `x * w^T` has one output column per row of the matrix. The
/// buffers have been checked against the shape.
#[derive(Clone, Copy, Debug)]
pub struct QuantizedMatrix<'a> {
    bits: Bits,
    n: usize,
    k: usize,
    quants: &'a [u8],
    scales: Scales<'a>,
}

impl<'a> QuantizedMatrix<'a> {
    /// Takes the buffers as they are, if they have the lengths that the shape
    /// needs. Neither is copied, and no alignment is asked of `quants`.
    pub fn new(
        bits: Bits,
        n: usize,
        k: usize,
        quants: &'a [u8],
        scales: Scales<'a>,
    ) -> Result<Self, ShapeError> {
        if n == 0 {
            return Err(ShapeError::Zero { what: "n" });
        }
        let blocks = n
            .checked_mul(whole_blocks(k)?)
            .ok_or(ShapeError::Overflow)?;
        let bytes = blocks
            .checked_mul(bits.block_bytes())
            .ok_or(ShapeError::Overflow)?;
        check_length("weights", bytes, quants.len())?;
        check_length("scales", blocks, scales.len())?;
        Ok(Self {
            bits,
            n,
            k,
            quants,
            scales,
        })
    }

    /// The width of a weight.
    #[must_use]
    pub fn bits(&self) -> Bits {
        self.bits
    }

    /// The number of rows, which is the number of output columns.
    #[must_use]
    pub fn n(&self) -> usize {
        self.n
    }

    /// The inner dimension.
    #[must_use]
    pub fn k(&self) -> usize {
        self.k
    }

    /// The stored weights.
    #[must_use]
    pub fn quants(&self) -> &'a [u8] {
        self.quants
    }

    /// The scales.
    #[must_use]
    pub fn scales(&self) -> Scales<'a> {
        self.scales
    }

    /// The number of blocks in a row.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.k / BLOCK
    }

    /// The number of bytes that the weights and their scales take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let scales = match self.scales {
            Scales::F32(scales) => size_of_val(scales),
            Scales::F16(scales) => size_of_val(scales),
        };
        self.quants.len() + scales
    }

    /// The values of one block, without their scale.
    #[inline]
    pub(crate) fn block(&self, row: usize, block: usize) -> [i8; BLOCK] {
        let size = self.bits.block_bytes();
        let start = (row * self.blocks() + block) * size;
        let bytes = &self.quants[start..start + size];
        let mut values = [0; BLOCK];
        match self.bits {
            Bits::Four => {
                for (pair, byte) in values.chunks_exact_mut(2).zip(bytes) {
                    pair[0] = (byte & 0x0f) as i8 - 8;
                    pair[1] = (byte >> 4) as i8 - 8;
                }
            }
            Bits::Eight => {
                for (value, byte) in values.iter_mut().zip(bytes) {
                    *value = (byte ^ 0x80) as i8;
                }
            }
        }
        values
    }
}

/// The number of blocks in `k` values, which must be whole and at least one.
pub(crate) fn whole_blocks(k: usize) -> Result<usize, ShapeError> {
    if k == 0 {
        return Err(ShapeError::Zero { what: "k" });
    }
    if !k.is_multiple_of(BLOCK) {
        return Err(ShapeError::NotWholeBlocks { k, block: BLOCK });
    }
    Ok(k / BLOCK)
}

pub(crate) fn check_length(
    what: &'static str,
    expected: usize,
    actual: usize,
) -> Result<(), ShapeError> {
    if expected == actual {
        Ok(())
    } else {
        Err(ShapeError::Length {
            what,
            expected,
            actual,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_half_is_the_even_value() {
        let mut quants = [0x88; 16];
        quants[0] = 0xf0;
        quants[15] = 0x79;
        let matrix = QuantizedMatrix::new(Bits::Four, 1, 32, &quants, Scales::F32(&[1.0])).unwrap();
        let block = matrix.block(0, 0);
        assert_eq!(&block[..3], &[-8, 7, 0]);
        assert_eq!(&block[30..], &[1, -1]);
    }

    #[test]
    fn eight_bits_are_offset_by_128() {
        let mut quants = [128; 32];
        quants[0] = 0;
        quants[31] = 255;
        let matrix =
            QuantizedMatrix::new(Bits::Eight, 1, 32, &quants, Scales::F32(&[1.0])).unwrap();
        let block = matrix.block(0, 0);
        assert_eq!((block[0], block[1], block[31]), (-128, 0, 127));
    }

    #[test]
    fn wrong_sizes_are_refused_by_name() {
        let scales = [1.0; 2];
        let new = |n, k, bytes: &[u8], scales| {
            QuantizedMatrix::new(Bits::Four, n, k, bytes, Scales::F32(scales)).map(|_| ())
        };
        assert_eq!(new(0, 32, &[], &[]), Err(ShapeError::Zero { what: "n" }));
        assert_eq!(new(1, 0, &[], &[]), Err(ShapeError::Zero { what: "k" }));
        assert_eq!(
            new(1, 33, &[0; 17], &scales[..1]),
            Err(ShapeError::NotWholeBlocks { k: 33, block: 32 })
        );
        assert!(matches!(
            new(2, 32, &[0; 31], &scales),
            Err(ShapeError::Length {
                what: "weights",
                expected: 32,
                actual: 31
            })
        ));
        assert!(matches!(
            new(2, 32, &[0; 32], &scales[..1]),
            Err(ShapeError::Length {
                what: "scales",
                expected: 2,
                actual: 1
            })
        ));
        assert_eq!(new(usize::MAX, 64, &[], &[]), Err(ShapeError::Overflow));
    }
}
