//! Values of any depth to eight bits: which one is black, which one white.

use crate::options::{DecodeOptions, Stretch};

/// Values looked at for percentiles: enough for a hundredth of a percent.
const MAX_MEASURED: usize = 1 << 20;

/// The values that become 0 and 255.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Levels {
    black: f64,
    white: f64,
}

impl Levels {
    /// As declared by the options, if they declare a usable white.
    pub(crate) fn declared(options: &DecodeOptions) -> Option<Self> {
        let (black, white) = (options.black.unwrap_or(0.0), options.white?);
        (black.is_finite() && white.is_finite()).then_some(Self { black, white })
    }

    /// From 0 to `white`.
    pub(crate) fn up_to(white: f64) -> Self {
        Self { black: 0.0, white }
    }

    /// Percentiles of `count` values, of which the finite ones count; `value` gives each
    /// or `None` for no data. `None` when nothing is left.
    pub(crate) fn measure(
        stretch: Stretch,
        count: usize,
        value: impl Fn(usize) -> Option<f64>,
    ) -> Option<Self> {
        let step = count.div_ceil(MAX_MEASURED).max(1);
        // Odd, so that with three bands all take part.
        let step = if step > 1 { step | 1 } else { 1 };
        let mut values: Vec<f64> = (0..count)
            .step_by(step)
            .filter_map(value)
            .filter(|value| value.is_finite())
            .collect();
        values.sort_unstable_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let at = |percent: f64| {
            let share = (percent / 100.0).clamp(0.0, 1.0);
            values[(share * last as f64).round() as usize]
        };
        Some(Self {
            black: at(stretch.low),
            white: at(stretch.high),
        })
    }

    /// Scales and clips; where black and white are one, everything below is black.
    pub(crate) fn apply(self, value: f64) -> u8 {
        let range = self.white - self.black;
        if range <= 0.0 {
            return if value >= self.white && value > self.black {
                255
            } else {
                0
            };
        }
        // The cast clips, and makes 0 of NaN.
        ((value - self.black) / range * 255.0 + 0.5).floor() as u8
    }

    /// All 16-bit values at once.
    pub(crate) fn table(self) -> Vec<u8> {
        (0..=u16::MAX)
            .map(|value| self.apply(f64::from(value)))
            .collect()
    }
}

/// Notes a 16-bit picture that uses less than a quarter of its range and has no declared
/// white: it becomes dark.
pub(crate) fn warn_if_dark(name: &str, highest: u16, is_grey: bool) -> bool {
    // Grey up to 255 is taken as it is.
    let least = if is_grey { 256 } else { 0 };
    let is_dark = (least..1 << 14).contains(&highest);
    if is_dark {
        log::warn!(
            "{name}: its 16-bit values reach only {highest} of 65535, so it becomes dark; state the \
             value that is white (4095 for a 12-bit camera)"
        );
    }
    is_dark
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn black_and_white_are_ends_and_everything_else_is_between() {
        let levels = Levels {
            black: 100.0,
            white: 1100.0,
        };
        assert_eq!(
            [0.0, 100.0, 600.0, 1100.0, 9e9, f64::NAN].map(|v| levels.apply(v)),
            [0, 0, 128, 255, 255, 0]
        );
        let flat = Levels {
            black: 5.0,
            white: 5.0,
        };
        assert_eq!(flat.apply(5.0), 0);
    }

    #[test]
    fn percentiles_leave_out_what_is_no_data() {
        let values = [f64::NAN, 1.0, 2.0, 3.0, 1e9];
        let stretch = Stretch {
            low: 0.0,
            high: 100.0,
        };
        let levels = Levels::measure(stretch, 5, |i| (values[i] < 1e6).then_some(values[i]));
        assert_eq!(
            levels,
            Some(Levels {
                black: 1.0,
                white: 3.0
            })
        );
        assert_eq!(Levels::measure(stretch, 5, |_| None), None);
    }

    #[test]
    fn a_picture_that_becomes_dark_is_noticed() {
        let found = [200, 256, 4095, 16_383, 16_384].map(|value| warn_if_dark("x", value, true));
        assert_eq!(found, [false, true, true, true, false]);
        assert!(warn_if_dark("x", 200, false));
    }
}
