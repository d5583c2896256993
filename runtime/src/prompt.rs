//! From a request to what the model reads, and from what it wrote to an answer.

use std::collections::HashMap;

use deltavlm_bundle::Turn;
use deltavlm_messages::Instruction;

use crate::answer::{Answer, AnswerContent, content};
use crate::bundle::Bundle;
use crate::decode::{Automaton, Decoded, Job, Policy};
use crate::dialogue;
use crate::error::{Error, RequestError};
use crate::request::{Decoding, Prompt, Request};

/// What both tokenizers see.
pub(crate) struct PromptTokens {
    pub(crate) qformer_ids: Vec<u32>,
    llm_ids: Vec<u32>,
    dropped: usize,
}

impl PromptTokens {
    /// The text of a request as both tokenizers see it.
    pub(crate) fn of(bundle: &Bundle, request: &Request) -> Result<Self, Error> {
        let max_tokens = request
            .max_tokens
            .unwrap_or(bundle.manifest.generation.max_new_tokens);
        match &request.prompt {
            Prompt::Fixed(instruction) => {
                let record = bundle.manifest.instruction(*instruction).ok_or_else(|| {
                    bundle.unfit(format!(
                        "it does not know the instruction `{}`; rebuild it",
                        instruction.name()
                    ))
                })?;
                Ok(Self {
                    qformer_ids: record.qformer_ids.clone(),
                    llm_ids: record.llm_ids.clone(),
                    dropped: 0,
                })
            }
            Prompt::Question { text, history } => {
                if text.trim().is_empty() {
                    return Err(RequestError::EmptyQuestion.into());
                }
                let fitted = dialogue::fit(bundle, history, text, max_tokens);
                Ok(Self::tokens(bundle, &fitted.text, fitted.dropped))
            }
            Prompt::Raw(text) => Ok(Self::tokens(bundle, text, 0)),
        }
    }

    /// Positions that it takes in the language model.
    pub(crate) fn positions(&self) -> usize {
        self.llm_ids.len()
    }

    fn tokens(bundle: &Bundle, text: &str, dropped: usize) -> Self {
        let mut llm_ids = vec![bundle.manifest.generation.bos_id];
        llm_ids.extend(bundle.sentencepiece.encode(text));
        Self {
            qformer_ids: bundle
                .wordpiece
                .encode(text, bundle.manifest.model.qformer.max_text_tokens),
            llm_ids,
            dropped,
        }
    }
}

/// Which requests go through the model together, by the lengths of their prompts. A
/// row of a batch is padded to the longest, and padding is computed like everything
/// else: where it would be more than a third of a row, a batch of its own is faster
/// than the passes that it saves.
pub(crate) fn batches(lengths: &[usize]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&index| lengths[index]);
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for index in order {
        match batches.last_mut() {
            Some(batch) if 3 * lengths[batch[0]] >= 2 * lengths[index] => batch.push(index),
            _ => batches.push(vec![index]),
        }
    }
    batches
}

/// The prompt of a request in embeddings, and how to continue it.
pub(crate) fn build_prompt<'a>(
    bundle: &Bundle,
    grammars: &'a HashMap<Instruction, Automaton>,
    request: &Request,
    text: &PromptTokens,
    queries: &[f32],
    watched: &'a [Vec<u32>],
) -> Result<Job<'a>, Error> {
    let model = &bundle.manifest.model;
    let length = model.qformer.queries + text.llm_ids.len();
    let room = model.llm.max_positions.saturating_sub(length);
    if room == 0 {
        return Err(RequestError::TooLong {
            positions: length,
            max: model.llm.max_positions,
        }
        .into());
    }
    let grammar = match (&request.prompt, request.decoding) {
        (Prompt::Fixed(instruction), Decoding::Constrained) => grammars.get(instruction),
        _ => None,
    };
    if request.beams == 0 {
        return Err(RequestError::NoBeams.into());
    }
    if request.beams > 1 && grammar.is_some() {
        let beams = request.beams;
        return Err(RequestError::BeamsInGrammar { beams }.into());
    }
    let wanted = request
        .max_tokens
        .unwrap_or(bundle.manifest.generation.max_new_tokens)
        .max(1);
    let rows = bundle.manifest.embedding.rows;
    bundle.expect_ids(&text.llm_ids, rows, "token table")?;
    let mut prompt = queries.to_vec();
    for &id in &text.llm_ids {
        bundle.embedding.append(id, &mut prompt);
    }
    Ok(Job {
        prompt,
        policy: grammar.map_or(Policy::Free, Policy::Grammar),
        watched,
        ruled_out: false,
        max_tokens: if grammar.is_some() {
            room
        } else {
            wanted.min(room)
        },
    })
}

/// What was decoded as the answer to a request.
pub(crate) fn parse_answer(
    request: &Request,
    text: &PromptTokens,
    decoded: &Decoded,
    ms: f64,
) -> Answer {
    let content = match &request.prompt {
        Prompt::Fixed(instruction) => content(*instruction, decoded),
        Prompt::Question { text, .. } | Prompt::Raw(text) => AnswerContent::Question {
            question: text.clone(),
        },
    };
    let cells = content.expected_accuracy().filter(|_| decoded.constrained);
    Answer {
        confidence: cells.unwrap_or_else(|| decoded.confidence()),
        content,
        text: decoded.text.clone(),
        decoding: if decoded.constrained {
            Decoding::Constrained
        } else {
            Decoding::Free
        },
        ids: decoded.ids.clone(),
        complete: decoded.complete,
        trimmed_turns: text.dropped,
        ms,
    }
}

impl Answer {
    /// This answer as an earlier turn of a dialogue.
    pub fn as_turn(&self, question: impl Into<String>) -> Turn {
        Turn {
            question: question.into(),
            answer: self.text.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_batch_are_at_most_a_third_padding() {
        assert_eq!(batches(&[31, 28, 70, 27, 56]), [vec![3, 1, 0], vec![4, 2]]);
        assert_eq!(batches(&[31]), [vec![0]]);
        assert!(batches(&[]).is_empty());
    }
}
