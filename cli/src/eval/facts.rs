//! Which facts a caption states, and whether they are true of its pair.
//!
//! Annotations of scenes whose truth is known bring it along: each caption's entry
//! has a `facts` object, and a file `language.json` beside the annotations has the
//! words by which captions state facts. Nothing about that language is known here.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::CliError;

/// Its name beside the annotation files.
pub(super) const FILE: &str = "language.json";

/// The words by which captions state facts.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Language {
    /// Captions that state that nothing has changed.
    unchanged: Vec<String>,
    /// By quantity word: the least and the most objects of which it is true.
    quantities: BTreeMap<String, [u64; 2]>,
    /// By noun: the fields of `facts` that count what appeared and what disappeared.
    things: BTreeMap<String, [String; 2]>,
    /// Parts of words that make a clause one of disappearance.
    gone: Vec<String>,
    /// Ends of a clause: the last word in it, and the glue to the next clause.
    cuts: Vec<[String; 2]>,
    /// States that trees were removed.
    cleared: String,
    /// Kinds of ground.
    grounds: Vec<String>,
    /// Phrases for places, with which a caption ends.
    places: Vec<String>,
}

/// What is true of a pair.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Facts {
    changed: bool,
    former_ground: String,
    woodland_cleared: bool,
    true_places: Vec<String>,
    #[serde(flatten)]
    numbers: BTreeMap<String, Value>,
}

/// The facts that one caption states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptionFacts {
    /// Whether its pair has changed.
    pub changed: bool,
    /// Each fact, and whether it is true. A caption that states nothing has one, false.
    pub facts: Vec<(String, bool)>,
}

impl CaptionFacts {
    /// Whether everything that is stated is true.
    pub fn all_true(&self) -> bool {
        self.facts.iter().all(|(_, is_true)| *is_true)
    }
}

impl Language {
    /// The language of the annotations at `path`, where one lies beside them.
    pub(super) fn beside(path: &Path) -> Result<Option<Self>, CliError> {
        let path = path.with_file_name(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CliError::Io { path, source }),
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| CliError::Malformed {
                path,
                problem: format!("{error}; expected the vocabulary of captions"),
            })
    }

    /// Fails when `facts` lacks a number that the language counts by.
    pub(super) fn check(&self, facts: &Facts) -> Result<(), String> {
        match self
            .things
            .values()
            .flatten()
            .find(|field| facts.number(field).is_none())
        {
            Some(field) => Err(format!(
                "`facts` has no number `{field}`, which {FILE} names"
            )),
            None => Ok(()),
        }
    }

    /// The facts that `caption` states about a pair of which `truth` is true.
    pub fn stated(&self, caption: &str, truth: &Facts) -> CaptionFacts {
        let facts = if self.unchanged.iter().any(|known| known == caption) {
            vec![("no change".to_owned(), !truth.changed)]
        } else {
            self.details(caption, truth)
        };
        CaptionFacts {
            changed: truth.changed,
            facts,
        }
    }

    fn details(&self, caption: &str, truth: &Facts) -> Vec<(String, bool)> {
        let mut found = Vec::new();
        let clears = caption.contains(&self.cleared);
        for clause in self.clauses(&caption.replace(&self.cleared, "")) {
            let gone = self.gone.iter().any(|part| clause.contains(part));
            for (word, noun) in self.quantities_in(clause) {
                let field = &self.things[noun][usize::from(gone)];
                let number = truth.number(field).unwrap_or(0);
                let [low, high] = self.quantities[word];
                found.push((format!("object: {noun}"), number > 0));
                found.push((
                    format!("number: {word} {noun}"),
                    (low..=high).contains(&number),
                ));
            }
        }
        if let Some(place) = self.places.iter().find(|&place| caption.ends_with(place)) {
            found.push((format!("place: {place}"), truth.true_places.contains(place)));
        }
        if let Some(ground) = self.ground_in(caption) {
            found.push((format!("ground: {ground}"), ground == truth.former_ground));
        }
        if clears {
            found.push(("trees removed".to_owned(), truth.woodland_cleared));
        }
        if found.is_empty() {
            found.push(("nothing stated".to_owned(), false));
        }
        found
    }

    /// Parts of a caption that each speak of what appeared or of what disappeared.
    fn clauses<'a>(&self, caption: &'a str) -> Vec<&'a str> {
        let mut clauses = Vec::new();
        let mut start = 0;
        for (at, _) in caption.char_indices() {
            let glue = self.cuts.iter().find_map(|[last, glue]| {
                (caption[..at].ends_with(last.as_str()) && caption[at..].starts_with(glue.as_str()))
                    .then_some(glue)
            });
            if let Some(glue) = glue {
                clauses.push(&caption[start..at]);
                start = at + glue.len();
            }
        }
        clauses.push(&caption[start..]);
        clauses
    }

    /// `two houses`: quantity words with the nouns that follow them.
    fn quantities_in<'a>(&'a self, clause: &str) -> Vec<(&'a str, &'a str)> {
        let mut found = Vec::new();
        let mut end = 0;
        for (at, _) in clause.char_indices() {
            if at < end || clause[..at].ends_with(char::is_alphanumeric) {
                continue;
            }
            let rest = &clause[at..];
            let read = self.quantities.keys().find_map(|word| {
                let noun_at = rest.strip_prefix(word.as_str())?.strip_prefix(' ')?;
                let noun = self.things.keys().find(|noun| is_noun(noun_at, noun))?;
                Some((word.as_str(), noun.as_str()))
            });
            if let Some((word, noun)) = read {
                found.push((word, noun));
                end = at + word.len() + 1 + noun.len();
            }
        }
        found
    }

    fn ground_in(&self, caption: &str) -> Option<&str> {
        caption.char_indices().find_map(|(at, _)| {
            let rest = &caption[at..];
            let named = rest
                .strip_prefix("on the ")
                .or_else(|| rest.strip_prefix("in the "))?;
            self.grounds
                .iter()
                .map(String::as_str)
                .find(|&ground| named.starts_with(ground))
        })
    }
}

/// Whether `text` begins with the noun in singular or plural, as a whole word.
fn is_noun(text: &str, noun: &str) -> bool {
    text.strip_prefix(noun).is_some_and(|rest| {
        let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        ends(rest) || rest.strip_prefix('s').is_some_and(ends)
    })
}

impl Facts {
    fn number(&self, field: &str) -> Option<u64> {
        self.numbers.get(field)?.as_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        language: Language,
        captions: Vec<Case>,
    }

    /// A caption, what is true of its pair, and what it states.
    #[derive(Deserialize)]
    struct Case(String, Facts, Vec<(String, bool)>);

    /// Against `stated_facts` of the recipe; see `tests/golden/make_facts_golden.py`.
    #[test]
    fn stated_facts_equal_those_of_the_recipe() {
        let golden: Golden =
            serde_json::from_str(include_str!("../../tests/golden/facts.json")).unwrap();
        assert!(golden.captions.len() > 100);
        for Case(caption, facts, expected) in &golden.captions {
            golden.language.check(facts).unwrap();
            assert_eq!(
                &golden.language.stated(caption, facts).facts,
                expected,
                "{caption}"
            );
        }
    }
}
