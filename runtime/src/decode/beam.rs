//! Beam search as Hugging Face 4.33 defines it: length penalty 1, early stopping
//! off, the repetition penalty applied to log-probabilities.

use std::time::Instant;

use super::{Decoded, Job, apply_repetition_penalty, log_softmax, sequences::Sequences};
use crate::budget::Budget;
use crate::bundle::Bundle;
use crate::engine::Engine;
use crate::error::Error;
use crate::timing::Timing;
use crate::timing::timed;
use deltavlm_bundle::Generation;

/// What beams other than the first start with, so that they do not all begin alike.
const NEVER: f32 = -1e9;
/// The start id is part of every sequence and of its length, though not of
/// [`Beam::ids`].
const START: usize = 1;

/// Decodes one prompt with several beams.
#[allow(clippy::too_many_arguments)]
pub(crate) fn beam_search(
    engine: &mut dyn Engine,
    bundle: &Bundle,
    job: &Job<'_>,
    beams: usize,
    budget: &Budget,
    started: Instant,
    timing: &mut Timing,
) -> Result<Decoded, Error> {
    let vocabulary = bundle.manifest.model.llm.vocab_size;
    let mut search = Search::new(beams, &bundle.manifest.generation);

    budget.check(started, "reading the prompt")?;
    let mut sequences = Sequences::start(engine, 1, bundle.embedding.width(), vocabulary)?;
    let first = timed(&mut timing.prefill, || {
        sequences.forward(&[job.prompt.as_slice()])
    })?;
    let mut logits = first.repeat(beams);
    timed(&mut timing.decode, || {
        sequences.reorder_cache(&vec![0; beams])
    })?;

    loop {
        let kept = search.advance(&logits);
        if search.done || search.length() >= job.max_tokens {
            break;
        }
        budget.check(started, "writing the answer")?;
        timed(&mut timing.decode, || sequences.reorder_cache(&kept))?;
        let rows: Vec<Vec<f32>> = search
            .beams
            .iter()
            .map(|beam| row(bundle, beam.ids[beam.ids.len() - 1]))
            .collect();
        let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        logits = timed(&mut timing.decode, || sequences.forward(&rows))?;
    }

    let best = search.finish();
    let mean = best.score.exp() as f32;
    let choice = |surface| super::Choice {
        surface,
        probability: mean,
        alternatives: Vec::new(),
    };
    let surface = |&id: &u32| bundle.sentencepiece.surface(id).unwrap_or_default();
    let mut choices: Vec<_> = best.ids.iter().map(surface).map(choice).collect();
    if best.complete {
        choices.push(choice(Vec::new()));
    }
    Ok(Decoded::new(
        bundle,
        best.ids,
        choices,
        best.complete,
        false,
    ))
}

fn row(bundle: &Bundle, id: u32) -> Vec<f32> {
    let mut row = Vec::new();
    bundle.embedding.append(id, &mut row);
    row
}

/// The search itself, apart from any model.
struct Search<'a> {
    beams: Vec<Beam>,
    hypotheses: Vec<Hypothesis>,
    worst: f64,
    done: bool,
    generation: &'a Generation,
}

#[derive(Debug, Clone)]
struct Beam {
    ids: Vec<u32>,
    score: f32,
}

/// An ended sequence; the ending token is not among its ids.
#[derive(Debug, Clone)]
struct Hypothesis {
    ids: Vec<u32>,
    /// Sum of log-probabilities over length.
    score: f64,
    complete: bool,
}

impl<'a> Search<'a> {
    fn new(beams: usize, generation: &'a Generation) -> Self {
        let beam = |index| Beam {
            ids: Vec::new(),
            score: if index == 0 { 0.0 } else { NEVER },
        };
        Self {
            beams: (0..beams).map(beam).collect(),
            hypotheses: Vec::new(),
            worst: 1e9,
            done: false,
            generation,
        }
    }

    fn length(&self) -> usize {
        self.beams[0].ids.len()
    }

    /// Takes the logits of every beam; returns which beam each new one continues.
    fn advance(&mut self, logits: &[f32]) -> Vec<usize> {
        let width = self.beams.len();
        let vocabulary = logits.len() / width;
        let mut candidates: Vec<(f32, usize)> = Vec::with_capacity(logits.len());
        for (index, (beam, logits)) in self
            .beams
            .iter()
            .zip(logits.chunks_exact(vocabulary))
            .enumerate()
        {
            let mut scores = log_softmax(logits);
            apply_repetition_penalty(&mut scores, &beam.ids, self.generation);
            candidates.extend(
                scores
                    .iter()
                    .enumerate()
                    .map(|(id, score)| (score + beam.score, index * vocabulary + id)),
            );
        }
        // Two per beam, so that one remains where the other ends.
        let count = (2 * width).min(candidates.len());
        let by_score = |a: &(f32, usize), b: &(f32, usize)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        if count < candidates.len() {
            candidates.select_nth_unstable_by(count - 1, by_score);
            candidates.truncate(count);
        }
        candidates.sort_unstable_by(by_score);

        let mut next = Vec::with_capacity(width);
        let mut kept = Vec::with_capacity(width);
        let length = self.length() + START + 1;
        for (rank, &(score, at)) in candidates.iter().enumerate() {
            let (beam, id) = (at / vocabulary, (at % vocabulary) as u32);
            if id == self.generation.eos_id {
                if rank < width {
                    let ids = self.beams[beam].ids.clone();
                    self.end(ids, score, true);
                }
                continue;
            }
            let mut ids = self.beams[beam].ids.clone();
            ids.push(id);
            next.push(Beam { ids, score });
            kept.push(beam);
            if next.len() == width {
                break;
            }
        }
        self.beams = next;
        let attainable = f64::from(candidates[0].0) / length as f64;
        self.done |= self.hypotheses.len() >= width && self.worst >= attainable;
        kept
    }

    /// Adds a hypothesis if it is among the best.
    fn end(&mut self, ids: Vec<u32>, score: f32, complete: bool) {
        let width = self.beams.len();
        let score = f64::from(score) / (ids.len() + START) as f64;
        if self.hypotheses.len() >= width && score <= self.worst {
            return;
        }
        self.hypotheses.push(Hypothesis {
            ids,
            score,
            complete,
        });
        if self.hypotheses.len() > width {
            let worst = self.lowest();
            self.hypotheses.remove(worst);
            self.worst = self.hypotheses[self.lowest()].score;
        } else {
            self.worst = self.worst.min(score);
        }
    }

    fn lowest(&self) -> usize {
        let mut lowest = 0;
        for (index, hypothesis) in self.hypotheses.iter().enumerate() {
            if hypothesis.score < self.hypotheses[lowest].score {
                lowest = index;
            }
        }
        lowest
    }

    fn finish(mut self) -> Hypothesis {
        if !self.done {
            for beam in self.beams.clone() {
                self.end(beam.ids, beam.score, false);
            }
        }
        // Of equals the last one, as a stable ascending sort and a pop give it.
        let best = self
            .hypotheses
            .iter()
            .enumerate()
            .max_by(|a, b| a.1.score.total_cmp(&b.1.score).then(a.0.cmp(&b.0)))
            .map_or(0, |(index, _)| index);
        self.hypotheses.swap_remove(best)
    }
}
