//! From outcomes to the numbers of the paper.

use std::collections::BTreeMap;

use deltavlm_runtime::CellSet;
use serde::Serialize;

use super::annotations::Task;
use super::classify::{Classification, classification};
use super::facts::CaptionFacts;
use super::outcome::{Outcome, flags};
use super::ratio::{harmonic, ratio};
use super::text::{TextScores, text_scores};

/// Every metric of a run. Fractions lie in 0..1 except CIDEr-D, which is 0..10 as
/// its authors define it. A task without annotations is absent.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Report {
    /// Answers.
    pub n: usize,
    /// Answers to fixed instructions that do not parse.
    pub unparsed: usize,
    /// Has anything changed?
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classify: Option<Classification>,
    /// How many?
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<Counting>,
    /// Where?
    #[serde(skip_serializing_if = "Option::is_none")]
    pub localize: Option<Localisation>,
    /// Captions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caption: Option<Texts>,
    /// Open questions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<Texts>,
    /// Dialogues, every turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialog: Option<Texts>,
}

/// Counts by class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Counting {
    pub n: usize,
    pub roads: Errors,
    pub buildings: Errors,
}

/// Mean absolute and root mean squared error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Errors {
    pub mae: f64,
    pub rmse: f64,
}

/// CellSet cells by class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Localisation {
    pub n: usize,
    pub roads: Sets,
    pub buildings: Sets,
}

/// Precision, recall and F1 over all cells; Jaccard as the mean over pairs, in which
/// two empty sets count 0 (as the paper's figures do); share of sets that are right
/// as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Sets {
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    pub jaccard: f64,
    pub subset_accuracy: f64,
}

/// Generated text against references.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Texts {
    /// Answers.
    pub n: usize,
    /// BLEU, ROUGE-L, CIDEr-D.
    #[serde(flatten)]
    pub scores: TextScores,
    /// Share that equals a reference word for word, after tokenization.
    pub exact: f64,
    /// The same by kind of question, where the annotations name kinds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub kinds: BTreeMap<String, Exact>,
    /// Facts that captions of changed pairs state, where the annotations know the truth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<StatedFacts>,
    /// Share of the captions of unchanged pairs that are true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unchanged_true: Option<f64>,
}

/// Answers that equal a reference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Exact {
    pub n: usize,
    pub exact: f64,
}

/// Facts in captions of changed pairs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StatedFacts {
    /// Captions.
    pub n: usize,
    /// Share of the stated facts that are true.
    pub facts_true_share: f64,
    /// Share of the captions of which every stated fact is true.
    pub all_facts_true: f64,
}

/// Scores a run.
pub fn score(outcomes: &[Outcome]) -> Report {
    let of = |task| {
        outcomes
            .iter()
            .filter(move |outcome| outcome.is(task))
            .collect::<Vec<_>>()
    };
    Report {
        n: outcomes.len(),
        unparsed: outcomes.iter().filter(|outcome| !outcome.parsed).count(),
        classify: classification(&of(Task::Classify)),
        count: counting(&of(Task::Count)),
        localize: localisation(&of(Task::Localize)),
        caption: texts(&of(Task::Caption)),
        question: texts(&of(Task::Question)),
        dialog: texts(&of(Task::Dialog)),
    }
}

fn counting(outcomes: &[&Outcome]) -> Option<Counting> {
    let pairs: Vec<([u32; 2], [u32; 2])> = outcomes
        .iter()
        .filter_map(|outcome| outcome.counts())
        .collect();
    if pairs.is_empty() {
        return None;
    }
    let errors = |class: usize| {
        let differences = pairs
            .iter()
            .map(|(said, truth)| f64::from(said[class]) - f64::from(truth[class]));
        let (absolute, squared) =
            differences.fold((0.0, 0.0), |(a, s), d| (a + d.abs(), s + d * d));
        Errors {
            mae: absolute / pairs.len() as f64,
            rmse: (squared / pairs.len() as f64).sqrt(),
        }
    };
    Some(Counting {
        n: pairs.len(),
        roads: errors(0),
        buildings: errors(1),
    })
}

fn localisation(outcomes: &[&Outcome]) -> Option<Localisation> {
    let pairs: Vec<([CellSet; 2], [CellSet; 2])> = outcomes
        .iter()
        .filter_map(|outcome| outcome.grids())
        .collect();
    if pairs.is_empty() {
        return None;
    }
    let class = |class: usize| {
        sets(
            &pairs
                .iter()
                .map(|(said, truth)| (said[class], truth[class]))
                .collect::<Vec<_>>(),
        )
    };
    Some(Localisation {
        n: pairs.len(),
        roads: class(0),
        buildings: class(1),
    })
}

fn sets(pairs: &[(CellSet, CellSet)]) -> Sets {
    let (mut hits, mut said_cells, mut true_cells, mut whole, mut jaccard) = (0, 0, 0, 0, 0.0);
    for &(said, truth) in pairs {
        let cells = flags(said).into_iter().zip(flags(truth));
        let both = cells.filter(|&(said, truth)| said && truth).count();
        let (said_count, true_count) = (said.cells().count(), truth.cells().count());
        hits += both;
        said_cells += said_count;
        true_cells += true_count;
        whole += usize::from(said == truth);
        jaccard += ratio(both, said_count + true_count - both);
    }
    let (precision, recall) = (ratio(hits, said_cells), ratio(hits, true_cells));
    Sets {
        precision,
        recall,
        f1: harmonic(precision, recall),
        jaccard: jaccard / pairs.len() as f64,
        subset_accuracy: ratio(whole, pairs.len()),
    }
}

fn texts(outcomes: &[&Outcome]) -> Option<Texts> {
    let pairs: Vec<(String, Vec<String>)> = outcomes
        .iter()
        .map(|outcome| (outcome.text.clone(), outcome.references.clone()))
        .collect();
    if pairs.is_empty() {
        return None;
    }
    let right: Vec<bool> = pairs
        .iter()
        .map(|(said, references)| {
            let said = super::tokenize(said);
            references
                .iter()
                .any(|reference| super::tokenize(reference) == said)
        })
        .collect();
    let share = |right: &[bool]| ratio(right.iter().filter(|&&right| right).count(), right.len());
    let mut kinds: BTreeMap<String, Vec<bool>> = BTreeMap::new();
    for (outcome, right) in outcomes.iter().zip(&right) {
        if let Some(kind) = &outcome.kind {
            kinds.entry(kind.clone()).or_default().push(*right);
        }
    }
    let stated = |changed: bool| -> Vec<&CaptionFacts> {
        let stated = outcomes
            .iter()
            .filter_map(|outcome| outcome.stated.as_ref());
        stated.filter(|stated| stated.changed == changed).collect()
    };
    let all_true = |stated: &[&CaptionFacts]| {
        ratio(
            stated.iter().filter(|stated| stated.all_true()).count(),
            stated.len(),
        )
    };
    let (changed, unchanged) = (stated(true), stated(false));
    Some(Texts {
        n: pairs.len(),
        scores: text_scores(&pairs),
        exact: share(&right),
        kinds: kinds
            .into_iter()
            .map(|(kind, right)| {
                let exact = Exact {
                    n: right.len(),
                    exact: share(&right),
                };
                (kind, exact)
            })
            .collect(),
        changed: (!changed.is_empty()).then(|| {
            let facts: Vec<bool> = changed
                .iter()
                .flat_map(|stated| stated.facts.iter().map(|(_, is_true)| *is_true))
                .collect();
            StatedFacts {
                n: changed.len(),
                facts_true_share: share(&facts),
                all_facts_true: all_true(&changed),
            }
        }),
        unchanged_true: (!unchanged.is_empty()).then(|| all_true(&unchanged)),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Alarms;
    use super::*;
    use serde::Deserialize;

    fn outcome(task: Task, text: &str, reference: &str, confidence: f32) -> Outcome {
        Outcome {
            task: task.name().to_owned(),
            id: "x".to_owned(),
            turn: 0,
            image: Default::default(),
            question: String::new(),
            text: text.to_owned(),
            references: vec![reference.to_owned()],
            confidence,
            parsed: true,
            ms: 0.0,
            model: String::new(),
            decoding: String::new(),
            category: None,
            kind: None,
            stated: None,
        }
    }

    #[derive(Deserialize)]
    struct Golden {
        answers: Vec<(String, String, String, f32)>,
        classify: std::collections::BTreeMap<String, f64>,
        count: std::collections::BTreeMap<String, Vec<f64>>,
        localize: std::collections::BTreeMap<String, Vec<f64>>,
    }

    /// Against scikit-learn; see `tests/golden/make_metrics_golden.py`.
    #[test]
    fn metrics_equal_the_customary_ones() {
        let golden: Golden =
            serde_json::from_str(include_str!("../../tests/golden/metrics.json")).unwrap();
        let outcomes: Vec<Outcome> = golden
            .answers
            .iter()
            .map(|(task, text, reference, confidence)| {
                outcome(Task::from_name(task).unwrap(), text, reference, *confidence)
            })
            .collect();
        let report = score(&outcomes);
        let near = |found: f64, expected: f64, name: &str| {
            assert!(
                (found - expected).abs() < 1e-4,
                "{name}: {found} instead of {expected}"
            );
        };
        let found = report.classify.unwrap();
        for (name, found) in [
            ("accuracy", found.accuracy),
            ("precision", found.precision),
            ("recall", found.recall),
            ("f1", found.f1),
            ("ece", found.ece),
        ] {
            near(found, golden.classify[name], name);
        }
        let found = report.count.unwrap();
        for (class, errors) in [("roads", found.roads), ("buildings", found.buildings)] {
            near(errors.mae, golden.count[class][0], class);
            near(errors.rmse, golden.count[class][1], class);
        }
        let found = report.localize.unwrap();
        for (class, sets) in [("roads", found.roads), ("buildings", found.buildings)] {
            let numbers = [
                sets.precision,
                sets.recall,
                sets.f1,
                sets.jaccard,
                sets.subset_accuracy,
            ];
            for (found, expected) in numbers.into_iter().zip(&golden.localize[class]) {
                near(found, *expected, class);
            }
        }
    }

    #[test]
    fn what_annotations_say_more_is_scored_apart() {
        let unchanged = |category: &str, said: &str, confidence| Outcome {
            category: Some(category.to_owned()),
            ..outcome(Task::Classify, said, "no", confidence)
        };
        let asked = |kind: &str, said: &str| Outcome {
            kind: Some(kind.to_owned()),
            ..outcome(Task::Question, said, "yes", 1.0)
        };
        let caption = |changed, facts: &[bool]| Outcome {
            stated: Some(CaptionFacts {
                changed,
                facts: facts
                    .iter()
                    .map(|is_true| (String::new(), *is_true))
                    .collect(),
            }),
            ..outcome(Task::Caption, "a", "b", 1.0)
        };
        let report = score(&[
            unchanged("season", "yes", 0.6),
            unchanged("season", "no", 0.6),
            unchanged("identical", "no", 0.8),
            outcome(Task::Classify, "yes", "yes", 0.97),
            outcome(Task::Classify, "no", "yes", 0.55),
            asked("roads", "yes"),
            asked("roads", "no"),
            asked("trees", "yes"),
            caption(true, &[true, true, false]),
            caption(true, &[true]),
            caption(false, &[true]),
        ]);
        let classify = report.classify.unwrap();
        let alarms = |n, alarms, rate| Alarms { n, alarms, rate };
        assert_eq!(classify.false_alarms["season"], alarms(2, 1, 0.5));
        assert_eq!(classify.false_alarms["identical"], alarms(1, 0, 0.0));
        let at = |name: &str| {
            (
                classify.thresholds[name].precision,
                classify.thresholds[name].recall,
            )
        };
        // Above 0.3 lie yes 0.6, no 0.6 and no 0.55, yes 0.97: two of the four are changed.
        assert_eq!(at("0.3"), (0.5, 1.0));
        assert_eq!(at("0.5"), (0.5, 0.5));
        assert_eq!(at("0.95"), (1.0, 0.5));
        assert_eq!(at("0.99"), (0.0, 0.0));
        let question = report.question.unwrap();
        assert_eq!(
            (question.kinds["roads"].n, question.kinds["roads"].exact),
            (2, 0.5)
        );
        let caption = report.caption.unwrap();
        let stated = caption.changed.unwrap();
        assert_eq!(
            (stated.n, stated.facts_true_share, stated.all_facts_true),
            (2, 0.75, 0.5)
        );
        assert_eq!(caption.unchanged_true, Some(1.0));
    }

    #[test]
    fn an_unparsed_answer_is_counted_and_wrong() {
        let mut bad = outcome(Task::Classify, "maybe", "yes", 0.9);
        bad.parsed = false;
        let report = score(&[bad, outcome(Task::Classify, "yes", "yes", 0.9)]);
        assert_eq!(report.unparsed, 1);
        let classify = report.classify.unwrap();
        assert_eq!((classify.accuracy, classify.recall), (0.5, 0.5));
        assert!(report.count.is_none());
    }
}
