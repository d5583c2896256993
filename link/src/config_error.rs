//! What can be wrong with a configuration.

/// What is wrong with a [`Config`](crate::Config).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// `mtu` is under 32.
    Mtu,
    /// In simplex with repairs, `mtu` is under 40.
    SimplexMtu,
    /// `id.station` is over 127.
    Station,
    /// `ack_every` is not between 1 and 32.
    AckEvery,
    /// `min_timeout` is zero or over `max_timeout`.
    Timeouts,
    /// `down_after` is zero.
    DownAfter,
    /// A field of `Simplex` is outside its range.
    Simplex,
    /// A direction is to be protected and there is no key.
    NoKey,
    /// `pacing.rate` is zero.
    Rate,
    /// `pacing.duty_cycle` has an empty window.
    DutyCycle,
    /// `pacing.contacts` are empty, overlap, or are out of order.
    Contacts,
}

impl core::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Mtu => "mtu must be 32 to 255",
            Self::SimplexMtu => "mtu must be 40 to 255 in simplex with repairs",
            Self::Station => "a station's number must be 0 to 127",
            Self::AckEvery => "ack_every must be 1 to 32",
            Self::Timeouts => "min_timeout must be over zero and at most max_timeout",
            Self::DownAfter => "down_after must be at least 1",
            Self::Simplex => {
                "simplex needs 1 to 15 repeats, a group of 1 to 8, and at most 4 repairs"
            }
            Self::NoKey => "a protected direction needs a key",
            Self::Rate => "the rate must be over zero",
            Self::DutyCycle => "the duty cycle needs a window over zero",
            Self::Contacts => {
                "contacts must each end after they begin, in order and without overlap"
            }
        })
    }
}

impl core::error::Error for ConfigError {}
