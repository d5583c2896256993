//! One finding per pair: the answers of a survey are fused, and none of them may
//! contradict what comes out.

use std::cell::OnceCell;

use deltavlm_bundle::{Fusion, Signals, UNCHANGED_CAPTIONS, UNCHANGED_COUNT};
use deltavlm_messages::{Cell, Instruction};

use crate::answer::{Answer, AnswerContent, content};
use crate::bundle::Bundle;
use crate::decode::{Automaton, Choice, Decoded};
use crate::parse;
use crate::request::{Decoding, Prompt, Request};

/// Whether a pair has changed, from all that the model says about it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Finding {
    /// The judgement.
    pub changed: bool,
    /// Its probability.
    pub confidence: f32,
}

/// What has to become of an answer so that it agrees with the finding.
pub(crate) enum Mend<'a> {
    /// It agrees.
    Keep,
    /// Only this can be said.
    Say(Decoded),
    /// To be decoded again, within this grammar.
    Within(&'a Automaton),
    /// To be decoded again, without the watched sentences.
    Without,
}

/// The fusion of a bundle, and the sentences by which its model says that nothing has
/// changed.
pub(crate) struct Fuser {
    fusion: Fusion,
    yes: Vec<Vec<u32>>,
    captions: Vec<Vec<u32>>,
    counts: Vec<Vec<u32>>,
    /// Of the captions; compiled when a caption first has to be one of them.
    grammar: OnceCell<Option<Automaton>>,
}

impl Fuser {
    pub(crate) fn new(bundle: &Bundle) -> Self {
        let ids = |text: &str| {
            let mut ids = bundle.sentencepiece.encode(text);
            ids.push(bundle.manifest.generation.eos_id);
            ids
        };
        Self {
            fusion: bundle.manifest.fusion.unwrap_or_default(),
            yes: vec![ids("yes")],
            captions: UNCHANGED_CAPTIONS.map(ids).into(),
            // The second is within the grammar, too, though it is never trained.
            counts: vec![
                ids(UNCHANGED_COUNT),
                ids("no new roads and no new buildings"),
            ],
            grammar: OnceCell::new(),
        }
    }

    /// The sentences to watch while a request is decoded.
    pub(crate) fn watched(&self, request: &Request) -> &[Vec<u32>] {
        match constrained(request) {
            Some(Instruction::Caption) => &self.captions,
            Some(Instruction::Count) => &self.counts,
            _ => &[],
        }
    }

    /// The finding, where the answers that it needs are among the decoded ones: at
    /// least those to `classify` and `count`. A question alone stays as published.
    pub(crate) fn finding(
        &self,
        bundle: &Bundle,
        requests: &[Request],
        decoded: &[Decoded],
    ) -> Option<Finding> {
        let answer = |instruction| {
            let asked = |request| constrained(request) == Some(instruction);
            Some(&decoded[requests.iter().position(asked)?])
        };
        let classify = answer(Instruction::Classify)?;
        let count = answer(Instruction::Count)?;
        if self.fusion.needed().any(|needed| answer(needed).is_none()) {
            return None;
        }
        let mass = |decoded: &Decoded, sentences: &[Vec<u32>]| {
            let texts: Vec<Vec<u8>> = sentences.iter().map(|s| bytes(bundle, s)).collect();
            decoded.mass_of(&texts).clamp(0.0, 1.0)
        };
        let probability = self.fusion.probability(&Signals {
            yes: mass(classify, &self.yes),
            none: mass(count, &self.counts),
            cells: answer(Instruction::Localize).map_or(0.0, expected_cells),
            unchanged: answer(Instruction::Caption).map_or(0.0, |a| mass(a, &self.captions)),
        });
        let changed = probability > 0.5;
        Some(Finding {
            changed,
            confidence: if changed {
                probability
            } else {
                1.0 - probability
            },
        })
    }

    /// What has to become of the answer to `request`. `grammar` is its own.
    pub(crate) fn mend(
        &self,
        bundle: &Bundle,
        request: &Request,
        grammar: Option<&Automaton>,
        decoded: &Decoded,
        finding: Finding,
    ) -> Mend<'_> {
        let Some(instruction) = constrained(request) else {
            return Mend::Keep;
        };
        if agrees(instruction, &decoded.text, finding.changed) {
            return Mend::Keep;
        }
        let say =
            |text| said(bundle, grammar, text, finding.confidence).map_or(Mend::Keep, Mend::Say);
        match (instruction, finding.changed) {
            (Instruction::Classify, true) => say("yes"),
            (Instruction::Classify, false) => say("no"),
            (Instruction::Count, false) => say(UNCHANGED_COUNT),
            (Instruction::Localize, false) => say("roads [] buildings []"),
            (Instruction::Caption, false) => {
                let compile = || {
                    let tokens = bundle.manifest.model.llm.vocab_size;
                    let any = UNCHANGED_CAPTIONS.join("|");
                    Automaton::compile(&any, &bundle.sentencepiece, tokens).ok()
                };
                match self.grammar.get_or_init(compile) {
                    Some(grammar) => Mend::Within(grammar),
                    None => say(UNCHANGED_CAPTIONS[0]),
                }
            }
            _ => Mend::Without,
        }
    }
}

/// Gives the answers of a survey the finding's confidence where they follow from it.
pub(crate) fn settle(answer: &mut Answer, finding: Finding, followed: bool) {
    match &mut answer.content {
        AnswerContent::Classify { changed } if *changed == finding.changed => {
            answer.confidence = finding.confidence;
        }
        AnswerContent::Localize { roads, buildings } if followed => {
            roads.confidence = [finding.confidence; 9];
            buildings.confidence = [finding.confidence; 9];
            answer.confidence = finding.confidence;
        }
        _ => {}
    }
}

/// Whether a text does not contradict a finding. Cells may be empty of a change too
/// small for the grid.
pub(crate) fn agrees(instruction: Instruction, text: &str, changed: bool) -> bool {
    match instruction {
        Instruction::Classify => parse::changed(text) == Some(changed),
        Instruction::Count => {
            parse::counts(text).is_some_and(|counts| (counts != [0, 0]) == changed)
        }
        Instruction::Localize => {
            changed || parse::cells(text).is_some_and(|grids| grids.iter().all(|g| g.is_empty()))
        }
        Instruction::Caption => UNCHANGED_CAPTIONS.contains(&text) != changed,
        Instruction::Survey => true,
    }
}

/// The fixed instruction of a request within its grammar.
fn constrained(request: &Request) -> Option<Instruction> {
    match request.prompt {
        Prompt::Fixed(instruction) if request.decoding == Decoding::Constrained => {
            (request.beams == 1).then_some(instruction)
        }
        _ => None,
    }
}

/// The expected number of cells that a grid names.
fn expected_cells(decoded: &Decoded) -> f32 {
    let AnswerContent::Localize { roads, buildings } = content(Instruction::Localize, decoded)
    else {
        return 0.0;
    };
    let cells = [roads, buildings].into_iter().flat_map(|located| {
        let named = Cell::ALL.map(|cell| located.cells.contains(cell));
        named.into_iter().zip(located.confidence)
    });
    cells
        .map(|(named, sure)| if named { sure } else { 1.0 - sure })
        .sum()
}

/// What the ids say, the ending one not included.
fn bytes(bundle: &Bundle, ids: &[u32]) -> Vec<u8> {
    let body = &ids[..ids.len().saturating_sub(1)];
    body.iter()
        .flat_map(|&id| bundle.sentencepiece.surface(id).unwrap_or_default())
        .collect()
}

/// A text that follows from the finding, where the answer's own grammar has it.
fn said(
    bundle: &Bundle,
    grammar: Option<&Automaton>,
    text: &str,
    confidence: f32,
) -> Option<Decoded> {
    let ids = bundle.sentencepiece.encode(text);
    if grammar.is_some_and(|grammar| !grammar.accepts(&ids)) {
        return None;
    }
    let mut choices: Vec<Choice> = ids
        .iter()
        .map(|&id| Choice {
            surface: bundle.sentencepiece.surface(id).unwrap_or_default(),
            probability: 1.0,
            alternatives: Vec::new(),
        })
        .collect();
    if let Some(first) = choices.first_mut() {
        first.probability = confidence;
    }
    Some(Decoded::new(bundle, ids, choices, true, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_agree_with_a_finding_or_do_not() {
        use Instruction::{Caption, Classify, Count, Localize};
        for (instruction, text, changed, unchanged) in [
            (Classify, "yes", true, false),
            (Classify, "no", false, true),
            (Count, UNCHANGED_COUNT, false, true),
            (Count, "no new roads and no new buildings", false, true),
            (Count, "1 new road and no new buildings", true, false),
            (Localize, "roads [] buildings []", true, true),
            (Localize, "roads [] buildings [top-left]", true, false),
            (Caption, "no change has occurred", false, true),
            (Caption, "a house is built", true, false),
        ] {
            assert_eq!(agrees(instruction, text, true), changed, "{text}");
            assert_eq!(agrees(instruction, text, false), unchanged, "{text}");
        }
    }
}
