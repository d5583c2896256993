//! How sure the model is.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A probability in 127 steps. Invariant: at most [`Confidence::STEPS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Confidence(u8);

impl Confidence {
    /// The step that stands for certainty.
    pub const STEPS: u8 = 127;

    /// The nearest step to a probability; values outside 0 to 1, and NaN, become the nearest end.
    pub fn from_fraction(fraction: f32) -> Self {
        // A cast from float saturates, and NaN becomes 0.
        Self(((fraction * f32::from(Self::STEPS) + 0.5) as u8).min(Self::STEPS))
    }

    /// The given step, at most the last.
    pub const fn from_step(step: u8) -> Self {
        Self(if step > Self::STEPS {
            Self::STEPS
        } else {
            step
        })
    }

    /// The step, 0 to [`Confidence::STEPS`].
    pub const fn step(self) -> u8 {
        self.0
    }

    /// The probability, 0 to 1.
    pub fn fraction(self) -> f32 {
        f32::from(self.0) / f32::from(Self::STEPS)
    }
}

impl Serialize for Confidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.0)
    }
}

impl<'de> Deserialize<'de> for Confidence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let step = u8::deserialize(deserializer)?;
        if step > Self::STEPS {
            return Err(serde::de::Error::custom("confidence has 127 steps"));
        }
        Ok(Self(step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confidence_takes_any_float() {
        assert_eq!(Confidence::from_fraction(f32::NAN).step(), 0);
        assert_eq!(Confidence::from_fraction(-1.0).step(), 0);
        assert_eq!(Confidence::from_fraction(f32::INFINITY).step(), 127);
        for step in 0..=127 {
            assert_eq!(
                Confidence::from_fraction(Confidence::from_step(step).fraction()).step(),
                step
            );
        }
    }
}
