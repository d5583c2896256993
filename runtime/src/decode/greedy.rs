//! Greedy decoding of several prompts at once, each within its grammar or freely.

use std::time::Instant;

use super::{
    Automaton, Choice, Decoded, apply_repetition_penalty, argmax, log_softmax, sequences::Sequences,
};
use crate::budget::Budget;
use crate::bundle::Bundle;
use crate::engine::Engine;
use crate::error::Error;
use crate::timing::Timing;
use crate::timing::timed;

/// One prompt to continue.
pub(crate) struct Job<'a> {
    /// Embeddings of queries and prompt, `[positions, width]`.
    pub(crate) prompt: Vec<f32>,
    pub(crate) policy: Policy<'a>,
    /// Sentences (ids with the ending one) whose probability is kept in free text, or
    /// that are ruled out.
    pub(crate) watched: &'a [Vec<u32>],
    /// Whether the watched sentences are ruled out: in free text all that begins like
    /// one of them, within a grammar what can only become one.
    pub(crate) ruled_out: bool,
    /// Generated tokens at most. For a grammar this is all that there are positions
    /// for: it ends by itself, and a cut answer would not parse.
    pub(crate) max_tokens: usize,
}

/// How tokens are chosen.
#[derive(Clone, Copy)]
pub(crate) enum Policy<'a> {
    /// The most probable token that the grammar allows.
    Grammar(&'a Automaton),
    /// The most probable token after the repetition penalty, as published.
    Free,
}

/// Decodes all jobs in one batch.
pub(crate) fn greedy_search(
    engine: &mut dyn Engine,
    bundle: &Bundle,
    jobs: &[Job<'_>],
    budget: &Budget,
    started: Instant,
    timing: &mut Timing,
) -> Result<Vec<Decoded>, Error> {
    let vocabulary = bundle.manifest.model.llm.vocab_size;
    let mut rows: Vec<SequenceState<'_>> = jobs
        .iter()
        .enumerate()
        .map(|(index, job)| SequenceState::new(index, job))
        .collect();
    let mut finished: Vec<Option<Decoded>> = vec![None; jobs.len()];

    budget.check(started, "reading the prompt")?;
    let prompts: Vec<Vec<f32>> = jobs
        .iter()
        .zip(&mut rows)
        .map(|(job, row)| {
            row.force_prefix(bundle);
            [job.prompt.as_slice(), &row.pending_embeddings(bundle)].concat()
        })
        .collect();
    let prompts: Vec<&[f32]> = prompts.iter().map(Vec::as_slice).collect();
    let mut sequences = Sequences::start(engine, jobs.len(), bundle.embedding.width(), vocabulary)?;
    let mut logits = timed(&mut timing.prefill, || sequences.forward(&prompts))?;

    loop {
        for (row, logits) in rows.iter_mut().zip(logits.chunks_exact(vocabulary)) {
            row.choose(bundle, logits);
        }
        let going: Vec<usize> = (0..rows.len()).filter(|&row| !rows[row].done).collect();
        if going.len() < rows.len() {
            let mut kept = Vec::with_capacity(going.len());
            for row in rows {
                if row.done {
                    let index = row.index;
                    finished[index] = Some(row.finish(bundle));
                } else {
                    kept.push(row);
                }
            }
            rows = kept;
            if rows.is_empty() {
                return Ok(finished.into_iter().flatten().collect());
            }
            timed(&mut timing.decode, || sequences.reorder_cache(&going))?;
        }
        budget.check(started, "writing the answer")?;
        logits = timed(&mut timing.decode, || {
            let chunks: Vec<Vec<f32>> = rows
                .iter_mut()
                .map(|row| row.pending_embeddings(bundle))
                .collect();
            let chunks: Vec<&[f32]> = chunks.iter().map(Vec::as_slice).collect();
            sequences.forward(&chunks)
        })?;
    }
}

struct SequenceState<'a> {
    index: usize,
    policy: Policy<'a>,
    watched: &'a [Vec<u32>],
    ruled_out: bool,
    max_tokens: usize,
    /// State of the automaton; unused in free decoding.
    state: usize,
    ids: Vec<u32>,
    choices: Vec<Choice>,
    /// How many of the ids the model has read.
    fed: usize,
    done: bool,
    complete: bool,
}

impl<'a> SequenceState<'a> {
    fn new(index: usize, job: &Job<'a>) -> Self {
        Self {
            index,
            policy: job.policy,
            watched: job.watched,
            ruled_out: job.ruled_out,
            max_tokens: job.max_tokens,
            state: Automaton::START,
            ids: Vec::new(),
            choices: Vec::new(),
            fed: 0,
            done: false,
            complete: false,
        }
    }

    /// Takes the tokens with which every answer of the grammar begins: they are read
    /// together with the prompt.
    fn force_prefix(&mut self, bundle: &Bundle) {
        let Policy::Grammar(automaton) = self.policy else {
            return;
        };
        while self.ids.len() < self.max_tokens {
            let state = automaton.state(self.state);
            match state.edges.as_slice() {
                [only] if !state.accepting => {
                    self.state = only.next;
                    self.push(bundle, only.token, 1.0, Vec::new());
                }
                _ => return,
            }
        }
    }

    /// Chooses one token, and every token after it that leaves no choice.
    fn choose(&mut self, bundle: &Bundle, logits: &[f32]) {
        match self.policy {
            Policy::Grammar(automaton) => self.choose_within(bundle, automaton, logits),
            Policy::Free => self.choose_freely(bundle, logits),
        }
        if !self.done && self.ids.len() >= self.max_tokens {
            self.done = true;
        }
    }

    fn choose_freely(&mut self, bundle: &Bundle, logits: &[f32]) {
        let generation = &bundle.manifest.generation;
        let mut scores = logits.to_vec();
        apply_repetition_penalty(&mut scores, &self.ids, generation);
        let towards = self.towards();
        if self.ruled_out {
            for &id in &towards {
                scores[id as usize] = f32::NEG_INFINITY;
            }
        }
        let best = argmax(&scores);
        let logs = log_softmax(logits);
        let chance = |id: u32| logs[id as usize].exp();
        let id = u32::try_from(best).unwrap_or(generation.eos_id);
        let mut probability = chance(id);
        let mut alternatives = Vec::new();
        if self.ruled_out {
            let left = 1.0 - towards.iter().map(|&id| chance(id)).sum::<f32>();
            probability = (probability / left.max(1e-6)).min(1.0);
        } else {
            for other in towards.into_iter().filter(|&other| other != id) {
                let surface = if other == generation.eos_id {
                    Vec::new()
                } else {
                    bundle.sentencepiece.surface(other).unwrap_or_default()
                };
                alternatives.push((surface, chance(other)));
            }
        }
        if id == generation.eos_id {
            self.end(probability, alternatives);
        } else {
            self.push(bundle, id, probability, alternatives);
        }
    }

    /// Tokens by which the text would go on like a watched sentence.
    fn towards(&self) -> Vec<u32> {
        let mut found: Vec<u32> = self
            .watched
            .iter()
            .filter_map(|sentence| sentence.strip_prefix(self.ids.as_slice())?.first().copied())
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    fn choose_within(&mut self, bundle: &Bundle, automaton: &Automaton, logits: &[f32]) {
        let eos = bundle.manifest.generation.eos_id;
        let surface = |id| bundle.sentencepiece.surface(id).unwrap_or_default();
        let mut fresh = Some(logits);
        loop {
            let state = automaton.state(self.state);
            let towards = if self.ruled_out {
                self.towards()
            } else {
                Vec::new()
            };
            // Edges first, then the end.
            let edges: Vec<_> = state
                .edges
                .iter()
                .filter(|edge| !(towards.contains(&edge.token) && automaton.is_chain(edge.next)))
                .collect();
            let mut ids: Vec<u32> = edges.iter().map(|edge| edge.token).collect();
            if state.accepting {
                ids.push(eos);
            }
            let (best, probabilities) = if ids.len() == 1 {
                // Whatever comes next follows this token: the logits are not about it.
                fresh = None;
                (0, vec![1.0])
            } else if let Some(logits) = fresh.take() {
                let allowed: Vec<f32> = ids.iter().map(|&id| logits[id as usize]).collect();
                let probabilities: Vec<f32> =
                    log_softmax(&allowed).into_iter().map(f32::exp).collect();
                (argmax(&allowed), probabilities)
            } else {
                // The next choice needs the logits after what was forced.
                return;
            };
            let alternatives = ids
                .iter()
                .enumerate()
                .filter(|&(index, _)| index != best)
                .map(|(index, &id)| {
                    let text = if index == edges.len() {
                        Vec::new()
                    } else {
                        surface(id)
                    };
                    (text, probabilities[index])
                })
                .collect();
            match edges.get(best) {
                Some(edge) => {
                    self.state = edge.next;
                    self.push(bundle, edge.token, probabilities[best], alternatives);
                }
                None => return self.end(probabilities[best], alternatives),
            }
        }
    }

    fn push(
        &mut self,
        bundle: &Bundle,
        id: u32,
        probability: f32,
        alternatives: Vec<(Vec<u8>, f32)>,
    ) {
        self.ids.push(id);
        self.choices.push(Choice {
            surface: bundle.sentencepiece.surface(id).unwrap_or_default(),
            probability,
            alternatives,
        });
    }

    fn end(&mut self, probability: f32, alternatives: Vec<(Vec<u8>, f32)>) {
        self.choices.push(Choice {
            surface: Vec::new(),
            probability,
            alternatives,
        });
        self.done = true;
        self.complete = true;
    }

    /// Embeddings of the tokens that the model has not read yet.
    fn pending_embeddings(&mut self, bundle: &Bundle) -> Vec<f32> {
        let mut rows = Vec::new();
        for &id in &self.ids[self.fed..] {
            bundle.embedding.append(id, &mut rows);
        }
        self.fed = self.ids.len();
        rows
    }

    fn finish(self, bundle: &Bundle) -> Decoded {
        let constrained = matches!(self.policy, Policy::Grammar(_));
        Decoded::new(bundle, self.ids, self.choices, self.complete, constrained)
    }
}
