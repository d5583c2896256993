//! Scales chosen for what a user's pictures send through each layer: errors are
//! put where inputs are small. Kept only where it measurably helps.

use std::collections::BTreeMap;
use std::sync::Arc;

use deltavlm_bundle::{Calibration, InstructionRecord, Segment};

use crate::fidelity::{Exact, Measured};
use crate::network::Network;
use crate::sample_images::Pair;
use crate::weights_layout::WeightsLayout;
use crate::{Error, Result, graph};

/// What a measurement looks at, whatever the segments hold.
pub(crate) struct CalibrationContext<'a> {
    pub(crate) network: &'a Network,
    pub(crate) embedding: &'a WeightsLayout,
    /// A pair that calibration does not see.
    pub(crate) pair: &'a Pair,
    pub(crate) instruction: &'a InstructionRecord,
    pub(crate) threads: usize,
}

impl<'a> CalibrationContext<'a> {
    pub(crate) fn measured(
        &self,
        segments: &'a BTreeMap<Segment, graph::SegmentGraph>,
    ) -> Measured<'a> {
        Measured {
            network: self.network,
            segments,
            embedding: self.embedding,
            threads: self.threads,
        }
    }
}

/// Gives every quantised weight the importance of its columns, measured on the
/// pairs `seen`, and takes it back from the segments that come out no better on
/// the probe's pair.
///
/// # Errors
/// When there is no pair to calibrate with, or a weight cannot be read.
pub(crate) fn calibrate(
    probe: &CalibrationContext<'_>,
    exact: &Exact,
    seen: &[Pair],
    instructions: &[InstructionRecord],
    built: &mut BTreeMap<Segment, graph::SegmentGraph>,
) -> Result<BTreeMap<Segment, Calibration>> {
    if seen.is_empty() {
        return Err(Error::Usage(
            "--calibrate needs two pairs at least: the last one shows whether it helps".to_owned(),
        ));
    }
    let errors = |built: &BTreeMap<Segment, graph::SegmentGraph>| {
        probe
            .measured(built)
            .fidelity(exact, probe.pair, probe.instruction)
    };
    let before = errors(built)?;
    let statistics = probe.measured(built).statistics(seen, instructions)?;
    for segment in built.values_mut() {
        let importance = |name: &str| statistics.importance(name).map(Arc::new);
        segment.layout.set_importance(importance);
    }
    let after = errors(built)?;
    let mut found = BTreeMap::new();
    for (&segment, built) in built.iter_mut() {
        if !built.layout.is_calibrated() {
            continue;
        }
        let error = |table: &BTreeMap<String, deltavlm_bundle::Fidelity>| {
            table
                .get(segment.name())
                .map_or(0.0, |row| row.relative_error)
        };
        let gain = (1.0 - error(&after) / error(&before).max(f64::MIN_POSITIVE)).clamp(-99.0, 1.0);
        let kept = gain > 0.0;
        if !kept {
            built.layout.set_importance(|_| None);
        }
        let record = Calibration {
            pairs: seen.len(),
            gain: (gain * 1e4).round() / 1e4,
            kept,
        };
        found.insert(segment, record);
    }
    Ok(found)
}
