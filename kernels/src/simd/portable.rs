//! The integer microkernel in portable code.
//!
//! One column per group. The compiler vectorises along `k`.

use super::microkernel::{ColumnPtrs, ColumnScales, Microkernel, PerRow, SimdOp, bits};
use crate::layout::Bits;

/// Weights of `BITS` bits in portable code.
pub(crate) struct Portable<const BITS: u8>;

// SAFETY: portable code; addresses are used within the contract.
unsafe impl<const BITS: u8> Microkernel for Portable<BITS> {
    const BITS: Bits = bits(BITS);
    const LANES: usize = 1;
    const ROWS: usize = 1;
    const MR: usize = 4;
    const NR: usize = 4;
    const LOADS: usize = 2;
    const STEPS: usize = 1;
    const SUMS_IN_REGISTERS: bool = false;
    const TWO_CHAINS: bool = false;
    const GEMV_MAX_ROWS: usize = 0;
    const SCALE_BATCH: usize = 4;

    type Weights = [i8; 16];
    type Block = [[i8; 16]; 2];
    type Activations = *const i8;
    type Operand = [i8; 16];
    type Accumulator = i32;
    type Sum = f32;

    #[inline(always)]
    unsafe fn with_features<O: SimdOp>(op: O) -> O::Output {
        #[inline(never)]
        unsafe fn shell<O: SimdOp>(op: O) -> O::Output {
            // SAFETY: the caller's promises.
            unsafe { op.run() }
        }
        // SAFETY: the caller's promises.
        unsafe { shell(op) }
    }

    #[inline(always)]
    unsafe fn unpack(columns: &ColumnPtrs<u8>, block: usize) -> Self::Block {
        // SAFETY: the block is inside the column.
        unsafe {
            if BITS == 4 {
                let bytes: [u8; 16] = columns.first[0].add(block * 16).cast::<[u8; 16]>().read();
                [
                    bytes.map(|byte| (byte & 0x0f) as i8 - 8),
                    bytes.map(|byte| (byte >> 4) as i8 - 8),
                ]
            } else {
                let bytes = columns.first[0]
                    .add(block * 32)
                    .cast::<[[u8; 16]; 2]>()
                    .read();
                bytes.map(|bytes| bytes.map(|byte| (byte ^ 0x80) as i8))
            }
        }
    }

    #[inline(always)]
    unsafe fn load_scales(scales: &ColumnScales, block: usize, count: usize, out: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { scales.copy_partial(1, block, count, out) }
    }

    #[inline(always)]
    unsafe fn load_activations(x: PerRow<*const i8>) -> Self::Activations {
        x[0]
    }

    #[inline(always)]
    unsafe fn broadcast<const STEP: usize>(x: Self::Activations) -> Self::Operand {
        // SAFETY: 16 values by the contract.
        unsafe { x.cast::<[i8; 16]>().read() }
    }

    #[inline(always)]
    unsafe fn start(_: PerRow<*const i32>) -> i32 {
        0
    }

    #[inline(always)]
    unsafe fn zero_accumulator() -> i32 {
        0
    }

    #[inline(always)]
    unsafe fn add(a: i32, b: i32) -> i32 {
        a + b
    }

    #[inline(always)]
    unsafe fn dot<const STEP: usize>(acc: i32, weights: [i8; 16], x: [i8; 16]) -> i32 {
        let products = weights.iter().zip(&x);
        acc + products
            .map(|(w, x)| i32::from(i16::from(*w) * i16::from(*x)))
            .sum::<i32>()
    }

    #[inline(always)]
    unsafe fn finish(acc: i32, _: PerRow<*const i32>) -> f32 {
        acc as f32
    }

    #[inline(always)]
    unsafe fn zero() -> f32 {
        0.0
    }

    #[inline(always)]
    unsafe fn load_sum(from: PerRow<*const f32>) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { *from[0] }
    }

    #[inline(always)]
    unsafe fn store_sum(to: PerRow<*mut f32>, sum: f32) {
        // SAFETY: the caller's promise.
        unsafe { *to[0] = sum }
    }

    #[inline(always)]
    unsafe fn load_scale(from: *const f32) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { *from }
    }

    #[inline(always)]
    unsafe fn broadcast_scale(x_scale: PerRow<*const f32>) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { *x_scale[0] }
    }

    #[inline(always)]
    unsafe fn scale_add(dots: f32, x_scale: f32, w_scale: f32, sum: f32) -> f32 {
        dots.mul_add(x_scale * w_scale, sum)
    }
}
