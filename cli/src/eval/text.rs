//! BLEU, ROUGE-L and CIDEr-D as the COCO caption evaluation computes them.

use std::collections::BTreeMap;

use serde::Serialize;

/// Longest n-gram.
const N: usize = 4;

/// Scores over a corpus.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[allow(missing_docs)]
pub struct TextScores {
    pub bleu1: f64,
    pub bleu2: f64,
    pub bleu3: f64,
    pub bleu4: f64,
    pub rouge_l: f64,
    pub cider_d: f64,
}

/// Tokens that the customary evaluation leaves out.
const PUNCTUATION: [&str; 14] = [
    "''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";", "\"",
];

/// Splits a sentence into lower-case words as the Penn Treebank tokenizer does for
/// plain sentences: punctuation apart and left out, brackets apart and spelled out,
/// possessives and contractions split, hyphenated words whole.
pub fn tokenize(sentence: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    for word in sentence.to_lowercase().split_whitespace() {
        split(word, &mut tokens);
    }
    tokens.retain(|token| !PUNCTUATION.contains(&token.as_str()));
    tokens
}

fn split(word: &str, tokens: &mut Vec<String>) {
    let is_edge = |c: char| ".,!?:;\"`()[]{}".contains(c);
    let core = word.trim_matches(is_edge);
    let start = word.len() - word.trim_start_matches(is_edge).len();
    brackets(&word[..start], tokens);
    if core
        .chars()
        .all(|c| c.is_ascii_digit() || matches!(c, ',' | '.'))
    {
        tokens.push(core.to_owned());
    } else {
        for part in core.split([',', '?', '!', ';', '"']) {
            contraction(part, tokens);
        }
    }
    brackets(word.get(start + core.len()..).unwrap_or_default(), tokens);
    tokens.retain(|token| !token.is_empty());
}

/// Brackets are words of their own; other punctuation at an edge is left out.
fn brackets(edge: &str, tokens: &mut Vec<String>) {
    let name = |c| match c {
        '(' => Some("-lrb-"),
        ')' => Some("-rrb-"),
        '[' => Some("-lsb-"),
        ']' => Some("-rsb-"),
        '{' => Some("-lcb-"),
        '}' => Some("-rcb-"),
        _ => None,
    };
    tokens.extend(edge.chars().filter_map(name).map(str::to_owned));
}

fn contraction(word: &str, tokens: &mut Vec<String>) {
    let bare = word.trim_matches('\'');
    for ending in ["n't", "'s", "'re", "'ve", "'ll", "'d", "'m"] {
        if let Some(stem) = bare.strip_suffix(ending).filter(|stem| !stem.is_empty()) {
            tokens.push(stem.to_owned());
            tokens.push(ending.to_owned());
            return;
        }
    }
    if bare == "cannot" {
        tokens.extend(["can".to_owned(), "not".to_owned()]);
    } else {
        tokens.push(bare.to_owned());
    }
}

/// Scores of answers, each against its references, over the whole corpus.
pub fn text_scores(pairs: &[(String, Vec<String>)]) -> TextScores {
    let corpus: Vec<Sentence> = pairs
        .iter()
        .map(|(said, references)| Sentence {
            said: tokenize(said),
            references: references
                .iter()
                .map(|reference| tokenize(reference))
                .collect(),
        })
        .collect();
    let [bleu1, bleu2, bleu3, bleu4] = bleu(&corpus);
    TextScores {
        bleu1,
        bleu2,
        bleu3,
        bleu4,
        rouge_l: corpus.iter().map(rouge_l).sum::<f64>() / corpus.len().max(1) as f64,
        cider_d: cider_d(&corpus),
    }
}

struct Sentence {
    said: Vec<String>,
    references: Vec<Vec<String>>,
}

/// Ordered, so that sums come out the same to the last bit at every run.
type Counts<'a> = BTreeMap<&'a [String], f64>;

/// N-grams of all lengths with their numbers.
fn counts(tokens: &[String]) -> Counts<'_> {
    let mut counts = BTreeMap::new();
    for n in 1..=N {
        for gram in tokens.windows(n) {
            *counts.entry(gram).or_insert(0.0) += 1.0;
        }
    }
    counts
}

/// Corpus BLEU with the closest reference length.
fn bleu(corpus: &[Sentence]) -> [f64; N] {
    const SMALL: f64 = 1e-9;
    const TINY: f64 = 1e-15;
    let (mut said_length, mut reference_length) = (0.0, 0.0);
    let mut guesses = [0.0; N];
    let mut correct = [0.0; N];
    for sentence in corpus {
        let length = sentence.said.len();
        said_length += length as f64;
        let closest = sentence
            .references
            .iter()
            .map(Vec::len)
            .min_by_key(|&l| (l.abs_diff(length), l));
        reference_length += closest.unwrap_or(0) as f64;
        let references: Vec<Counts<'_>> = sentence.references.iter().map(|r| counts(r)).collect();
        for (gram, count) in counts(&sentence.said) {
            let most = references
                .iter()
                .filter_map(|r| r.get(gram))
                .copied()
                .fold(0.0, f64::max);
            correct[gram.len() - 1] += count.min(most);
        }
        for (n, guesses) in guesses.iter_mut().enumerate() {
            *guesses += (length + 1).saturating_sub(n + 1) as f64;
        }
    }
    let ratio = (said_length + TINY) / (reference_length + SMALL);
    let brevity = if ratio < 1.0 {
        (1.0 - 1.0 / ratio).exp()
    } else {
        1.0
    };
    let mut product = 1.0;
    std::array::from_fn(|n| {
        product *= (correct[n] + TINY) / (guesses[n] + SMALL);
        product.powf(1.0 / (n as f64 + 1.0)) * brevity
    })
}

/// F-measure of the longest common subsequence, recall weighing 1.2 times as much.
fn rouge_l(sentence: &Sentence) -> f64 {
    const BETA: f64 = 1.2;
    let (mut precision, mut recall) = (0.0f64, 0.0f64);
    for reference in &sentence.references {
        let common = common_subsequence(&sentence.said, reference) as f64;
        precision = precision.max(common / sentence.said.len().max(1) as f64);
        recall = recall.max(common / reference.len().max(1) as f64);
    }
    if precision == 0.0 || recall == 0.0 {
        return 0.0;
    }
    (1.0 + BETA * BETA) * precision * recall / (recall + BETA * BETA * precision)
}

fn common_subsequence(one: &[String], other: &[String]) -> usize {
    let mut previous = vec![0; other.len() + 1];
    for a in one {
        let mut row = vec![0; other.len() + 1];
        for (j, b) in other.iter().enumerate() {
            row[j + 1] = if a == b {
                previous[j] + 1
            } else {
                previous[j + 1].max(row[j])
            };
        }
        previous = row;
    }
    previous[other.len()]
}

/// A sentence as weights by n-gram.
struct Vector<'a> {
    weights: [BTreeMap<&'a [String], f64>; N],
    norms: [f64; N],
    /// Number of bigrams, which the length penalty compares.
    length: f64,
}

fn cider_d(corpus: &[Sentence]) -> f64 {
    let mut documents: BTreeMap<&[String], f64> = BTreeMap::new();
    for sentence in corpus {
        let mut seen: Vec<&[String]> = sentence
            .references
            .iter()
            .flat_map(|r| counts(r).into_keys())
            .collect();
        seen.sort_unstable();
        seen.dedup();
        for gram in seen {
            *documents.entry(gram).or_insert(0.0) += 1.0;
        }
    }
    let log_corpus = (corpus.len() as f64).ln();
    let vector = |tokens| vector(tokens, &documents, log_corpus);
    let scores = corpus.iter().map(|sentence| {
        let said = vector(&sentence.said);
        let sum: f64 = sentence
            .references
            .iter()
            .map(|reference| similarity(&said, &vector(reference)))
            .sum();
        10.0 * sum / sentence.references.len().max(1) as f64
    });
    scores.sum::<f64>() / corpus.len().max(1) as f64
}

fn vector<'a>(
    tokens: &'a [String],
    documents: &BTreeMap<&[String], f64>,
    log_corpus: f64,
) -> Vector<'a> {
    let mut vector = Vector {
        weights: Default::default(),
        norms: [0.0; N],
        length: 0.0,
    };
    for (gram, count) in counts(tokens) {
        let frequency = documents.get(gram).copied().unwrap_or(0.0).max(1.0).ln();
        let n = gram.len() - 1;
        let weight = count * (log_corpus - frequency);
        vector.norms[n] += weight * weight;
        vector.weights[n].insert(gram, weight);
        if n == 1 {
            vector.length += count;
        }
    }
    vector.norms = vector.norms.map(f64::sqrt);
    vector
}

/// Mean over n of the clipped cosine, damped by the difference in length.
fn similarity(said: &Vector<'_>, reference: &Vector<'_>) -> f64 {
    const SIGMA: f64 = 6.0;
    let delta = said.length - reference.length;
    let damping = (-(delta * delta) / (2.0 * SIGMA * SIGMA)).exp();
    let mut sum = 0.0;
    for n in 0..N {
        let mut value: f64 = said.weights[n]
            .iter()
            .filter_map(|(gram, weight)| {
                let other = reference.weights[n].get(gram)?;
                Some(weight.min(*other) * other)
            })
            .sum();
        if said.norms[n] != 0.0 && reference.norms[n] != 0.0 {
            value /= said.norms[n] * reference.norms[n];
        }
        sum += value * damping;
    }
    sum / N as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Golden {
        corpora: Vec<Corpus>,
        tokens: Vec<(String, String)>,
    }

    #[derive(Deserialize)]
    struct Corpus {
        pairs: Vec<(String, Vec<String>)>,
        bleu: [f64; 4],
        rouge_l: f64,
        cider_d: f64,
    }

    fn golden() -> Golden {
        serde_json::from_str(include_str!("../../tests/golden/captions.json")).unwrap()
    }

    /// Against pycocoevalcap; see `tests/golden/make_metrics_golden.py`.
    #[test]
    fn scores_equal_the_customary_ones() {
        for corpus in golden().corpora {
            let found = text_scores(&corpus.pairs);
            let pairs = [
                (found.bleu1, corpus.bleu[0]),
                (found.bleu2, corpus.bleu[1]),
                (found.bleu3, corpus.bleu[2]),
                (found.bleu4, corpus.bleu[3]),
                (found.rouge_l, corpus.rouge_l),
                (found.cider_d, corpus.cider_d),
            ];
            for (found, expected) in pairs {
                assert!(
                    (found - expected).abs() < 1e-4,
                    "{found} instead of {expected}"
                );
            }
        }
    }

    #[test]
    fn scores_are_the_same_at_every_run() {
        for corpus in golden().corpora {
            let first = text_scores(&corpus.pairs);
            assert!((0..20).all(|_| text_scores(&corpus.pairs) == first));
        }
    }

    #[test]
    fn sentences_are_split_as_by_the_treebank_tokenizer() {
        for (sentence, expected) in golden().tokens {
            assert_eq!(tokenize(&sentence).join(" "), expected, "{sentence}");
        }
    }
}
