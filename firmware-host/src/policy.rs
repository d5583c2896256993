//! What is worth an alert, and what a fault looks like to the ground.

use crate::{
    analyzer::{AnalysisError, Detection},
    pair_files::PairFiles,
};
use deltavlm_messages::{Alert, Confidence, Message, PairFault, Text};

/// The alert that a finding is worth, if it is worth one.
///
/// A change is worth an alert from the given confidence on. The threshold applies to the
/// judgement "changed"; counts and cells are passed on as they are.
#[must_use]
pub fn alert(
    pair: &PairFiles,
    hash: u16,
    detection: &Detection,
    min_confidence: f32,
) -> Option<Alert> {
    let narrow = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
    (detection.changed && detection.confidence >= min_confidence).then(|| Alert {
        tile: pair.tile(),
        time: pair.time(),
        confidence: Confidence::from_fraction(detection.confidence),
        roads: narrow(detection.roads),
        buildings: narrow(detection.buildings),
        roads_grid: detection.roads_grid,
        buildings_grid: detection.buildings_grid,
        pair: hash,
    })
}

/// What the ground is told of a pair that cannot be used.
#[must_use]
pub fn fault(pair: &PairFiles, error: &AnalysisError) -> Message {
    Message::PairFault(PairFault {
        tile: pair.tile(),
        time: pair.time(),
        reason: error.reason,
        detail: Text::truncated(&error.detail),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair_files::{FileFingerprint, PairVersion};
    use deltavlm_messages::CellSet;

    fn pair() -> PairFiles {
        let after = FileFingerprint {
            bytes: 1,
            modified_ns: 1_700_000_000_500_000_000,
        };
        PairFiles {
            name: "tile_0017".to_owned(),
            before: None,
            after: "after/tile_0017.png".into(),
            version: PairVersion {
                before: None,
                after,
            },
        }
    }

    fn detection(changed: bool, confidence: f32) -> Detection {
        Detection {
            changed,
            confidence,
            roads: 2,
            buildings: 1000,
            roads_grid: CellSet::from_bits(0b1),
            buildings_grid: CellSet::from_bits(0b11),
        }
    }

    #[test]
    fn the_threshold_decides_on_changes_only() {
        assert!(alert(&pair(), 7, &detection(true, 0.69), 0.7).is_none());
        assert!(alert(&pair(), 7, &detection(false, 0.99), 0.7).is_none());
        let alert = alert(&pair(), 7, &detection(true, 0.7), 0.7).unwrap();
        assert_eq!((alert.tile, alert.time, alert.pair), (17, 1_700_000_000, 7));
        assert_eq!(
            (alert.roads, alert.buildings),
            (2, 255),
            "255 stands for 255 and more"
        );
    }

    #[test]
    fn a_finding_without_a_number_for_confidence_raises_nothing() {
        assert!(alert(&pair(), 7, &detection(true, f32::NAN), 0.5).is_none());
    }
}
