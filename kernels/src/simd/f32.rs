//! Vectors of single precision, as the dense products need them.

/// A register of numbers. Its lanes are columns of an output and never meet.
///
/// # Safety
/// All functions need the instruction set of the implementation, and addresses
/// with room for `LANES` values.
pub(crate) trait SimdF32: Copy {
    /// Numbers in a register.
    const LANES: usize;
    /// Nothing but zeros.
    unsafe fn zero() -> Self;
    /// Consecutive numbers.
    unsafe fn load(from: *const f32) -> Self;
    /// Consecutive numbers.
    unsafe fn store(self, to: *mut f32);
    /// The number at `x` in every lane.
    unsafe fn splat(x: *const f32) -> Self;
    /// `x` times `weights`, plus this, with one rounding.
    unsafe fn mul_add(self, x: Self, weights: Self) -> Self;
}

/// The specification.
#[derive(Clone, Copy)]
pub(crate) struct PortableF32([f32; 8]);

impl SimdF32 for PortableF32 {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0.0; 8])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the trait's contract.
        Self(unsafe { from.cast::<[f32; 8]>().read() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the trait's contract.
        unsafe { to.cast::<[f32; 8]>().write(self.0) }
    }

    #[inline(always)]
    unsafe fn splat(x: *const f32) -> Self {
        // SAFETY: the trait's contract.
        Self([unsafe { *x }; 8])
    }

    #[inline(always)]
    unsafe fn mul_add(self, x: Self, weights: Self) -> Self {
        Self(std::array::from_fn(|lane| {
            x.0[lane].mul_add(weights.0[lane], self.0[lane])
        }))
    }
}

/// Implements [`SimdF32`] for a register type by four intrinsics.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! impl_simd_f32 {
    ($register:ty, $lanes:literal, $splat:ident, $pin_register:expr, $load:ident, $store:ident, |$x:ident, $w:ident, $sum:ident| $fma:expr) => {
        // SAFETY of all functions: intrinsics of the instruction set that the
        // trait's contract promises, on addresses that it promises.
        impl SimdF32 for $register {
            const LANES: usize = $lanes;

            #[inline(always)]
            unsafe fn zero() -> Self {
                // SAFETY: see above.
                unsafe { $splat(0.0) }
            }

            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                // SAFETY: see above.
                unsafe { $load(from) }
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                // SAFETY: see above.
                unsafe { $store(to, self) }
            }

            #[inline(always)]
            unsafe fn splat(x: *const f32) -> Self {
                // SAFETY: see above.
                unsafe { $pin_register($splat(*x)) }
            }

            #[inline(always)]
            unsafe fn mul_add(self, x: Self, weights: Self) -> Self {
                let ($x, $w, $sum) = (x, weights, self);
                // SAFETY: see above.
                unsafe { $fma }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::SimdF32;

    impl_simd_f32!(
        __m256,
        8,
        _mm256_set1_ps,
        std::convert::identity,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        |x, w, sum| _mm256_fmadd_ps(x, w, sum)
    );
    /// The same vector, in a register: the compiler would otherwise load it again
    /// for every product.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn pin_register(mut x: __m512) -> __m512 {
        // SAFETY: no instruction.
        unsafe {
            std::arch::asm!("/* {0} */", inout(zmm_reg) x, options(nomem, nostack, preserves_flags));
        }
        x
    }

    impl_simd_f32!(
        __m512,
        16,
        _mm512_set1_ps,
        pin_register,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        |x, w, sum| _mm512_fmadd_ps(x, w, sum)
    );
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::*;

    use super::SimdF32;

    impl_simd_f32!(
        float32x4_t,
        4,
        vdupq_n_f32,
        std::convert::identity,
        vld1q_f32,
        vst1q_f32,
        |x, w, sum| vfmaq_f32(sum, x, w)
    );
}
