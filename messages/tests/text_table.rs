//! Where the table of transitions comes from: sentences that a small grammar makes up.
//!
//! `UPDATE=1 cargo test -p deltavlm-messages --test text_table` writes the table anew; without it the test says
//! whether the table is what the grammar makes. A changed table is a changed wire format.

#[allow(
    dead_code,
    unreachable_pub,
    reason = "the codec's own source, for its private parts"
)]
#[path = "../src/text/mod.rs"]
mod text;

use text::{
    model::Token,
    tokens,
    words::{CAPITAL, COUNT, END, SENTENCES as WHOLE_SENTENCES, SPELLED},
};

/// Sentences to learn from.
const SENTENCES: usize = 12_000;
/// The part of every share that depends on the class alone, so that nothing is impossible.
const BLUR: f64 = 0.12;

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/text/transitions.bin");

/// Rules: a name, and its alternatives, each with a weight; `<x>` stands for an alternative of `x`.
const RULES: &[(&str, &[(u32, &str)])] = &[
    (
        "text",
        &[
            (60, "<change>"),
            (14, "<question>"),
            (8, "<reply>"),
            (8, "<count>"),
            (4, "<fault>"),
            (3, "<prompt>"),
            (3, "<long>"),
        ],
    ),
    (
        "change",
        &[
            (40, "<event>"),
            (26, "<event> and <event>"),
            (14, "<swap>"),
            (8, "<event> <place> and <event>"),
            (5, "<swap> and <event>"),
            (4, "<event> and <swap>"),
            (3, "there <be> <things>"),
            (4, "<things> and <things> <verbs>"),
            (3, "<event> with <things> <beside>"),
        ],
    ),
    (
        "event",
        &[
            (18, "<thing> <isdone>"),
            (30, "<things> <aredone>"),
            (24, "<thing> <isdone> <place>"),
            (40, "<things> <aredone> <place>"),
            (10, "<things> <verbs> <place>"),
            (8, "<thing> verb <place>"),
            (8, "<things> <verbs>"),
            (6, "<thing> appears"),
            (8, "<things> and <thing> <aredone> <place>"),
            (5, "<things> <aredone> <place> <place>"),
            (3, "the <original> <aredone>"),
        ],
    ),
    (
        "swap",
        &[
            (8, "the <land> <isdone> and <event>"),
            (10, "<things> replace <original>"),
            (6, "<original> is replaced by <things>"),
            (6, "the <land> becomes <things>"),
            (4, "<thing> replaces the <land>"),
            (5, "the <plants> <aredone> and <event>"),
            (4, "<original> has become a <house>"),
            (3, "the <land> is turned into <things>"),
            (4, "the <land> was replaced by <thing> and <things>"),
        ],
    ),
    (
        "original",
        &[
            (4, "the <land>"),
            (3, "the <plants>"),
            (2, "the original <house>"),
            (2, "the former <land>"),
            (1, "the old <houses>"),
            (2, "some <plants>"),
            (2, "the <land> <in>"),
        ],
    ),
    (
        "thing",
        &[
            (22, "a <house>"),
            (16, "a <adjective> <house>"),
            (26, "a <road>"),
            (14, "a <adjective> <road>"),
            (8, "the <road>"),
            (4, "the <house>"),
            (5, "a parking lot"),
            (3, "a residential area"),
            (2, "a swimming pool"),
            (5, "one <house>"),
            (4, "a row of <houses>"),
            (2, "a t-shaped <road>"),
            (2, "a <adjective> <adjective> <house>"),
            (2, "a group of <houses>"),
            (2, "a part of the <land>"),
            (1, "another <house>"),
            (2, "an <land>"),
            (2, "the <land>"),
        ],
    ),
    (
        "things",
        &[
            (24, "some <houses>"),
            (20, "many <houses>"),
            (12, "several <houses>"),
            (14, "two <houses>"),
            (8, "<houses>"),
            (8, "some <adjective> <houses>"),
            (8, "many <adjective> <houses>"),
            (6, "two <adjective> <houses>"),
            (5, "<adjective> <houses>"),
            (12, "some <roads>"),
            (6, "<roads>"),
            (4, "several <roads>"),
            (12, "some <houses> and <roads>"),
            (8, "two rows of <houses>"),
            (6, "rows of <houses>"),
            (10, "some <houses> and a <road>"),
            (10, "many <houses> and a <road>"),
            (8, "a <road> and some <houses>"),
            (4, "a <road> with <houses>"),
            (4, "<roads> and <houses>"),
            (8, "some <plants>"),
            (5, "the <plants>"),
            (3, "<plants> and <plants>"),
            (3, "three <houses>"),
            (2, "the <houses>"),
            (2, "a lot of <houses>"),
            (3, "more <houses>"),
            (2, "parking lots"),
            (2, "the <houses> and the <roads>"),
            (2, "the <land> and some <plants>"),
        ],
    ),
    ("be", &[(3, "are"), (2, "is"), (1, "were")]),
    (
        "isdone",
        &[
            (18, "is built"),
            (14, "has been built"),
            (2, "was built"),
            (7, "appears"),
            (3, "appeared"),
            (4, "disappears"),
            (2, "has disappeared"),
            (1, "is newly built"),
            (2, "has appeared"),
        ],
    ),
    (
        "aredone",
        &[
            (18, "are built"),
            (14, "have been built"),
            (2, "were built"),
            (9, "appear"),
            (3, "appeared"),
            (5, "disappear"),
            (2, "have disappeared"),
            (2, "are newly built"),
            (2, "have appeared"),
            (2, "are neatly arranged"),
        ],
    ),
    (
        "verbs",
        &[
            (4, "appear"),
            (2, "disappear"),
            (1, "show up"),
            (1, "have changed"),
        ],
    ),
    (
        "place",
        &[
            (12, "along the <road>"),
            (8, "beside the <road>"),
            (10, "on both sides of the <road>"),
            (10, "in the <land>"),
            (12, "on the <land>"),
            (8, "near the <house>"),
            (8, "around the <road>"),
            (8, "at the <top>"),
            (8, "in the <top> corner of the scene"),
            (6, "at the <top> of the scene"),
            (5, "on the <top> side"),
            (4, "in the <top>"),
            (5, "on the <top>"),
            (4, "in the <top> corner"),
            (4, "next to the <house>"),
            (4, "with a <house> <beside>"),
            (5, "in the <land> with <things>"),
            (3, "by the side of the <road>"),
            (4, "on the side of the <road>"),
            (3, "across the <land>"),
            (3, "among the <plants>"),
            (3, "between the <houses>"),
            (3, "in the scene"),
            (3, "with <things>"),
            (4, "on the <top> of the scene"),
            (3, "in the middle of the <land>"),
            (3, "at the end of the <road>"),
            (2, "at the edge of the <land>"),
            (2, "to the <top> of the <house>"),
            (2, "through the <land>"),
            (2, "beside a <house>"),
            (2, "near the <road> and <place>"),
            (2, "to connect the <roads>"),
            (2, "leading to the <road>"),
            (2, "in <cells>"),
        ],
    ),
    (
        "in",
        &[
            (1, "in the scene"),
            (1, "at the <top>"),
            (1, "in the <top> corner"),
            (1, "near the <road>"),
        ],
    ),
    (
        "beside",
        &[
            (3, "on the <top>"),
            (3, "beside"),
            (2, "next to it"),
            (2, "around"),
            (2, "around it"),
            (1, "along the <road>"),
            (1, "near them"),
            (1, "on both sides"),
        ],
    ),
    (
        "top",
        &[
            (1, "top"),
            (1, "bottom"),
            (1, "left"),
            (1, "right"),
            (1, "top left"),
            (1, "top right"),
            (1, "bottom left"),
            (1, "bottom right"),
            (1, "upper left"),
            (1, "lower-right"),
            (1, "middle"),
            (1, "center"),
            (1, "upper"),
        ],
    ),
    (
        "house",
        &[(1, "house"), (1, "building"), (1, "<adjective> house")],
    ),
    ("houses", &[(1, "houses")]),
    ("road", &[(1, "road")]),
    ("roads", &[(1, "roads")]),
    ("land", &[(3, "bareland"), (1, "desert and <plants>")]),
    ("plants", &[(1, "trees"), (1, "plants"), (1, "woods")]),
    ("adjective", &[(1, "new")]),
    (
        "cells",
        &[
            (3, "top-left"),
            (2, "top-left, <cells>"),
            (2, "top-left and top-right"),
            (1, "the top-left cell"),
        ],
    ),
    (
        "question",
        &[
            (4, "are there any <whats>?"),
            (3, "is there any new <house> in the scene?"),
            (3, "how many <houses> have been built?"),
            (2, "what has changed <in>?"),
            (2, "where are the new <houses>?"),
            (2, "have any <houses> disappeared?"),
            (2, "did the <road> change?"),
            (1, "what happened to the <land>?"),
            (1, "how many new <houses> are there?"),
            (1, "is the <road> complete?"),
            (1, "are there any <whats>"),
            (1, "Are there any <whats>?"),
            (1, "What has changed?"),
            (1, "How many <houses> have been built?"),
            (1, "do the two images show the same place?"),
        ],
    ),
    (
        "whats",
        &[
            (3, "new <houses>"),
            (2, "changes in the <roads>"),
            (1, "changes in <roads> or <houses>"),
            (1, "new <roads> or <houses>"),
            (1, "signs of construction"),
            (1, "new <houses> <place>"),
        ],
    ),
    (
        "reply",
        &[
            (3, "yes, <event>"),
            (2, "yes, <things> <aredone> <place>."),
            (2, "no, there are no <whats>"),
            (1, "no, nothing has changed"),
            (1, "there are <number> new <houses>"),
            (2, "yes, <thing> <isdone>."),
            (2, "<event>."),
        ],
    ),
    ("number", &[(1, "5"), (1, "two"), (1, "many")]),
    (
        "count",
        &[
            (4, "there are 5 new roads and 5 new buildings"),
            (2, "5 new roads and 5 new buildings"),
            (2, "there is 1 new road and 5 new buildings"),
            (2, "there are no new roads and 5 new buildings"),
            (1, "no new roads"),
        ],
    ),
    (
        "fault",
        &[
            (1, "cannot read the file"),
            (1, "the file is truncated"),
            (1, "the two images are different in size"),
            (1, "unsupported format"),
        ],
    ),
    (
        "prompt",
        &[
            (
                2,
                "please describe the changes of these two images in detail",
            ),
            (1, "please briefly describe the changes in these two images"),
            (
                1,
                "if changes have occurred, count the number of road and building changes",
            ),
            (1, "based on the above analysis, describe the changes"),
        ],
    ),
    (
        "long",
        &[
            (1, "<change>. <change>."),
            (1, "The <land> becomes <things>. <event>."),
            (1, "<event>, <event> and <event>"),
            (1, "<change>, while <event>"),
        ],
    ),
];

fn expand(rng: &mut Rng, rule: &str, depth: u32, into: &mut String) {
    let (_, alternatives) = RULES
        .iter()
        .find(|(name, _)| *name == rule)
        .unwrap_or_else(|| panic!("no rule {rule}"));
    let total: u32 = alternatives.iter().map(|(weight, _)| weight).sum();
    let mut at = rng.below(u64::from(total)) as u32;
    let mut chosen = alternatives[0].1;
    for (weight, text) in *alternatives {
        if at < *weight {
            chosen = text;
            break;
        }
        at -= weight;
    }
    if depth > 12 {
        chosen = alternatives[0].1;
    }
    for (index, piece) in chosen.split(['<', '>']).enumerate() {
        if index % 2 == 0 {
            into.push_str(&piece.replace("verb", "appears"));
        } else {
            expand(rng, piece, depth + 1, into);
        }
    }
}

fn table() -> Vec<u8> {
    let mut rng = Rng(7);
    let mut counts = vec![[0f64; COUNT]; COUNT];
    let mut unknown = std::collections::BTreeSet::new();
    for _ in 0..SENTENCES {
        let mut text = String::new();
        expand(&mut rng, "text", 0, &mut text);
        let mut before = END;
        tokens(&text, |token| {
            let class = match token {
                Token::End => END,
                Token::Word { class, .. } => class,
                Token::Capital => CAPITAL,
                Token::Spelled(bytes) => {
                    unknown.insert(String::from_utf8_lossy(bytes).into_owned());
                    SPELLED
                }
            };
            counts[before][class] += 1.0;
            before = class;
        });
    }
    assert!(
        unknown
            .iter()
            .all(|word| word == "complete?" || word == "signs"),
        "the grammar uses unknown words: {unknown:?}"
    );
    let mut alone = [0f64; COUNT];
    for (class, share) in alone.iter_mut().enumerate() {
        // Even a class that no sentence of the grammar has will come up.
        *share = 40.0 + counts.iter().map(|row| row[class]).sum::<f64>();
    }
    alone[WHOLE_SENTENCES] = 1.0;
    let sum: f64 = alone.iter().sum();
    // Whole sentences stand for themselves: nearly half of all pairs show no change.
    counts[END] = counts[END].map(|count| count * 0.6);
    counts[END][WHOLE_SENTENCES] = 0.4 * SENTENCES as f64;
    counts[WHOLE_SENTENCES] = [0.0; COUNT];
    counts[WHOLE_SENTENCES][END] = SENTENCES as f64;
    let mut table = Vec::new();
    for row in &counts {
        let total: f64 = row.iter().sum::<f64>().max(1.0);
        // The fewer examples, the less they count.
        let blur = BLUR + (1.0 - BLUR) * 200.0 / (200.0 + total);
        for (class, count) in row.iter().enumerate() {
            let share = (1.0 - blur) * count / total + blur * alone[class] / sum;
            table.push((share.sqrt() * 255.0).round() as u8);
        }
    }
    table
}

#[test]
fn the_table_is_what_the_grammar_makes() {
    let made = table();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(TABLE, &made).unwrap();
    }
    assert!(
        std::fs::read(TABLE).unwrap() == made,
        "transitions.bin is not what the grammar makes"
    );
}

/// SplitMix64: the sequence that the committed table was drawn from.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * u128::from(bound)) >> 64) as u64
    }
}
