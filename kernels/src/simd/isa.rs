//! The instruction sets, and detection at run time.

use std::fmt;
use std::str::FromStr;

/// The environment variable that overrules the choice, for debugging.
pub const ISA_ENV_VAR: &str = "DELTAVLM_ISA";

/// An instruction set for which there is a kernel.
///
/// Every variant exists in every build; [`Isa::is_available`] says which can
/// run. All of them compute the same bits, so the choice is one of speed only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Isa {
    /// Portable code, and the specification of all others.
    Scalar,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// The same with 256-bit VNNI in its VEX encoding.
    AvxVnni,
    /// x86-64 with AVX-512 F, BW, VL and VNNI.
    Avx512Vnni,
    /// aarch64 with the dot product instructions.
    NeonDotprod,
    /// The same with the 8-bit matrix multiply instructions.
    NeonI8mm,
}

impl Isa {
    /// Every instruction set, slowest first.
    pub const ALL: [Self; 6] = [
        Self::Scalar,
        Self::Avx2,
        Self::AvxVnni,
        Self::Avx512Vnni,
        Self::NeonDotprod,
        Self::NeonI8mm,
    ];

    /// The fastest instruction set of this processor.
    #[must_use]
    pub fn detect() -> Self {
        Self::available()
            .into_iter()
            .next_back()
            .unwrap_or(Self::Scalar)
    }

    /// Every instruction set of this processor, slowest first; never empty.
    #[must_use]
    pub fn available() -> Vec<Self> {
        Self::ALL
            .into_iter()
            .filter(|isa| isa.is_available())
            .collect()
    }

    /// The one that the environment variable [`ISA_ENV_VAR`] names, or the
    /// fastest if it is not set.
    pub fn from_env() -> Result<Self, IsaError> {
        match std::env::var_os(ISA_ENV_VAR) {
            None => Ok(Self::detect()),
            Some(name) => name.to_string_lossy().parse::<Self>()?.checked(),
        }
    }

    /// This instruction set, if the processor has it.
    pub fn checked(self) -> Result<Self, IsaError> {
        if self.is_available() {
            Ok(self)
        } else {
            Err(IsaError::Unavailable { isa: self })
        }
    }

    /// Whether this processor and operating system can run it.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => has_avx2(),
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => has_avx2() && is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => has_avx512(),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Self::NeonDotprod => std::arch::is_aarch64_feature_detected!("dotprod"),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Self::NeonI8mm => {
                std::arch::is_aarch64_feature_detected!("dotprod")
                    && std::arch::is_aarch64_feature_detected!("i8mm")
            }
            _ => false,
        }
    }

    /// The name that [`ISA_ENV_VAR`] and the benches use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::AvxVnni => "avxvnni",
            Self::Avx512Vnni => "avx512vnni",
            Self::NeonDotprod => "dotprod",
            Self::NeonI8mm => "i8mm",
        }
    }

    pub(crate) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Isa {
    type Err = IsaError;

    fn from_str(name: &str) -> Result<Self, IsaError> {
        Self::ALL
            .into_iter()
            .find(|isa| isa.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| IsaError::Unknown {
                name: name.to_owned(),
            })
    }
}

/// An instruction set was asked for that cannot be used here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IsaError {
    /// No instruction set has this name.
    #[error("unknown instruction set {name:?}; known are {}", Isa::names())]
    Unknown {
        /// The name that was given.
        name: String,
    },
    /// This processor, or this build, does not have it.
    #[error("instruction set {isa} is not available on this processor")]
    Unavailable {
        /// The instruction set that was asked for.
        isa: Isa,
    },
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    has_avx2()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        for isa in Isa::ALL {
            assert_eq!(isa.name().parse::<Isa>(), Ok(isa));
        }
        assert!(matches!(
            "sse9".parse::<Isa>(),
            Err(IsaError::Unknown { .. })
        ));
    }

    #[test]
    fn the_portable_one_is_always_there() {
        assert_eq!(Isa::available().first(), Some(&Isa::Scalar));
        assert!(Isa::detect().is_available());
    }
}
