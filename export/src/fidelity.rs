//! What quantisation costs, measured: every segment on its own and all together.

use std::collections::BTreeMap;

use deltavlm_bundle::{Fidelity, InstructionRecord, Segment};

use crate::Result;
use crate::array::Array;
use crate::graph;
use crate::interpret::{Interpreter, Statistics, Weights, table_rows};
use crate::network::Network;
use crate::sample_images::Pair;
use crate::weights_layout::WeightsLayout;

/// A score that hides a position.
const HIDDEN: f32 = -1e9;

/// The built segments with what is needed to run them.
pub struct Measured<'a> {
    /// The dimensions.
    pub network: &'a Network,
    /// The segments.
    pub segments: &'a BTreeMap<Segment, graph::SegmentGraph>,
    /// The token table.
    pub embedding: &'a WeightsLayout,
    /// Worker threads.
    pub threads: usize,
}

/// What the exact weights give for one pair and one instruction.
pub struct Exact {
    features: [Vec<f32>; 2],
    difference: Vec<f32>,
    mask: Vec<f32>,
    queries: Vec<f32>,
    logits: Vec<f32>,
}

impl Measured<'_> {
    /// Agreement with the exact weights: by segment, each given exact inputs, and
    /// end to end. Only weights differ here; what an engine adds by rounding
    /// activations, `verify` shows.
    ///
    /// # Errors
    /// When a weight cannot be read.
    pub fn fidelity(
        &self,
        exact: &Exact,
        pair: &Pair,
        instruction: &InstructionRecord,
    ) -> Result<BTreeMap<String, Fidelity>> {
        let stored = Weights::Stored;
        let features = self.features(pair, stored, None)?;
        let difference = self.difference(&exact.features, stored, None)?;
        let queries = self.queries(&exact.difference, instruction, stored, None)?;
        let chained = self.difference(&features, stored, None)?;
        let chained = self.queries(&chained, instruction, stored, None)?;
        // The language model is most of the work: both sets of queries go through it at once.
        let both = self.logits(
            &[exact.queries.as_slice(), &chained],
            instruction,
            stored,
            None,
        )?;
        let (logits, chained) = both.split_at(both.len() / 2);
        let vocabulary = self.network.model.llm.vocab_size;
        let mut table = BTreeMap::new();
        let mut add = |name: &str, found: &[f32], exact: &[f32], agreement: Option<f64>| {
            table.insert(name.to_owned(), compare(found, exact, agreement));
        };
        add("vision", &features.concat(), &exact.features.concat(), None);
        add("difference", &difference, &exact.difference, None);
        add("qformer", &queries, &exact.queries, None);
        add("decoder", logits, &exact.logits, None);
        if !exact.mask.is_empty() {
            let mask = self.mask(&exact.features, stored)?;
            add("mask", &mask, &exact.mask, None);
        }
        add(
            "end_to_end",
            chained,
            &exact.logits,
            Some(agreement(chained, &exact.logits, vocabulary)),
        );
        Ok(table)
    }

    /// What enters every linear map, over pairs and instructions.
    ///
    /// # Errors
    /// When a weight cannot be read.
    pub fn statistics(
        &self,
        pairs: &[Pair],
        instructions: &[InstructionRecord],
    ) -> Result<Statistics> {
        let mut found = Statistics::default();
        for pair in pairs {
            let features = self.features(pair, Weights::Exact, Some(&mut found))?;
            let difference = self.difference(&features, Weights::Exact, Some(&mut found))?;
            for instruction in instructions {
                let queries =
                    self.queries(&difference, instruction, Weights::Exact, Some(&mut found))?;
                self.logits(&[&queries], instruction, Weights::Exact, Some(&mut found))?;
            }
        }
        Ok(found)
    }

    /// The outputs of the exact weights.
    ///
    /// # Errors
    /// When a weight cannot be read.
    pub fn exact(&self, pair: &Pair, instruction: &InstructionRecord) -> Result<Exact> {
        let weights = Weights::Exact;
        let features = self.features(pair, weights, None)?;
        let difference = self.difference(&features, weights, None)?;
        let mask = self.mask(&features, weights)?;
        let queries = self.queries(&difference, instruction, weights, None)?;
        let logits = self.logits(&[&queries], instruction, weights, None)?;
        Ok(Exact {
            features,
            difference,
            mask,
            queries,
            logits,
        })
    }

    fn run(
        &self,
        segment: Segment,
        inputs: Vec<(&str, Array)>,
        output: &str,
        weights: Weights,
        statistics: Option<&mut Statistics>,
    ) -> Result<Vec<f32>> {
        let mut interpreter = Interpreter::new(&self.segments[&segment], self.threads);
        interpreter.all_positions = true;
        let mut outputs = interpreter.run(inputs, weights, statistics)?;
        let found = outputs
            .remove(output)
            .expect("a segment has its documented output");
        Ok(found.floats().to_vec())
    }

    fn features(
        &self,
        pair: &Pair,
        weights: Weights,
        mut statistics: Option<&mut Statistics>,
    ) -> Result<[Vec<f32>; 2]> {
        let size = self.network.model.vision.image_size;
        let mut one = |picture: &[f32]| {
            let image = Array::f32(&[1, 3, size, size], picture.to_vec());
            self.run(
                Segment::Vision,
                vec![("image", image)],
                "features",
                weights,
                statistics.as_deref_mut(),
            )
        };
        Ok([one(&pair[0])?, one(&pair[1])?])
    }

    fn difference(
        &self,
        features: &[Vec<f32>; 2],
        weights: Weights,
        statistics: Option<&mut Statistics>,
    ) -> Result<Vec<f32>> {
        self.run(
            Segment::Difference,
            self.dates(features),
            "difference",
            weights,
            statistics,
        )
    }

    fn dates(&self, features: &[Vec<f32>; 2]) -> Vec<(&'static str, Array)> {
        let vision = &self.network.model.vision;
        let shape = [1, vision.tokens, vision.width];
        let [before, after] = features.each_ref().map(|f| Array::f32(&shape, f.clone()));
        vec![("before", before), ("after", after)]
    }

    /// The mask, or nothing where there is no mask branch. Its few linear maps are
    /// not calibrated.
    fn mask(&self, features: &[Vec<f32>; 2], weights: Weights) -> Result<Vec<f32>> {
        if !self.segments.contains_key(&Segment::Mask) {
            return Ok(Vec::new());
        }
        let inputs = self.dates(features);
        self.run(Segment::Mask, inputs, "change", weights, None)
    }

    fn queries(
        &self,
        difference: &[f32],
        instruction: &InstructionRecord,
        weights: Weights,
        statistics: Option<&mut Statistics>,
    ) -> Result<Vec<f32>> {
        let vision = &self.network.model.vision;
        let ids: Vec<i64> = instruction
            .qformer_ids
            .iter()
            .map(|&id| i64::from(id))
            .collect();
        let shape = [1, ids.len()];
        let inputs = vec![
            (
                "difference",
                Array::f32(&[1, 2 * vision.tokens, vision.width], difference.to_vec()),
            ),
            ("token_mask", Array::i64(&shape, vec![1; ids.len()])),
            ("token_ids", Array::i64(&shape, ids)),
        ];
        self.run(Segment::Qformer, inputs, "queries", weights, statistics)
    }

    /// Logits at every position of the prompt, one row each, for every set of queries.
    fn logits(
        &self,
        queries: &[&[f32]],
        instruction: &InstructionRecord,
        weights: Weights,
        statistics: Option<&mut Statistics>,
    ) -> Result<Vec<f32>> {
        let llm = &self.network.model.llm;
        let prompt = table_rows(self.embedding, &instruction.llm_ids, weights)?;
        let embeddings: Vec<f32> = queries
            .iter()
            .flat_map(|queries| [queries, prompt.as_slice()].concat())
            .collect();
        let batch = queries.len();
        let n = embeddings.len() / llm.width / batch;
        let bias: Vec<f32> = (0..n * n)
            .map(|at| if at % n > at / n { HIDDEN } else { 0.0 })
            .collect();
        let positions: Vec<i64> = (0..n as i64).collect();
        let mut inputs = vec![
            (
                "embeddings".to_owned(),
                Array::f32(&[batch, n, llm.width], embeddings),
            ),
            (
                "positions".to_owned(),
                Array::i64(&[batch, n], positions.repeat(batch)),
            ),
            (
                "attention_bias".to_owned(),
                Array::f32(&[batch, 1, n, n], bias.repeat(batch)),
            ),
        ];
        for i in 0..llm.layers {
            for kind in ["key", "value"] {
                let empty = Array::f32(&[batch, llm.kv_heads, 0, llm.head_dim], Vec::new());
                inputs.push((format!("past.{i}.{kind}"), empty));
            }
        }
        let inputs = inputs
            .iter()
            .map(|(name, array)| (name.as_str(), array.clone()))
            .collect();
        let logits = self.run(Segment::Decoder, inputs, "logits", weights, statistics)?;
        let text = instruction.llm_ids.len() * llm.vocab_size;
        Ok(logits
            .chunks_exact(n * llm.vocab_size)
            .flat_map(|rows| &rows[rows.len() - text..])
            .copied()
            .collect())
    }
}

/// Cosine similarity and relative error, rounded so that they do not change with
/// the last bits of a sum.
pub fn compare(found: &[f32], exact: &[f32], next_token_agreement: Option<f64>) -> Fidelity {
    let (mut product, mut norm, mut of_exact, mut off) = (0.0f64, 0.0f64, 0.0f64, 0.0f64);
    for (&a, &b) in found.iter().zip(exact) {
        let (a, b) = (f64::from(a), f64::from(b));
        product += a * b;
        norm += a * a;
        of_exact += b * b;
        off += (a - b) * (a - b);
    }
    let cosine = product / (norm * of_exact).sqrt().max(f64::MIN_POSITIVE);
    Fidelity {
        cosine: rounded(1.0 - significant(1.0 - cosine)),
        relative_error: significant((off / of_exact.max(f64::MIN_POSITIVE)).sqrt()),
        next_token_agreement: next_token_agreement.map(significant),
    }
}

fn agreement(found: &[f32], exact: &[f32], vocabulary: usize) -> f64 {
    let best = |row: &[f32]| {
        let mut best = 0;
        for (id, &value) in row.iter().enumerate() {
            if value > row[best] {
                best = id;
            }
        }
        best
    };
    let pairs = found
        .chunks_exact(vocabulary)
        .zip(exact.chunks_exact(vocabulary));
    let count = pairs.len().max(1);
    pairs
        .filter(|(found, exact)| best(found) == best(exact))
        .count() as f64
        / count as f64
}

/// Three significant digits.
fn significant(value: f64) -> f64 {
    if value.abs() < 1e-12 {
        0.0
    } else {
        format!("{value:.2e}").parse().unwrap_or(value)
    }
}

/// Without the digits that a subtraction leaves behind.
fn rounded(value: f64) -> f64 {
    format!("{value:.12}").parse().unwrap_or(value)
}
