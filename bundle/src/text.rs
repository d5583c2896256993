//! Text processing: what a question looks like by the time a tokenizer sees it.
//!
//! The rules are those of the published text processor, to the letter: the model
//! was trained on text in this form, and a capital or a full stop that slips
//! through is an input it has never met.

use crate::PromptTemplate;

/// An earlier question with the answer that the model gave to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The question as the user put it.
    pub question: String,
    /// The answer as the model gave it.
    pub answer: String,
}

/// The published punctuation class: each of these becomes a space.
const PUNCTUATION: &[char] = &['.', '!', '"', '(', ')', '*', '#', ':', ';', '~'];

impl PromptTemplate {
    /// Lower-cases, replaces punctuation by spaces, collapses runs of white space
    /// and strips. Does not shorten.
    pub fn clean(&self, text: &str) -> String {
        let lower = text.to_lowercase().replace(PUNCTUATION, " ");
        let mut cleaned = String::with_capacity(lower.len());
        let mut run = String::new();
        for character in lower.chars() {
            if is_space(character) {
                run.push(character);
            } else {
                flush(&mut cleaned, &mut run);
                cleaned.push(character);
            }
        }
        flush(&mut cleaned, &mut run);
        cleaned.trim_end_matches('\n').trim_matches(' ').to_owned()
    }

    /// Cleans and keeps the first [`max_words`](PromptTemplate::max_words) words.
    pub fn process(&self, text: &str) -> String {
        let cleaned = self.clean(text);
        let mut words: Vec<&str> = cleaned.split(' ').collect();
        words.truncate(self.max_words);
        words.join(" ")
    }

    /// A single question in the form it had in training.
    pub fn question(&self, question: &str) -> String {
        self.process(&format!("{}{question}", self.question_prefix))
    }

    /// A question after earlier turns, `q: Q1 a: A1  q: Q2` before cleaning, in full.
    ///
    /// It may be longer than the model takes; [`PromptTemplate::fits`] tells, and
    /// whoever holds the dialogue leaves out the oldest turns.
    pub fn dialogue(&self, turns: &[Turn], question: &str) -> String {
        let mut text = String::new();
        for turn in turns {
            text += &self.question_prefix;
            text += &turn.question;
            text.push(' ');
            text += &self.answer_prefix;
            text += &turn.answer;
            text += "  ";
        }
        text += &self.question_prefix;
        text += question;
        self.clean(&text)
    }

    /// Whether a cleaned text has no more words than the model was trained on.
    pub fn fits(&self, cleaned: &str) -> bool {
        cleaned.split(' ').count() <= self.max_words
    }
}

/// What the customary processor calls white space: Unicode's, and the four
/// information separators.
fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// Two or more white-space characters become one space; a single one stays as it is.
fn flush(cleaned: &mut String, run: &mut String) {
    match run.chars().count() {
        0 => {}
        1 => cleaned.push_str(run),
        _ => cleaned.push(' '),
    }
    run.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> PromptTemplate {
        PromptTemplate {
            question_prefix: "q: ".to_owned(),
            answer_prefix: "a: ".to_owned(),
            max_words: 50,
        }
    }

    #[test]
    fn a_question_looks_as_in_training() {
        assert_eq!(
            rules().question(
                "Please judge whether these two images have changed. Please answer yes or no."
            ),
            "q please judge whether these two images have changed please answer yes or no"
        );
        assert_eq!(
            rules().question("Is it (really) new?"),
            "q is it really new?"
        );
    }

    #[test]
    fn a_dialogue_strings_its_turns_together() {
        let turn = |question: &str, answer: &str| Turn {
            question: question.to_owned(),
            answer: answer.to_owned(),
        };
        let text = rules().dialogue(
            &[turn("Changed?", "Yes."), turn("How many?", "two")],
            "Where?",
        );
        assert_eq!(text, "q changed? a yes q how many? a two q where?");
    }

    #[test]
    fn only_the_first_words_are_kept() {
        let long = "word ".repeat(80);
        assert_eq!(rules().process(&long).split(' ').count(), 50);
        assert!(!rules().fits(&rules().clean(&long)));
        assert!(rules().fits(&rules().process(&long)));
    }

    #[test]
    fn white_space_is_collapsed_but_a_single_tab_is_not() {
        assert_eq!(rules().process("  a\tb \n c  \n"), "a\tb c");
        assert_eq!(rules().process(""), "");
        assert_eq!(rules().process(" .. "), "");
    }
}
