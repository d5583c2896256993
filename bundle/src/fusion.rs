//! One finding per pair: how what a model says about a pair is fused.

use serde::{Deserialize, Serialize};

use deltavlm_messages::Instruction;

/// The captions by which the training data says that nothing has changed.
pub const UNCHANGED_CAPTIONS: [&str; 5] = [
    "there is no difference",
    "the two scenes seem identical",
    "the scene is the same as before",
    "no change has occurred",
    "almost nothing has changed",
];

/// The count by which the training data says so.
pub const UNCHANGED_COUNT: &str = "there are no changes in roads or buildings";

/// Logits are cut here: beyond it a probability says nothing more.
const CUT: f32 = 8.0;

/// Weights of a logistic regression on what the answers about a pair say; fitted on
/// held-out pairs by the training recipe.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fusion {
    /// Added to the sum.
    pub bias: f32,
    /// Of the logit of P(classify says yes).
    pub yes: f32,
    /// Of the logit of P(count says that nothing has changed).
    pub none: f32,
    /// Of the logarithm of 0.05 plus the expected number of changed cells.
    pub cells: f32,
    /// Of the logit of P(the caption is a no-change sentence).
    pub unchanged: f32,
}

/// For bundles that name no weights: the yes/no question and the count weigh alike.
impl Default for Fusion {
    fn default() -> Self {
        Self {
            bias: 0.0,
            yes: 0.5,
            none: -0.5,
            cells: 0.0,
            unchanged: 0.0,
        }
    }
}

/// What the answers about one pair say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Signals {
    /// P(classify says yes).
    pub yes: f32,
    /// P(count says that nothing has changed).
    pub none: f32,
    /// Expected number of changed cells, roads and buildings together.
    pub cells: f32,
    /// P(the caption is a no-change sentence).
    pub unchanged: f32,
}

impl Fusion {
    /// P(changed).
    ///
    /// ```
    /// use deltavlm_bundle::{Fusion, Signals};
    ///
    /// let said = Signals { yes: 0.4, none: 0.02, cells: 3.0, unchanged: 0.01 };
    /// assert!(Fusion::default().probability(&said) > 0.5);
    /// ```
    pub fn probability(&self, said: &Signals) -> f32 {
        let sum = self.bias
            + self.yes * logit(said.yes)
            + self.none * logit(said.none)
            + self.cells * (said.cells.max(0.0) + 0.05).ln()
            + self.unchanged * logit(said.unchanged);
        1.0 / (1.0 + (-sum).exp())
    }

    /// The instructions whose answers bear on the finding.
    pub fn needed(&self) -> impl Iterator<Item = Instruction> {
        let weights = [self.yes, self.none, self.cells, self.unchanged];
        let instructions = Instruction::SINGLE.into_iter().zip(weights);
        instructions
            .filter(|(_, weight)| *weight != 0.0)
            .map(|(instruction, _)| instruction)
    }
}

fn logit(p: f32) -> f32 {
    let p = p.clamp(1e-7, 1.0 - 1e-7);
    (p / (1.0 - p)).ln().clamp(-CUT, CUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Signals = Signals {
        yes: 0.1,
        none: 0.95,
        cells: 0.0,
        unchanged: 0.9,
    };

    #[test]
    fn certain_signals_stay_finite() {
        let sure = Signals {
            yes: 1.0,
            none: 0.0,
            cells: 9.0,
            unchanged: 0.0,
        };
        let p = Fusion::default().probability(&sure);
        assert!(p > 0.999 && p <= 1.0);
        let p = Fusion::default().probability(&QUIET);
        assert!(p < 0.1);
    }

    /// The same numbers as `training/finding.py` gives.
    #[test]
    fn every_signal_moves_the_finding_its_way() {
        let fusion = Fusion {
            bias: -0.2,
            yes: 0.4,
            none: -0.3,
            cells: 0.5,
            unchanged: -0.2,
        };
        let base = fusion.probability(&QUIET);
        let sum = -0.2 + 0.4 * (0.1f32 / 0.9).ln() - 0.3 * (0.95f32 / 0.05).ln()
            + 0.5 * 0.05f32.ln()
            - 0.2 * (0.9f32 / 0.1).ln();
        assert!((base - 1.0 / (1.0 + (-sum).exp())).abs() < 1e-5);
        for (more, up) in [
            (Signals { yes: 0.9, ..QUIET }, true),
            (Signals { none: 0.5, ..QUIET }, true),
            (
                Signals {
                    cells: 3.0,
                    ..QUIET
                },
                true,
            ),
            (
                Signals {
                    unchanged: 0.99,
                    ..QUIET
                },
                false,
            ),
        ] {
            assert_eq!(fusion.probability(&more) > base, up, "{more:?}");
        }
    }

    #[test]
    fn what_weighs_nothing_need_not_be_asked() {
        let needed: Vec<Instruction> = Fusion::default().needed().collect();
        assert_eq!(needed, [Instruction::Classify, Instruction::Count]);
    }
}
