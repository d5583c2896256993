//! Everything that depends on the instruction set.
//!
//! * [`isa`]: which instruction sets there are, and detection at run time;
//! * [`microkernel`]: what one has to provide for the integer product; one
//!   file per instruction set implements it;
//! * [`f32`]: what one has to provide for single-precision products;
//! * [`multiversion`]: portable code compiled once per instruction set.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2_quantize;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512_gemv;
pub(crate) mod f32;
pub(crate) mod isa;
pub(crate) mod microkernel;
pub(crate) mod multiversion;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
pub(crate) mod neon;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
pub(crate) mod neon_dotprod;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
pub(crate) mod neon_i8mm;
pub(crate) mod portable;
pub(crate) mod prefetch;
