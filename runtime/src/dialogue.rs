//! A question after earlier turns, in the form it had in training, as much of it
//! as the model takes.

use deltavlm_bundle::Turn;

use crate::bundle::Bundle;

/// A text for both tokenizers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FittedPrompt {
    pub(crate) text: String,
    /// Oldest turns that were left out.
    pub(crate) dropped: usize,
}

/// Leaves out the oldest turns, one by one, until words, instruction tokens and
/// positions suffice. A single question that is too long is cut as in training, and
/// a warning says so.
pub(crate) fn fit(
    bundle: &Bundle,
    history: &[Turn],
    question: &str,
    max_tokens: usize,
) -> FittedPrompt {
    let rules = &bundle.manifest.text;
    for dropped in 0..history.len() {
        let text = rules.dialogue(&history[dropped..], question);
        if rules.fits(&text) && fits_model(bundle, &text, max_tokens) {
            return FittedPrompt { text, dropped };
        }
    }
    let whole = rules.dialogue(&[], question);
    if !rules.fits(&whole) {
        log::warn!(
            "the question has {} words, of which the model reads the first {}; shorten it",
            whole.split(' ').count(),
            rules.max_words
        );
    }
    FittedPrompt {
        text: rules.question(question),
        dropped: history.len(),
    }
}

fn fits_model(bundle: &Bundle, text: &str, max_tokens: usize) -> bool {
    let model = &bundle.manifest.model;
    let prompt = model.qformer.queries + 1 + bundle.sentencepiece.encode(text).len();
    bundle.wordpiece.count(text) + 2 <= model.qformer.max_text_tokens
        && prompt + max_tokens <= model.llm.max_positions
}
