//! What is worth an alert, and what a fault looks like to the ground.

use crate::{
    analyzer::{AnalysisError, Detection},
    pair_files::PairFiles,
};
use deltavlm_messages::{Alert, Message, PairFault, Text};

/// The alert that a detection is worth, if it is worth one.
///
/// A change is worth an alert from the given confidence on. The threshold applies to the
/// judgement "changed"; counts and cells are passed on as they are.
#[must_use]
pub fn alert(detection: &Detection, min_confidence: f32) -> Option<Alert> {
    detection
        .change
        .filter(|_| detection.confidence >= min_confidence)
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
    use deltavlm_messages::{CellSet, Confidence};

    fn pair() -> PairFiles {
        let after = FileFingerprint {
            bytes: 1,
            modified_ns: 1_700_000_000_500_000_000,
            changed_ns: None,
            inode: None,
        };
        PairFiles {
            name: "tile_0017".to_owned(),
            before: None,
            after: "after/tile_0017.png".into(),
            version: PairVersion {
                before: None,
                after,
            },
            ambiguous: Vec::new(),
        }
    }

    fn detection(changed: bool, confidence: f32) -> Detection {
        let change = changed.then(|| Alert {
            tile: 17,
            time: 1_700_000_000,
            confidence: Confidence::from_fraction(confidence),
            roads: 2,
            buildings: 255,
            roads_grid: CellSet::from_bits(0b1),
            buildings_grid: CellSet::from_bits(0b11),
            pair: 7,
        });
        Detection { confidence, change }
    }

    #[test]
    fn the_threshold_decides_on_changes_only() {
        assert!(alert(&detection(true, 0.69), 0.7).is_none());
        assert!(alert(&detection(false, 0.99), 0.7).is_none());
        let detection = detection(true, 0.7);
        assert_eq!(alert(&detection, 0.7), detection.change);
    }

    #[test]
    fn a_detection_without_a_number_for_confidence_raises_nothing() {
        assert!(alert(&detection(true, f32::NAN), 0.5).is_none());
    }

    #[test]
    fn a_fault_names_its_tile_and_time() {
        let error = AnalysisError::panicked();
        let Message::PairFault(fault) = fault(&pair(), &error) else {
            panic!("not a fault");
        };
        assert_eq!((fault.tile, fault.time), (17, 1_700_000_000));
        assert_eq!(fault.reason, error.reason);
    }
}
