//! How well yes and no are told apart, and what alerts by them would be worth.

use std::collections::BTreeMap;

use serde::Serialize;

use super::outcome::Outcome;
use super::ratio::{harmonic, ratio};

/// Yes/no, `yes` being the positive class.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Classification {
    pub n: usize,
    pub accuracy: f64,
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    /// Expected calibration error over ten bins of confidence.
    pub ece: f64,
    /// By category of unchanged pairs, where the annotations name categories.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub false_alarms: BTreeMap<String, Alarms>,
    /// What alerts would be worth, by the probability of `yes` above which one is sent.
    pub thresholds: BTreeMap<String, Threshold>,
}

/// How often an unchanged pair was called changed.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[allow(missing_docs)]
pub struct Alarms {
    pub n: usize,
    pub alarms: usize,
    pub rate: f64,
}

/// Precision and recall when `yes` must be more probable than a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Threshold {
    pub precision: f64,
    pub recall: f64,
}

pub(super) fn classification(outcomes: &[&Outcome]) -> Option<Classification> {
    const THRESHOLDS: [&str; 11] = [
        "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "0.95", "0.99",
    ];
    let judged: Vec<(Option<bool>, bool, f64)> = outcomes
        .iter()
        .filter_map(|outcome| {
            let (said, truth) = outcome.changed()?;
            Some((said, truth, f64::from(outcome.confidence)))
        })
        .collect();
    if judged.is_empty() {
        return None;
    }
    let count = |want: fn(Option<bool>, bool) -> bool| {
        judged.iter().filter(|(s, t, _)| want(*s, *t)).count()
    };
    let right = count(|said, truth| said == Some(truth));
    let hits = count(|said, truth| truth && said == Some(true));
    let said_yes = count(|said, _| said == Some(true));
    let true_yes = count(|_, truth| truth);
    let (precision, recall) = (ratio(hits, said_yes), ratio(hits, true_yes));
    Some(Classification {
        n: judged.len(),
        accuracy: ratio(right, judged.len()),
        precision,
        recall,
        f1: harmonic(precision, recall),
        ece: calibration(
            judged
                .iter()
                .map(|&(said, truth, confidence)| (confidence, said == Some(truth))),
        ),
        false_alarms: false_alarms(outcomes),
        thresholds: THRESHOLDS
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), above(&judged, name.parse().ok()?))))
            .collect(),
    })
}

fn false_alarms(outcomes: &[&Outcome]) -> BTreeMap<String, Alarms> {
    let mut categories: BTreeMap<String, Alarms> = BTreeMap::new();
    for outcome in outcomes {
        if let (Some(category), Some((said, false))) = (&outcome.category, outcome.changed()) {
            let entry = categories.entry(category.clone()).or_default();
            entry.n += 1;
            entry.alarms += usize::from(said == Some(true));
            entry.rate = ratio(entry.alarms, entry.n);
        }
    }
    categories
}

/// What is called changed when the probability of `yes` is above a threshold. An
/// unparsed answer is never above it.
fn above(judged: &[(Option<bool>, bool, f64)], threshold: f64) -> Threshold {
    let (mut said, mut real, mut hits) = (0, 0, 0);
    for &(answer, truth, confidence) in judged {
        let yes = match answer {
            Some(true) => confidence,
            Some(false) => 1.0 - confidence,
            None => 0.0,
        };
        let alert = yes > threshold;
        said += usize::from(alert);
        real += usize::from(truth);
        hits += usize::from(alert && truth);
    }
    Threshold {
        precision: ratio(hits, said),
        recall: ratio(hits, real),
    }
}

/// Difference between confidence and accuracy, averaged over ten bins by their size.
fn calibration(answers: impl Iterator<Item = (f64, bool)>) -> f64 {
    let mut bins = [(0usize, 0.0, 0usize); 10];
    let mut total = 0usize;
    for (confidence, right) in answers {
        // Bins are open on the left: 0.3 belongs to 0.2..0.3.
        let bin = ((confidence * 10.0).ceil() as usize).clamp(1, 10) - 1;
        bins[bin].0 += 1;
        bins[bin].1 += confidence;
        bins[bin].2 += usize::from(right);
        total += 1;
    }
    bins.iter()
        .filter(|(count, _, _)| *count > 0)
        .map(|(_, confidence, right)| (confidence - *right as f64).abs() / total as f64)
        .sum()
}
