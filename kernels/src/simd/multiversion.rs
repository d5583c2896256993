//! One source, compiled once for every instruction set.
//!
//! Code without intrinsics is vectorised by the compiler. Its steps are written
//! out (`mul_add` where one rounding is meant, sums in a fixed order of lanes),
//! and the compiler changes none of them, so every version gives the same bits.

/// Defines a function that runs the version of `$body` for an instruction set.
/// `$body` must be `#[inline(always)]`, as must everything that it calls.
macro_rules! multiversion {
    ($(#[$attribute:meta])* $visible:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) = $body:path) => {
        $(#[$attribute])*
        #[allow(clippy::too_many_arguments, reason = "the arguments of the body, and the instruction set")]
        $visible fn $name(isa: $crate::Isa, $($argument: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
                fn avx512($($argument: $type),*) {
                    $body($($argument),*)
                }
                #[target_feature(enable = "avx2,fma,f16c")]
                fn avx2($($argument: $type),*) {
                    $body($($argument),*)
                }
                match isa {
                    // SAFETY: whoever names an instruction set has checked that it is
                    // available: it comes from a pool.
                    $crate::Isa::Avx512Vnni => return unsafe { avx512($($argument),*) },
                    // SAFETY: as above.
                    $crate::Isa::Avx2 | $crate::Isa::AvxVnni => return unsafe { avx2($($argument),*) },
                    _ => {}
                }
            }
            // On aarch64 the vectors and the fused operations are always there.
            let _ = isa;
            $body($($argument),*)
        }
    };
}

pub(crate) use multiversion;
