//! The columns that one vector works on, and fetching those that come next.

use crate::layout::QuantizedMatrix;

#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code)
)]
/// The columns of a group, one per vector lane: where each one begins.
pub(crate) struct ColumnPtrs<T, const LANES: usize> {
    pub(crate) first: [*const T; LANES],
}

impl<T, const LANES: usize> ColumnPtrs<T, LANES> {
    /// The columns from `column` of a matrix of `n`; lanes beyond it repeat
    /// the last one.
    pub(crate) fn new(values: &[T], n: usize, column: usize) -> Self {
        let stride = values.len() / n;
        Self {
            first: std::array::from_fn(|lane| {
                values[(column + lane).min(n - 1) * stride..].as_ptr()
            }),
        }
    }
}

impl<const LANES: usize> ColumnPtrs<u8, LANES> {
    /// Where the next group of columns begins. It lies right behind this one,
    /// and is fetched in the order of addresses, which memory likes best. The
    /// address may be beyond the matrix.
    pub(crate) fn next_group(&self, matrix: &QuantizedMatrix<'_>) -> *const u8 {
        self.first[0].wrapping_add(LANES * (matrix.quants().len() / matrix.n()))
    }
}

/// Asks for `LINES` lines of 64 bytes, into the first-level cache if `NEAR` and
/// the second-level one if not; never faults, whatever the address.
#[inline(always)]
pub(crate) fn prefetch<const LINES: usize, const NEAR: bool>(first: *const u8) {
    for line in 0..LINES {
        let address = first.wrapping_add(line * 64);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch is a hint that faults on no address.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
            if NEAR {
                _mm_prefetch::<_MM_HINT_T0>(address.cast());
            } else {
                _mm_prefetch::<_MM_HINT_T1>(address.cast());
            }
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above; the instruction changes no register and no memory.
        unsafe {
            if NEAR {
                std::arch::asm!(
                    "prfm pldl1keep, [{address}]",
                    address = in(reg) address,
                    options(nostack, preserves_flags, readonly),
                );
            } else {
                std::arch::asm!(
                    "prfm pldl2keep, [{address}]",
                    address = in(reg) address,
                    options(nostack, preserves_flags, readonly),
                );
            }
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let _ = address;
    }
}
