//! What a registration hands back, and the bar it must reach.

use super::homography::Homography;
use super::verdict::Evidence;

/// What must be reached together for a transform to be believed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// Fewest windows that may decide.
    pub windows: usize,
    /// Least share of windows that must agree.
    pub agreeing: f64,
    /// Least share of the frame that agreeing windows must cover.
    pub coverage: f64,
    /// Least ratio of the best correlation to the best elsewhere.
    pub peak_ratio: f64,
    /// Least mean correlation of all windows, in the root mean square of their surroundings.
    pub support: f64,
}

impl Bar {
    fn is_reached(&self, evidence: &Evidence) -> bool {
        evidence.windows >= self.windows
            && evidence.agreeing >= self.agreeing
            && evidence.coverage >= self.coverage
            && evidence.peak_ratio >= self.peak_ratio
            && evidence.support >= self.support
    }
}

/// When a registration is believed: when any one of the bars is reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Ways of being sure, each sufficient.
    pub bars: [Bar; 3],
}

impl Default for Settings {
    /// Each above what any of the unrelated pairs of `docs/registration.md` reached.
    fn default() -> Self {
        Settings {
            bars: [
                // Many windows agree.
                Bar {
                    windows: 20,
                    agreeing: 0.33,
                    coverage: 0.40,
                    peak_ratio: 1.0,
                    support: 0.0,
                },
                // Fewer agree, as where much was rebuilt, but nothing else comes near.
                Bar {
                    windows: 20,
                    agreeing: 0.22,
                    coverage: 0.33,
                    peak_ratio: 1.3,
                    support: 1.5,
                },
                // A small overlap, or a frame of which part is no data: few windows, most of which
                // agree. Neighbours share pixels, so a handful of them agrees by chance.
                Bar {
                    windows: 10,
                    agreeing: 0.66,
                    coverage: 0.33,
                    peak_ratio: 1.5,
                    support: 1.5,
                },
            ],
        }
    }
}

impl Settings {
    pub(super) fn refusal(&self, evidence: &Evidence) -> Option<Unaligned> {
        let bars = &self.bars;
        if bars.iter().any(|bar| bar.is_reached(evidence)) {
            return None;
        }
        // What no bar would have let pass comes first.
        Some(if bars.iter().all(|bar| evidence.windows < bar.windows) {
            Unaligned::TooFewWindows
        } else if bars.iter().all(|bar| evidence.agreeing < bar.agreeing) {
            Unaligned::WindowsDisagree
        } else if bars.iter().all(|bar| evidence.coverage < bar.coverage) {
            Unaligned::LittleCovered
        } else if bars.iter().all(|bar| evidence.peak_ratio < bar.peak_ratio) {
            Unaligned::Ambiguous
        } else {
            Unaligned::WindowsDisagree
        })
    }
}

/// Why two pictures are not taken for the same place. To whoever asks, each is the reason `unaligned`;
/// this says which number fell short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unaligned {
    /// A number of the prior is not finite or outside its range.
    #[error(
        "the prior is not usable: every number finite, rotation 0 to 180 degrees, scale 1 to 4"
    )]
    UnusablePrior,
    /// Nothing in common to compare: black, flat, too small, or no overlap where the prior looks.
    #[error("no structure to compare where the pictures could overlap")]
    NoStructure,
    /// Too few windows held data and texture in both pictures.
    #[error("too few windows with structure in both pictures")]
    TooFewWindows,
    /// The windows do not agree on one transform: another place, or nothing of it is left.
    #[error("too few windows agree on one transform")]
    WindowsDisagree,
    /// Rotation, scale or tilt lie outside what the prior and a camera looking down allow.
    #[error("rotation, scale or tilt of the best transform are outside the search")]
    Implausible,
    /// Another place in the reference fits as well.
    #[error("another rotation, scale or shift fits as well")]
    Ambiguous,
    /// What agrees is a small part of the frame.
    #[error("the agreeing windows cover too little of the frame")]
    LittleCovered,
}

/// A transform and whether it may be believed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Registration {
    /// Frame pixel to reference pixel, pixel centres at integers. The best found even where refused;
    /// the prior's start where nothing was found.
    pub homography: Homography,
    /// What was measured.
    pub evidence: Evidence,
    /// `None` when aligned.
    pub refused: Option<Unaligned>,
}

impl Registration {
    /// The transform may be used.
    pub fn is_aligned(&self) -> bool {
        self.refused.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(windows: usize, agreeing: f64, peak_ratio: f64) -> Evidence {
        Evidence {
            windows,
            agreeing,
            peak_ratio,
            coverage: 0.5,
            support: 2.0,
            ..Evidence::default()
        }
    }

    #[test]
    fn few_windows_that_all_agree_decide_only_where_nothing_else_fits() {
        // Two pictures of one place, of which a third is masked, were refused for a lack of windows.
        let settings = Settings::default();
        assert_eq!(settings.refusal(&evidence(12, 1.0, 17.0)), None);
        // Twelve windows of two forests agreed to three quarters by chance.
        let by_chance = settings.refusal(&evidence(12, 0.75, 1.09));
        assert_eq!(by_chance, Some(Unaligned::WindowsDisagree));
        assert_eq!(
            settings.refusal(&evidence(9, 1.0, 17.0)),
            Some(Unaligned::TooFewWindows)
        );
    }

    #[test]
    fn each_number_can_refuse() {
        let settings = Settings::default();
        assert_eq!(settings.refusal(&evidence(30, 0.5, 1.1)), None);
        assert_eq!(
            settings.refusal(&evidence(30, 0.2, 9.0)),
            Some(Unaligned::WindowsDisagree)
        );
        assert_eq!(
            settings.refusal(&evidence(30, 0.5, 0.9)),
            Some(Unaligned::Ambiguous)
        );
        let little = Evidence {
            coverage: 0.2,
            ..evidence(30, 0.5, 2.0)
        };
        assert_eq!(settings.refusal(&little), Some(Unaligned::LittleCovered));
    }
}
