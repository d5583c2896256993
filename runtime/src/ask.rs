//! Questions about an encoded pair: one, several, or all fixed ones as a survey.

use std::time::Instant;

use deltavlm_bundle::Segment;
use deltavlm_messages::Instruction;

use crate::answer::Answer;
use crate::budget::Budget;
use crate::decode::{self, Decoded, Job, Policy};
use crate::engine::Input;
use crate::error::Error;
use crate::finding::{self, Finding, Mend};
use crate::model::Model;
use crate::pair::Pair;
use crate::prompt::{PromptTokens, batches, build_prompt, parse_answer};
use crate::request::Request;
use crate::timing::Timing;
use crate::timing::{ms_since, timed};

/// The answers to several requests about one pair.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answers {
    /// Whether the pair has changed, from all answers together; no answer contradicts
    /// it. None where constrained answers to `classify` and `count`, and whatever else
    /// the bundle's fusion needs, are not among them: a question alone stays as published.
    pub finding: Option<Finding>,
    /// In the order of the requests; of a survey in the order of [`Instruction::SINGLE`],
    /// as far as the bundle knows them.
    pub answers: Vec<Answer>,
    /// What answering took, encoding of the pair not included.
    pub timing: Timing,
}

impl Model {
    /// Answers one request.
    ///
    /// # Errors
    /// As [`Model::ask_within`].
    pub fn ask(&mut self, pair: &Pair, request: &Request) -> Result<Answer, Error> {
        let mut asked = self.ask_within(pair, std::slice::from_ref(request), Budget::UNLIMITED)?;
        Ok(asked.answers.remove(0))
    }

    /// Asks every fixed instruction that the bundle knows, in batches.
    ///
    /// # Errors
    /// As [`Model::ask_within`].
    pub fn survey(&mut self, pair: &Pair) -> Result<Answers, Error> {
        self.survey_within(pair, Budget::UNLIMITED)
    }

    /// As [`Model::survey`], giving up between two steps when `budget` says so.
    ///
    /// # Errors
    /// As [`Model::ask_within`].
    pub fn survey_within(&mut self, pair: &Pair, budget: &Budget) -> Result<Answers, Error> {
        let requests: Vec<Request> = Instruction::SINGLE
            .into_iter()
            .filter(|&instruction| self.bundle.manifest.instruction(instruction).is_some())
            .map(Request::fixed)
            .collect();
        self.ask_within(pair, &requests, budget)
    }

    /// Answers several requests about one pair, giving up between two steps when
    /// `budget` says so. Requests of similar length go through Q-Former and language
    /// model as one batch; beam search goes one by one. Only the pair is shared
    /// between requests: the KV cache of one is of no use to the next, because every
    /// prompt begins with the queries and these depend on the text of the question.
    ///
    /// # Errors
    /// [`Error::Request`] for a request that cannot be served, [`Error::Unfit`] for
    /// one that this bundle does not know, [`Error::Engine`], [`Error::Deadline`],
    /// [`Error::Cancelled`].
    pub fn ask_within(
        &mut self,
        pair: &Pair,
        requests: &[Request],
        budget: &Budget,
    ) -> Result<Answers, Error> {
        let started = Instant::now();
        let mut timing = Timing::default();
        self.expect_pair(pair)?;
        let texts = requests
            .iter()
            .map(|request| PromptTokens::of(&self.bundle, request))
            .collect::<Result<Vec<_>, _>>()?;
        let mut answers = Vec::with_capacity(requests.len());
        let queries = self.bundle.manifest.model.qformer.queries;
        let lengths: Vec<usize> = texts
            .iter()
            .map(|text| queries + text.positions())
            .collect();
        for group in batches(&lengths) {
            budget.check(started, "reading the instruction")?;
            let grouped: Vec<&PromptTokens> = group.iter().map(|&index| &texts[index]).collect();
            let queries = timed(&mut timing.qformer, || self.queries(pair, &grouped))?;
            let mut batch: Vec<(usize, Job<'_>)> = Vec::new();
            for (&index, queries) in group.iter().zip(&queries) {
                let request = &requests[index];
                // Rows of the token table may have to come from the disk.
                let job = timed(&mut timing.prefill, || {
                    build_prompt(
                        &self.bundle,
                        &self.grammars,
                        request,
                        &texts[index],
                        queries,
                        self.fuser.watched(request),
                    )
                })?;
                if request.beams > 1 {
                    let engine = self.engine.as_mut();
                    let decoded = decode::beam_search(
                        engine,
                        &self.bundle,
                        &job,
                        request.beams,
                        budget,
                        started,
                        &mut timing,
                    )?;
                    answers.push((index, decoded));
                } else {
                    batch.push((index, job));
                }
            }
            if !batch.is_empty() {
                let (indices, jobs): (Vec<usize>, Vec<Job<'_>>) = batch.into_iter().unzip();
                let engine = self.engine.as_mut();
                let decoded = decode::greedy_search(
                    engine,
                    &self.bundle,
                    &jobs,
                    budget,
                    started,
                    &mut timing,
                )?;
                answers.extend(indices.into_iter().zip(decoded));
            }
        }
        answers.sort_by_key(|(index, _)| *index);
        let mut decoded: Vec<Decoded> = answers.into_iter().map(|(_, decoded)| decoded).collect();
        let finding = self.fuser.finding(&self.bundle, requests, &decoded);
        let mut followed = vec![false; requests.len()];
        if let Some(finding) = finding {
            for (index, (request, text)) in requests.iter().zip(&texts).enumerate() {
                let asked = (pair, request, text);
                let limits = (budget, started);
                let mended = self.mended(asked, &decoded[index], finding, limits, &mut timing)?;
                if let Some(mended) = mended {
                    (decoded[index], followed[index]) = (mended, true);
                }
            }
        }
        let ms = ms_since(started);
        let mut answers: Vec<Answer> = decoded
            .iter()
            .zip(requests.iter().zip(&texts))
            .map(|(decoded, (request, text))| parse_answer(request, text, decoded, ms))
            .collect();
        if let Some(finding) = finding {
            for (answer, followed) in answers.iter_mut().zip(followed) {
                finding::settle(answer, finding, followed);
            }
        }
        Ok(Answers {
            finding,
            answers,
            timing,
        })
    }

    /// What takes the place of an answer that contradicts the finding; None where it
    /// does not.
    fn mended(
        &mut self,
        (pair, request, text): (&Pair, &Request, &PromptTokens),
        decoded: &Decoded,
        finding: Finding,
        (budget, started): (&Budget, Instant),
        timing: &mut Timing,
    ) -> Result<Option<Decoded>, Error> {
        let grammar = request.instruction().and_then(|i| self.grammars.get(&i));
        match self
            .fuser
            .mend(&self.bundle, request, grammar, decoded, finding)
        {
            Mend::Keep => return Ok(None),
            Mend::Say(said) => return Ok(Some(said)),
            Mend::Within(_) | Mend::Without => {}
        }
        budget.check(started, "making the answers agree")?;
        let queries = timed(&mut timing.qformer, || self.queries(pair, &[text]))?;
        let watched = self.fuser.watched(request);
        let mut job = build_prompt(
            &self.bundle,
            &self.grammars,
            request,
            text,
            &queries[0],
            watched,
        )?;
        // The queries needed the engine: what is to be done is looked up again.
        let grammar = request.instruction().and_then(|i| self.grammars.get(&i));
        let mend = self
            .fuser
            .mend(&self.bundle, request, grammar, decoded, finding);
        match mend {
            Mend::Within(grammar) => job.policy = Policy::Grammar(grammar),
            _ => job.ruled_out = true,
        }
        let engine = self.engine.as_mut();
        let mut decoded =
            decode::greedy_search(engine, &self.bundle, &[job], budget, started, timing)?;
        Ok(decoded.pop())
    }

    /// Projected queries of every text, from one run of the Q-Former.
    fn queries(&mut self, pair: &Pair, texts: &[&PromptTokens]) -> Result<Vec<Vec<f32>>, Error> {
        let model = &self.bundle.manifest.model;
        let row = model.qformer.queries * model.llm.width;
        let length = texts
            .iter()
            .map(|text| text.qformer_ids.len())
            .max()
            .unwrap_or(0);
        let mut ids = vec![0i64; texts.len() * length];
        let mut mask = vec![0i64; texts.len() * length];
        for (index, text) in texts.iter().enumerate() {
            let rows = model.qformer.vocab_size;
            self.bundle
                .expect_ids(&text.qformer_ids, rows, "Q-Former's vocabulary")?;
            for (at, &id) in text.qformer_ids.iter().enumerate() {
                ids[index * length + at] = i64::from(id);
                mask[index * length + at] = 1;
            }
        }
        let shape = [texts.len(), length];
        let queries = self.engine.run(
            Segment::Qformer,
            &[
                Input::f32("difference", &pair.shape, &pair.difference),
                Input::i64("token_ids", &shape, &ids),
                Input::i64("token_mask", &shape, &mask),
            ],
        )?;
        self.expect(Segment::Qformer, queries.len(), texts.len() * row)?;
        Ok(queries.chunks_exact(row).map(<[f32]>::to_vec).collect())
    }
}
