//! Reading the model's text: the answers of the fixed instructions, in every
//! customary wording. Also for texts that the model did not write, such as the
//! reference answers of an annotation file.

use std::ops::Range;

use deltavlm_messages::{Cell, CellSet};

/// `yes` or `no`, whatever follows the word.
pub fn changed(text: &str) -> Option<bool> {
    let first = text
        .split(|c: char| !c.is_alphabetic())
        .find(|word| !word.is_empty())?;
    match first.to_ascii_lowercase().as_str() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

const NUMBER_WORDS: [&str; 21] = [
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
];

/// Numbers of roads and of buildings.
pub fn counts(text: &str) -> Option<[u32; 2]> {
    counts_with_spans(text).map(|both| both.map(|(number, _)| number))
}

/// Numbers of roads and of buildings, each with the part of the text that states it.
pub(crate) fn counts_with_spans(text: &str) -> Option<[(u32, Range<usize>); 2]> {
    let lower = text.to_ascii_lowercase();
    let words = words(&lower);
    let mut found: [Option<(u32, Range<usize>)>; 2] = [None, None];
    for (index, word) in words.iter().enumerate() {
        let slot = match word.text {
            "road" | "roads" => 0,
            "building" | "buildings" => 1,
            _ => continue,
        };
        // `2 new roads`, `2 roads`; in between only adjectives of change.
        let number = words[..index]
            .iter()
            .rev()
            .take(3)
            .find_map(|before| Some((number(before.text)?, before.start)));
        if let (Some((number, start)), None) = (number, &found[slot]) {
            found[slot] = Some((number, start..word.start + word.text.len()));
        }
    }
    let whole = (0, 0..text.len());
    let none = found.iter().flatten().all(|(number, _)| *number == 0);
    if none && (lower.contains("no change") || lower.contains("no road")) {
        return Some([whole.clone(), whole]);
    }
    match found {
        [None, None] => None,
        [roads, buildings] => Some([
            roads.unwrap_or_else(|| whole.clone()),
            buildings.unwrap_or(whole),
        ]),
    }
}

fn number(word: &str) -> Option<u32> {
    let digits = word.parse().ok();
    let spelled = || NUMBER_WORDS.iter().position(|&name| name == word);
    digits
        .or_else(|| u32::try_from(spelled()?).ok())
        .or((word == "a").then_some(1))
}

struct Word<'a> {
    text: &'a str,
    start: usize,
}

fn words(text: &str) -> Vec<Word<'_>> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| Word {
            text: word,
            start: word.as_ptr() as usize - text.as_ptr() as usize,
        })
        .collect()
}

/// One bracketed list: its cells, and where its inside lies in the text.
pub(crate) struct CellList {
    pub(crate) cells: Vec<(Cell, Range<usize>)>,
    pub(crate) inside: Range<usize>,
}

impl CellList {
    pub(crate) fn grid(&self) -> CellSet {
        self.cells.iter().map(|(cell, _)| *cell).collect()
    }
}

/// Cells of roads and of buildings: `roads [...] buildings [...]`, in either order.
pub fn cells(text: &str) -> Option<[CellSet; 2]> {
    cell_lists(text).map(|both| both.each_ref().map(CellList::grid))
}

/// The same, each cell with its place in the text.
pub(crate) fn cell_lists(text: &str) -> Option<[CellList; 2]> {
    Some([list(text, "road")?, list(text, "building")?])
}

fn list(text: &str, noun: &str) -> Option<CellList> {
    let at = text.to_ascii_lowercase().find(noun)?;
    let open = at + text[at..].find('[')? + 1;
    let inside = open..open + text[open..].find(']')?;
    let mut cells = Vec::new();
    let mut start = inside.start;
    for item in text[inside.clone()].split(',') {
        let name = item.trim().trim_matches(['\'', '"']);
        if !name.is_empty() {
            let cell = Cell::from_name(&name.to_ascii_lowercase())?;
            let begin = start + (item.len() - item.trim_start().len());
            cells.push((cell, begin..begin + item.trim().len()));
        }
        start += item.len() + 1;
    }
    Some(CellList { cells, inside })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Option<(u32, u32)> {
        counts(text).map(|[roads, buildings]| (roads, buildings))
    }

    #[test]
    fn counts_are_read_from_every_customary_wording() {
        for (text, expected) in [
            ("there are no changes in roads or buildings", (0, 0)),
            ("there are 2 new roads and 17 new buildings", (2, 17)),
            ("1 new road and no new buildings", (1, 0)),
            ("no new roads and 3 new buildings", (0, 3)),
            ("no roads and 3 new buildings", (0, 3)),
            ("no changes in roads, 2 new buildings", (0, 2)),
            ("There are 4 new buildings.", (0, 4)),
            ("there is a new road and two new buildings", (1, 2)),
            ("12 buildings and 1 road", (1, 12)),
        ] {
            assert_eq!(numbers(text), Some(expected), "{text}");
        }
        assert_eq!(numbers("yes"), None);
        assert_eq!(numbers(""), None);
    }

    #[test]
    fn a_count_knows_where_it_stands() {
        let text = "2 new roads and 17 new buildings";
        let [roads, buildings] = counts_with_spans(text).unwrap();
        assert_eq!(
            (&text[roads.1], &text[buildings.1]),
            ("2 new roads", "17 new buildings")
        );
    }

    #[test]
    fn grids_are_read_and_a_wrong_cell_is_no_answer() {
        let [roads, buildings] = cells("roads [top-left, center-center] buildings []").unwrap();
        assert_eq!(roads.to_string(), "#../.#./...");
        assert!(buildings.is_empty());
        assert!(cells("roads [top-left] buildings [middle]").is_none());
        assert!(cells("roads [top-left").is_none());
        assert!(cells("").is_none());
    }

    #[test]
    fn yes_and_no_are_words() {
        assert_eq!(changed("Yes."), Some(true));
        assert_eq!(changed(" no, nothing"), Some(false));
        assert_eq!(changed("nothing"), None);
    }
}
