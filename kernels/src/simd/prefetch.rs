//! Software prefetch.

/// Prefetches `lines` cache lines of 64 bytes, into the first-level cache if
/// `NEAR`, else the second-level one. Never faults, whatever the address.
#[inline(always)]
pub(crate) fn prefetch<const NEAR: bool>(first: *const u8, lines: usize) {
    for line in 0..lines {
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
